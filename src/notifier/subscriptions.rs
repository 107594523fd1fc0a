//! What a `sub` with `subscribe = "each"` subscribes to: one topic for each address that anybody here
//! could hear, and a delay before it lets go, so that a page's reload loses nothing.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model::Address;
use crate::registry::Interest;

/// How long a topic outlives its last listener.
const LINGER: Duration = Duration::from_secs(45);

/// Bounded by what comes and goes within [`LINGER`].
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// With the time since when nobody listens, if so.
    topics: HashMap<Address, Option<Instant>>,
    leaving: VecDeque<(Instant, Address)>,
    /// Changes that the socket has not been told.
    changes: VecDeque<Change>,
}

/// A change for the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Subscribe(Address),
    Unsubscribe(Address),
}

impl Subscriptions {
    pub(super) fn note(&mut self, interest: Interest, now: Instant) {
        match interest {
            Interest::Gained(address) => {
                if self.topics.insert(address.clone(), None).is_none() {
                    self.changes.push_back(Change::Subscribe(address));
                }
            }
            Interest::Lost(address) => {
                if let Some(since) = self.topics.get_mut(&address) {
                    *since = Some(now);
                    self.leaving.push_back((now + LINGER, address));
                }
            }
        }
    }

    /// The next change for the socket.
    pub(super) fn poll_change(&mut self, now: Instant) -> Option<Change> {
        while self.leaving.front().is_some_and(|(at, _)| *at <= now) {
            let Some((at, address)) = self.leaving.pop_front() else { break };
            // Somebody may have come back meanwhile, and left again later.
            let since = self.topics.get(&address).copied().flatten();
            if since.is_some_and(|since| since + LINGER <= at) {
                self.topics.remove(&address);
                self.changes.push_back(Change::Unsubscribe(address));
            }
        }
        self.changes.pop_front()
    }

    /// After the socket was opened anew: it knows nothing.
    pub(super) fn restate(&mut self) {
        self.changes = self.topics.keys().cloned().map(Change::Subscribe).collect();
    }

    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(user: &str) -> Address {
        Address::parse(&format!("u/{user}/")).unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the origin of simulated time")]
    fn topic_outlives_its_last_listener_for_a_while() {
        let start = Instant::now();
        let mut topics = Subscriptions::default();
        topics.note(Interest::Gained(address("ana")), start);
        assert_eq!(topics.poll_change(start), Some(Change::Subscribe(address("ana"))));
        topics.note(Interest::Lost(address("ana")), start);
        assert_eq!(topics.poll_change(start + LINGER / 2), None);
        topics.note(Interest::Gained(address("ana")), start + LINGER / 2);
        assert_eq!(topics.poll_change(start + LINGER), None, "it was wanted again");
        let later = start + 2 * LINGER;
        topics.note(Interest::Lost(address("ana")), later);
        assert_eq!(topics.poll_change(later + LINGER), Some(Change::Unsubscribe(address("ana"))));
        assert_eq!(topics.len(), 0);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the origin of simulated time")]
    fn new_socket_is_told_everything() {
        let start = Instant::now();
        let mut topics = Subscriptions::default();
        topics.note(Interest::Gained(address("ana")), start);
        topics.note(Interest::Gained(address("luis")), start);
        while topics.poll_change(start).is_some() {}
        topics.restate();
        let changes: Vec<_> = std::iter::from_fn(|| topics.poll_change(start)).collect();
        assert_eq!(changes.len(), 2);
    }
}
