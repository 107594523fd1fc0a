//! Who was disconnected lately, and when: whoever joins by an answer of before that is asked about anew.
//! It ends no connection; the registry does.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::model::UserId;

/// Users remembered one by one. Beyond them an answer that is older than a forgotten order is worth
/// nothing for anybody, which costs a question to the store and no more.
const CAPACITY: usize = 4_096;

/// Bounded by [`CAPACITY`].
#[derive(Debug, Default)]
pub(super) struct Kicked {
    at: HashMap<UserId, Instant>,
    order: VecDeque<(Instant, UserId)>,
    forgotten: Option<Instant>,
}

impl Kicked {
    /// The user is disconnected now.
    pub(super) fn note(&mut self, user: &UserId, now: Instant) {
        self.at.insert(user.clone(), now);
        self.order.push_back((now, user.clone()));
        while self.order.len() > CAPACITY {
            let Some((at, user)) = self.order.pop_front() else { break };
            if self.at.get(&user) == Some(&at) {
                self.at.remove(&user);
                self.forgotten = Some(at);
            }
        }
    }

    /// When the user was disconnected, if that was not before the store was `asked`.
    pub(super) fn since(&self, user: &UserId, asked: Instant) -> Option<Instant> {
        let last = self.at.get(user).copied().max(self.forgotten)?;
        (asked <= last).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the origin of simulated time")]
    fn answers_of_before_are_void_even_if_the_order_is_forgotten() {
        let mut kicked = Kicked::default();
        let (ana, luis) = (UserId::new("ana").unwrap(), UserId::new("luis").unwrap());
        let start = Instant::now();
        let second = Duration::from_secs(1);
        kicked.note(&ana, start + second);
        assert_eq!(kicked.since(&ana, start), Some(start + second));
        assert_eq!(kicked.since(&ana, start + 2 * second), None);
        assert_eq!(kicked.since(&luis, start), None);
        for n in 0..CAPACITY {
            kicked.note(&UserId::new(&n.to_string()).unwrap(), start + 2 * second);
        }
        assert_eq!(kicked.since(&ana, start), Some(start + second));
        assert_eq!((kicked.at.len(), kicked.order.len()), (CAPACITY, CAPACITY));
    }
}
