//! From a store's events to the watch: which sessions have changed since it last looked. Who listens to
//! Redis must not wait, and the watch has a thread of its own; between them is this set, which holds each
//! session once, and knows when it has become too many to name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Message, Recipient};
use log::warn;
use parking_lot::Mutex;

use super::cache::Fingerprint;
use super::sessions::Sessions;
use super::store::Ear;

/// Sessions that wait to be looked at. Beyond, all are looked at: it is about as much work by then.
const CAPACITY: usize = 4_096;

/// Between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// What has changed in one identity's store.
pub struct Changes {
    sessions: Sessions,
    /// Who looks.
    watch: Recipient<Heard>,
    waiting: Mutex<Waiting>,
    /// When it was last said that it was too much.
    warned: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Waiting {
    changed: HashMap<Fingerprint, bool>,
    missed: bool,
    /// The watch knows that something waits.
    told: bool,
}

/// Something waits: take it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Heard(pub Arc<Changes>);

/// What waited.
pub enum Change {
    /// These sessions, and whether each is gone from the store.
    These(HashMap<Fingerprint, bool>),
    /// Nobody knows which.
    Any,
}

/// What a store tells of, on its way to the watch.
pub struct Listener(pub Arc<Changes>);

impl Changes {
    /// Nothing has changed yet.
    pub fn new(sessions: Sessions, watch: Recipient<Heard>) -> Self {
        Self { sessions, watch, waiting: Mutex::default(), warned: Mutex::default() }
    }

    /// What has changed since this was last asked.
    pub fn take(&self) -> Change {
        let Waiting { changed, missed, .. } = std::mem::take(&mut *self.waiting.lock());
        if missed { Change::Any } else { Change::These(changed) }
    }

    /// It was too much; at most one line a second.
    fn warn(&self, now: Instant) {
        let mut warned = self.warned.lock();
        if warned.is_none_or(|last| now.duration_since(last) >= LOG_EVERY) {
            *warned = Some(now);
            warn!(
                "session events too many at once waiting={CAPACITY} \
                 next=\"all sessions of connected users are looked at\""
            );
        }
    }

    /// Whose sessions these are.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

impl Waiting {
    /// False if it is too much.
    fn add(&mut self, session: Fingerprint, gone: bool) -> bool {
        if self.missed {
            return true;
        }
        if self.changed.len() >= CAPACITY && !self.changed.contains_key(&session) {
            self.changed.clear();
            self.missed = true;
            return false;
        }
        *self.changed.entry(session).or_default() |= gone;
        true
    }
}

impl Listener {
    #[expect(clippy::disallowed_methods, reason = "one message on its way for each store")]
    fn tell(&self, mut note: impl FnMut(&mut Waiting)) {
        let mut waiting = self.0.waiting.lock();
        note(&mut waiting);
        if !std::mem::replace(&mut waiting.told, true) {
            self.0.watch.do_send(Heard(self.0.clone()));
        }
    }
}

impl Ear for Listener {
    fn changed(&self, key: &[u8], gone: bool) {
        let session = self.0.sessions.fingerprint(key);
        // Before anything else: until it is asked again, nobody gets in by what was known of it.
        self.0.sessions.end(session, now());
        self.tell(|waiting| {
            if !waiting.add(session, gone) {
                self.0.warn(now());
            }
        });
    }

    fn listening(&self) {
        self.0.sessions.end_all();
        self.tell(|waiting| waiting.missed = true);
    }
}

#[expect(clippy::disallowed_methods, reason = "when a session was heard to change")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_to_name_are_all() {
        let mut waiting = Waiting::default();
        let session = |n: usize| Fingerprint::new(0, &n.to_le_bytes());
        for n in 0..CAPACITY {
            assert!(waiting.add(session(n), false));
        }
        assert!(waiting.add(session(7), true), "known already");
        assert!(waiting.add(session(7), false));
        assert_eq!(waiting.changed.get(&session(7)), Some(&true), "gone it stays");
        assert!(!waiting.add(session(CAPACITY), false), "once");
        assert!(waiting.add(session(CAPACITY), false), "and not again");
        assert!(waiting.missed && waiting.changed.is_empty());
    }
}
