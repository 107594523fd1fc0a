//! When each session is due, a lane for each identity: one that answers slowly keeps no other waiting. It
//! knows no session, and asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::Fingerprint;

/// Questions on their way at once, of one identity; the rest comes as answers do.
const IN_FLIGHT: usize = 256;

/// By the identity's place in the configuration.
#[derive(Default)]
pub(super) struct Lanes(BTreeMap<usize, Lane>);

#[derive(Default)]
struct Lane {
    /// Those being asked about are not in it.
    due: BTreeSet<(Instant, Fingerprint)>,
    in_flight: usize,
}

impl Lanes {
    pub(super) fn insert(&mut self, place: usize, at: Instant, session: Fingerprint) {
        self.0.entry(place).or_default().due.insert((at, session));
    }

    pub(super) fn remove(&mut self, place: usize, at: Instant, session: Fingerprint) {
        if let Some(lane) = self.0.get_mut(&place) {
            lane.due.remove(&(at, session));
        }
    }

    /// When the next session is due that may be asked about.
    pub(super) fn first(&self) -> Option<Instant> {
        let free = self.0.values().filter(|lane| lane.in_flight < IN_FLIGHT);
        free.filter_map(|lane| lane.due.first().map(|(at, _)| *at)).min()
    }

    /// A session that is due by `now`, taken out: its question is on its way until [`Lanes::landed`].
    pub(super) fn take(&mut self, now: Instant) -> Option<(usize, Fingerprint)> {
        self.0.iter_mut().find_map(|(place, lane)| {
            let (at, session) = *lane.due.first()?;
            if at > now || lane.in_flight >= IN_FLIGHT {
                return None;
            }
            lane.due.remove(&(at, session));
            lane.in_flight += 1;
            Some((*place, session))
        })
    }

    /// A question has its answer.
    pub(super) fn landed(&mut self, place: usize) {
        if let Some(lane) = self.0.get_mut(&place) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the origin of simulated time")]
    fn identity_without_answers_keeps_no_other_waiting() {
        let mut lanes = Lanes::default();
        let session = |place: usize, n: usize| Fingerprint::new(place, &n.to_le_bytes());
        let start = Instant::now();
        for n in 0..=IN_FLIGHT {
            lanes.insert(0, start, session(0, n));
        }
        let later = start + Duration::from_secs(1);
        lanes.insert(1, later, session(1, 0));
        assert_eq!((0..=IN_FLIGHT).filter_map(|_| lanes.take(start)).count(), IN_FLIGHT);
        assert_eq!(lanes.first(), Some(later), "the first lane is full");
        assert_eq!(lanes.take(start), None, "not due");
        assert_eq!(lanes.take(later), Some((1, session(1, 0))));
        lanes.landed(0);
        assert_eq!(lanes.first(), Some(start));
        assert!(lanes.take(start).is_some());
    }
}
