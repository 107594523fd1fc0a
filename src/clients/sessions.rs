//! Identity by the web application's session: cookie → id → Redis → user, through `crates/identity`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use identity::{Credential, Credentials, Lookup, Reason, User};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

use super::cache::{Cache, Fingerprint};
use super::store::{AskError, Store};
use crate::config::SessionIdentity;
use crate::metrics::Metrics;

/// One identity of the configuration, ready to ask. Cloning shares it: all workers have one cache.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    /// Its place in the configuration.
    place: usize,
    config: SessionIdentity,
    /// Nothing, if the cookie is the session.
    store: Option<Store>,
    cache: Mutex<Cache>,
    lookups: Lookups,
}

struct Lookups {
    user: Counter,
    refused: Counter,
    unavailable: Counter,
}

/// A session that was found to belong to somebody.
#[derive(Clone)]
pub struct Found {
    /// Which identity found it.
    pub sessions: Sessions,
    /// What showed it.
    pub credential: Credential,
    /// The same, for tables.
    pub fingerprint: Fingerprint,
    /// Whose.
    pub user: User,
    /// When the store was asked for it.
    pub asked: Instant,
}

/// Why nobody was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is certain that it is nobody.
    Refused(Reason),
    /// The same, as the store says of this session.
    Over(Reason, Fingerprint),
    /// The store could not be asked.
    Unavailable,
}

impl Sessions {
    /// The identity at that place, with its store unless the cookie is the session.
    pub fn new(
        place: usize,
        config: SessionIdentity,
        store: Option<Store>,
        metrics: &Metrics,
    ) -> Self {
        let lookups = Lookups {
            user: metrics.lookups("user"),
            refused: metrics.lookups("refused"),
            unavailable: metrics.lookups("unavailable"),
        };
        let cache = Mutex::default();
        Self { shared: Arc::new(Shared { place, config, store, cache, lookups }) }
    }

    /// Whom a client's credentials belong to.
    ///
    /// # Errors
    /// Nobody, or nobody knows.
    pub async fn identify(&self, shown: &Credentials<'_>) -> Result<Found, Unknown> {
        let Shared { place, config: SessionIdentity { recipe, .. }, .. } = &*self.shared;
        let credential = recipe.credential(shown).map_err(Unknown::Refused)?;
        let asked = now();
        match recipe.lookup(&credential, since_1970()).map_err(Unknown::Refused)? {
            Lookup::User(user) => {
                let fingerprint = Fingerprint::new(*place, credential.as_bytes());
                Ok(Found { sessions: self.clone(), credential, fingerprint, user, asked })
            }
            Lookup::Key(key) => self.find(credential, &key).await,
        }
    }

    /// Asks again whose a credential is, whatever was known; all checks are made anew.
    ///
    /// # Errors
    /// The session is over, or nobody knows.
    pub async fn ask(&self, credential: &Credential) -> Result<User, Unknown> {
        let recipe = &self.shared.config.recipe;
        match recipe.lookup(credential, since_1970()).map_err(Unknown::Refused)? {
            Lookup::User(user) => Ok(user),
            Lookup::Key(key) => self.read(&key).await,
        }
    }

    async fn find(&self, credential: Credential, key: &str) -> Result<Found, Unknown> {
        let Shared { place, config, cache, .. } = &*self.shared;
        let fingerprint = Fingerprint::new(*place, key.as_bytes());
        // No session may go unseen for longer than `revalidate`.
        let fresh = config.cache.min(config.revalidate);
        let found = |(user, asked)| Found {
            sessions: self.clone(),
            credential: credential.clone(),
            fingerprint,
            user,
            asked,
        };
        let cached = cache.lock().get(&fingerprint, now(), fresh);
        if let Some(cached) = cached {
            return Ok(found(cached));
        }
        for _ in 0..ATTEMPTS {
            let asked = now();
            let user = self.read(key).await.map_err(|unknown| match unknown {
                Unknown::Refused(reason) => Unknown::Over(reason, fingerprint),
                other => other,
            })?;
            // If the session ended while the store was asked, the answer is of before.
            if cache.lock().put(fingerprint, &user, asked) {
                return Ok(found((user, asked)));
            }
        }
        Err(Unknown::Refused(Reason::NoSession))
    }

    async fn read(&self, key: &str) -> Result<User, Unknown> {
        let Shared { config: SessionIdentity { recipe, .. }, store, lookups, .. } = &*self.shared;
        let answer = match store {
            Some(store) => match store.get(key).await {
                Ok(value) => recipe.user(value.as_deref(), since_1970()).map_err(Unknown::Refused),
                Err(AskError::NoString) => Err(Unknown::Refused(Reason::Corrupt)),
                Err(AskError::Away(_)) => Err(Unknown::Unavailable),
            },
            None => Err(Unknown::Unavailable),
        };
        let counter = match &answer {
            Ok(_) => &lookups.user,
            Err(Unknown::Refused(_) | Unknown::Over(..)) => &lookups.refused,
            Err(Unknown::Unavailable) => &lookups.unavailable,
        };
        counter.inc();
        answer
    }

    /// Forgets a session that is over, as the answer to a question of `asked` shows.
    pub fn end(&self, fingerprint: Fingerprint, asked: Instant) {
        self.shared.cache.lock().end(fingerprint, asked);
    }

    /// Whether a session was seen to end, by a question of `asked` or later.
    pub fn ended_since(&self, fingerprint: &Fingerprint, asked: Instant) -> bool {
        self.shared.cache.lock().ended_since(fingerprint, asked)
    }

    /// Its settings.
    pub fn config(&self) -> &SessionIdentity {
        &self.shared.config
    }

    /// Its store, unless the cookie is the session.
    pub fn store(&self) -> Option<&Store> {
        self.shared.store.as_ref()
    }
}

/// Questions for one answer that holds; more than one end of one session in a moment is an oddity.
const ATTEMPTS: usize = 3;

#[expect(clippy::disallowed_methods, reason = "a session is judged by the time of day")]
pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "the age of an answer")]
fn now() -> Instant {
    Instant::now()
}
