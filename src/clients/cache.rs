//! Who a session was found to belong to, a moment ago: so that a page with five connections asks the
//! store once. Only yes is remembered, and only until the session is seen to end.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use identity::User;
use lru::LruCache;
use sha2::{Digest as _, Sha256};

/// A session, or rather the hash of what names it: the cache must not be worth stealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a session under the identity at that place in the configuration.
    pub fn new(identity: usize, session: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(identity.to_le_bytes());
        hash.update(session);
        Self(hash.finalize().into())
    }
}

/// Bounded by its capacity, and by time.
pub struct Cache {
    sessions: LruCache<Fingerprint, Entry>,
    /// Answers to questions of before are worth nothing.
    ended: Option<Instant>,
}

struct Entry {
    /// When the store was asked, or the session was seen to end.
    at: Instant,
    /// Nobody: the session has ended, or changed. An answer to a question of before must not count after it.
    user: Option<User>,
    /// How long the answer is good.
    fresh: Duration,
}

/// Sessions remembered.
const CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

impl Default for Cache {
    fn default() -> Self {
        Self { sessions: LruCache::new(CAPACITY), ended: None }
    }
}

impl Cache {
    /// The user, and when the store said so, if that answer is still good at `now`.
    pub fn get(&mut self, session: &Fingerprint, now: Instant) -> Option<(User, Instant)> {
        let Entry { at, user, fresh } = self.sessions.get(session)?;
        let user = user.as_ref().filter(|_| now.duration_since(*at) < *fresh)?;
        Some((user.clone(), *at))
    }

    /// Remembers the answer to a question of `asked` for `fresh` from then on; false if the session has
    /// ended since: then the answer is worth nothing.
    pub fn put(
        &mut self,
        session: Fingerprint,
        user: &User,
        asked: Instant,
        fresh: Duration,
    ) -> bool {
        if self.ended_since(&session, asked) {
            return false;
        }
        // Answers overtake each other: a later question's stays.
        if let Some(Entry { at, user: Some(later), .. }) = self.sessions.peek(&session)
            && *at > asked
        {
            return later == user;
        }
        self.insert(session, Entry { at: asked, user: Some(user.clone()), fresh });
        true
    }

    /// Whether the session was seen to end, by a question of `asked` or later; or may have ended, since
    /// all was forgotten.
    pub fn ended_since(&self, session: &Fingerprint, asked: Instant) -> bool {
        let ended = |entry: &Entry| entry.user.is_none() && entry.at >= asked;
        self.ended.is_some_and(|at| asked <= at) || self.sessions.peek(session).is_some_and(ended)
    }

    /// The session is over, as the answer to a question of `asked` shows.
    pub fn end(&mut self, session: Fingerprint, asked: Instant) {
        // Ends are noted by different hands: an older one does not make the later one forgotten.
        let known = self.sessions.peek(&session).filter(|entry| entry.user.is_none());
        let at = known.map_or(asked, |entry| entry.at.max(asked));
        self.insert(session, Entry { at, user: None, fresh: Duration::ZERO });
    }

    /// Any session may be over, or another's: all is forgotten that was asked until `asked`, and what is on its way.
    pub fn end_all(&mut self, asked: Instant) {
        self.sessions.clear();
        self.ended = self.ended.max(Some(asked));
    }

    /// What is pushed out, an end above all, must not be as if it had not been.
    fn insert(&mut self, session: Fingerprint, entry: Entry) {
        let out = self.sessions.push(session, entry);
        if let Some((_, Entry { at, user: None, .. })) = out.filter(|(other, _)| *other != session)
        {
            self.ended = self.ended.max(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the origin of simulated time")]
    fn end_of_a_session_voids_answers_on_their_way() {
        let mut cache = Cache::default();
        let session = Fingerprint::new(0, b"key");
        let user = User { id: "77".to_owned(), groups: Vec::new(), expires: None };
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert!(cache.put(session, &user, start, 5 * second));
        let other = User { id: "78".to_owned(), ..user.clone() };
        assert!(!cache.put(session, &other, start - second, 5 * second), "of before, and another");
        let found = cache.get(&session, start + 4 * second);
        assert_eq!(found, Some((user.clone(), start)));
        assert_eq!(cache.get(&session, start + 5 * second), None, "too old");
        cache.end(session, start + second);
        assert_eq!(cache.get(&session, start + second), None, "ended");
        assert!(!cache.put(session, &user, start, 5 * second), "asked before the end");
        assert!(cache.put(session, &user, start + 2 * second, 5 * second), "asked after it");
        cache.end_all(start + 3 * second);
        assert_eq!(cache.get(&session, start + 3 * second), None, "forgotten");
        assert!(!cache.put(session, &user, start + 3 * second, 5 * second), "asked before that");
        assert!(cache.ended_since(&session, start + 3 * second));
        assert!(cache.put(session, &user, start + 4 * second, 5 * second), "asked after that");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the origin of simulated time")]
    fn end_is_forgotten_neither_for_an_older_one_nor_for_want_of_room() {
        let mut cache = Cache::default();
        let session = |n: usize| Fingerprint::new(0, &n.to_le_bytes());
        let user = User { id: "77".to_owned(), groups: Vec::new(), expires: None };
        let start = Instant::now();
        let second = Duration::from_secs(1);
        cache.end(session(0), start + 2 * second);
        cache.end(session(0), start);
        assert!(
            !cache.put(session(0), &user, start + second, second),
            "asked before the later end"
        );
        for n in 1..=CAPACITY.get() {
            cache.end(session(n), start + 3 * second);
        }
        assert!(cache.ended_since(&session(0), start + 2 * second), "pushed out");
        assert!(cache.put(session(0), &user, start + 4 * second, second), "asked after it");
    }

    #[test]
    fn same_key_under_another_identity_is_another_session() {
        assert_ne!(Fingerprint::new(0, b"key"), Fingerprint::new(1, b"key"));
    }
}
