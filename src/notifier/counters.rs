//! A notifier's counters, and its log of refusals: at most one line a second and reason.

use std::time::{Duration, Instant};

use log::warn;
use prometheus_client::metrics::counter::Counter;

use super::{Observed, Refused};
use crate::metrics::Metrics;
use crate::sequencer::Outcome;

pub(super) struct Counters {
    received: Counter,
    delivered: Counter,
    deliveries: Counter,
    absent: Counter,
    duplicates: Counter,
    disconnects: Counter,
    refused: [Refusals; Refused::ALL.len()],
    last_seen: Option<Instant>,
}

struct Refusals {
    reason: Refused,
    count: Counter,
    /// When a line was last written, and how many refusals it and the silence since stand for.
    logged: Option<Instant>,
    unlogged: u64,
}

impl Counters {
    pub(super) fn new(notifier: &str, metrics: &Metrics) -> Self {
        let outcome = |outcome| metrics.notifications(notifier, outcome);
        Self {
            received: metrics.received(notifier),
            delivered: outcome("delivered"),
            absent: outcome("absent"),
            duplicates: outcome("duplicate"),
            disconnects: outcome("disconnect"),
            deliveries: metrics.deliveries(notifier),
            refused: Refused::ALL.map(|reason| Refusals {
                reason,
                count: metrics.refused(notifier, reason.as_str()),
                logged: None,
                unlogged: 0,
            }),
            last_seen: None,
        }
    }

    pub(super) fn receive(&mut self, messages: usize, now: Instant) {
        self.received.inc_by(messages as u64);
        self.last_seen = Some(now);
    }

    pub(super) fn refuse(&mut self, notifier: &str, reason: Refused, now: Instant) {
        for refusals in self.refused.iter_mut().filter(|one| one.reason == reason) {
            refusals.count.inc();
            refusals.unlogged += 1;
            refusals.log(notifier, now);
        }
    }

    /// Logs what was held back; to be called now and then, so that the end of a burst is told, too.
    pub(super) fn catch_up(&mut self, notifier: &str, now: Instant) {
        for refusals in &mut self.refused {
            refusals.log(notifier, now);
        }
    }

    pub(super) fn count(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            match outcome {
                Outcome::Delivered(connections) => {
                    self.delivered.inc();
                    self.deliveries.inc_by(u64::from(*connections));
                }
                Outcome::Absent => {
                    self.absent.inc();
                }
                Outcome::Duplicate => {
                    self.duplicates.inc();
                }
                Outcome::Disconnected => {
                    self.disconnects.inc();
                }
                Outcome::Lost => {}
            }
        }
    }

    pub(super) fn fill(&self, observed: &mut Observed, now: Instant) {
        observed.received = self.received.get();
        observed.delivered = self.delivered.get();
        observed.deliveries = self.deliveries.get();
        observed.absent = self.absent.get();
        observed.duplicates = self.duplicates.get();
        observed.disconnects = self.disconnects.get();
        observed.refused =
            self.refused.iter().map(|one| (one.reason.as_str(), one.count.get())).collect();
        observed.last_seen_seconds = self.last_seen.map(|at| now.duration_since(at).as_secs());
    }
}

impl Refusals {
    /// At most one line a second; it stands for all refusals since the last.
    fn log(&mut self, notifier: &str, now: Instant) {
        let too_soon =
            self.logged.is_some_and(|at| now.duration_since(at) < Duration::from_secs(1));
        if self.unlogged == 0 || too_soon {
            return;
        }
        warn!(
            "messages refused notifier={notifier} reason={} count={} advice={:?}",
            self.reason.as_str(),
            self.unlogged,
            self.reason.advice(),
        );
        self.logged = Some(now);
        self.unlogged = 0;
    }
}
