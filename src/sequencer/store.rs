//! What the sequencer remembers, in memory: the last position, and the ids of the last day.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

/// Positions: they rise, never repeat, and name the start they belong to.
#[derive(Debug)]
pub struct Sequence {
    epoch: Box<str>,
    last: u64,
}

impl Sequence {
    /// Starts a new epoch at `now`, milliseconds since 1970.
    pub fn new(now: u64) -> Self {
        Self { epoch: format!("{now:x}").into(), last: 0 }
    }

    /// The next position, at `now`, milliseconds since 1970: time is part of it, so that a restart
    /// that lost the last position does not repeat one. It stays below 2^53, where JavaScript counts
    /// exactly.
    pub fn next(&mut self, now: u64) -> u64 {
        self.last = (self.last + 1).max(now << 10);
        self.last
    }

    /// This start's name.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }
}

/// The ids that notifiers gave in the last day: at most a million, the oldest forgotten first.
///
/// Kept as keyed 128-bit hashes: nobody outside can make two ids collide.
#[derive(Debug)]
pub struct Duplicates {
    keys: [RandomState; 2],
    seen: HashSet<u128>,
    order: VecDeque<(Instant, u128)>,
    capacity: usize,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self::with_capacity(1_000_000)
    }
}

impl Duplicates {
    fn with_capacity(capacity: usize) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self { keys, seen: HashSet::new(), order: VecDeque::new(), capacity }
    }

    /// Whether this id comes for the first time within a day, from that notifier for that address.
    pub fn first(&mut self, from: &str, to: &impl Hash, id: &str, now: Instant) -> bool {
        while let Some((at, hash)) = self.order.front() {
            if self.order.len() < self.capacity && now.duration_since(*at) < DAY {
                break;
            }
            self.seen.remove(hash);
            self.order.pop_front();
        }
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one((from, to, id))));
        let hash = high << 64 | low;
        let first = self.seen.insert(hash);
        if first {
            self.order.push_back((now, hash));
        }
        first
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Address;

    #[test]
    fn positions_rise_even_if_the_clock_does_not() {
        let mut sequence = Sequence::new(1);
        let positions = [10, 10, 9, 11].map(|now| sequence.next(now));
        assert_eq!(positions, [10 << 10, (10 << 10) + 1, (10 << 10) + 2, 11 << 10]);
        assert!(Sequence::new(0).next(4_102_444_800_000) < 1 << 53, "in the year 2100");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the origin of simulated time")]
    fn an_id_is_new_again_after_a_day_or_behind_the_bound() {
        let mut duplicates = Duplicates::with_capacity(2);
        let to = Address::All;
        let start = Instant::now();
        assert!(duplicates.first("a", &to, "1", start));
        assert!(!duplicates.first("a", &to, "1", start));
        assert!(duplicates.first("b", &to, "1", start), "another notifier's id");
        assert!(duplicates.first("a", &to, "2", start), "the oldest makes room");
        assert!(duplicates.first("a", &to, "1", start));
        assert_eq!(duplicates.len(), 2);
        assert!(duplicates.first("a", &to, "1", start + DAY));
    }
}
