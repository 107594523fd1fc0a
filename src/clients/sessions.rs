//! Identity by the web application's word: by its session, which is read by `crates/identity` (in a
//! store, or in what the client shows), or by its answer to "who is this?". Callers do not see which:
//! what a client shows is kept, asked about, cached, and asked about again all the same.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::Recipient;
use actix_http::header::HeaderMap;
use identity::{Credential, Credentials, Lookup, Reason, Recipe, User};
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::counter::Counter;

use super::cache::{Cache, Fingerprint};
use super::callback::{Callback, Forwarded};
use super::changes::{Changes, Heard, Listener};
use super::flight::{Flights, Landed};
use super::store::{AskError, Observed, Store};
use crate::config::{CallbackIdentity, SessionIdentity};
use crate::metrics::Metrics;
use crate::model::GroupPattern;

/// One identity of the configuration, ready to ask. Cloning shares it: all workers have one cache.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    /// Its place in the configuration.
    place: usize,
    terms: Terms,
    source: Source,
    cache: Mutex<Cache>,
    flights: Flights<Result<Known, Unknown>>,
    lookups: Lookups,
}

/// Who knows.
enum Source {
    /// The session. The recipe is replaced when its secrets are read anew, while every worker asks.
    Session {
        recipe: RwLock<Arc<Recipe>>,
        /// The field of the client's `auth` that holds its token; empty: it shows none.
        token: String,
        store: Option<Store>,
    },
    /// The web application.
    Callback(Callback),
}

/// How often is looked again, and for how long nobody needs to.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How often a connected user's session is looked at again.
    pub revalidate: Duration,
    /// How long connected users stay when nobody can say.
    pub grace: Duration,
    /// How long an answer is good for the next connection, unless it says so itself.
    pub cache: Duration,
    /// Groups that its users may join, besides those that their session lists.
    pub group_patterns: Arc<[GroupPattern]>,
}

struct Lookups {
    user: Counter,
    refused: Counter,
    unavailable: Counter,
}

/// A client, as far as it shows who it is.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    /// Its request's cookies, as one header.
    pub cookies: Option<&'a str>,
    /// All of its request's headers.
    pub headers: &'a HeaderMap,
    /// Its address; what is known of it by trusted proxies.
    pub remote: Option<IpAddr>,
    /// The JSON object that it sent along.
    pub auth: Option<&'a str>,
}

impl<'a> Visitor<'a> {
    /// The token in that field of its `auth`; an empty name is no field.
    pub fn token(&self, field: &str) -> Option<Cow<'a, str>> {
        self.auth.filter(|_| !field.is_empty()).and_then(|auth| identity::token(auth, field))
    }
}

/// What a client has shown that this identity looks at; whoever follows a session keeps it. As good as
/// a password: `Debug` does not show it.
#[derive(Clone)]
pub enum Shown {
    /// To a session format.
    Session(Credential),
    /// To the web application.
    Callback(Arc<Forwarded>),
}

/// A session that was found to belong to somebody.
#[derive(Clone)]
pub struct Found {
    /// Which identity found it.
    pub sessions: Sessions,
    /// What showed it.
    pub credential: Shown,
    /// The same, for tables.
    pub fingerprint: Fingerprint,
    /// Whose.
    pub user: User,
    /// Whether its token shows it, which comes with the join and not with each request.
    pub by_token: bool,
    /// Since when that may have changed: when the store was asked, or before that.
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

/// A positive answer, and how long it is good.
#[derive(Clone)]
struct Known {
    user: User,
    fresh: Duration,
    /// False: the session has ended since the question was sent.
    holds: bool,
}

/// What is to be found out about a client.
enum Question {
    /// Nothing.
    Answered(Fingerprint, User),
    /// Only the store, or the application, can say.
    Open(Fingerprint, Asking),
}

#[derive(Clone)]
enum Asking {
    Store(String),
    Callback(Arc<Forwarded>),
}

impl Sessions {
    /// The identity at that place, with its store unless the cookie is the session.
    pub fn new(
        place: usize,
        config: SessionIdentity,
        store: Option<Store>,
        metrics: &Metrics,
    ) -> Self {
        let SessionIdentity { recipe, token, group_patterns, revalidate, grace, cache, .. } =
            config;
        let source = Source::Session { recipe: RwLock::new(Arc::new(recipe)), token, store };
        Self::of(place, Terms { revalidate, grace, cache, group_patterns }, source, metrics)
    }

    /// The identity at that place whose users the web application knows.
    pub fn by_callback(place: usize, config: &CallbackIdentity, metrics: &Metrics) -> Self {
        let CallbackIdentity { revalidate, grace, cache, .. } = *config;
        let group_patterns = config.group_patterns.clone();
        let callback = Callback::new(place + 1, config, Some(metrics));
        let terms = Terms { revalidate, grace, cache, group_patterns };
        Self::of(place, terms, Source::Callback(callback), metrics)
    }

    fn of(place: usize, terms: Terms, source: Source, metrics: &Metrics) -> Self {
        let lookups = Lookups {
            user: metrics.lookups("user"),
            refused: metrics.lookups("refused"),
            unavailable: metrics.lookups("unavailable"),
        };
        let (cache, flights) = (Mutex::default(), Flights::default());
        Self { shared: Arc::new(Shared { place, terms, source, cache, flights, lookups }) }
    }

    /// Whom a client's credentials belong to.
    ///
    /// # Errors
    /// Nobody, or nobody knows.
    pub async fn identify(&self, visitor: &Visitor<'_>) -> Result<Found, Unknown> {
        // Before anything is judged: what is replaced or ends from now on makes it doubtful.
        let came = now();
        let credential = self.shown(visitor).map_err(Unknown::Refused)?;
        let (fingerprint, user, asked) = match self.question(&credential)? {
            Question::Answered(fingerprint, user) => (fingerprint, user, came),
            Question::Open(fingerprint, asking) => {
                let (user, asked) = self.find(fingerprint, &asking, came).await?;
                (fingerprint, user, asked)
            }
        };
        let by_token = visitor.token(self.token()).is_some();
        let (sessions, asked) = (self.clone(), asked.min(came));
        Ok(Found { sessions, credential, fingerprint, user, by_token, asked })
    }

    /// Asks again whose a credential is, whatever was known; all checks are made anew.
    ///
    /// # Errors
    /// The session is over, or nobody knows.
    pub async fn ask(&self, credential: &Shown) -> Result<User, Unknown> {
        match self.question(credential)? {
            Question::Answered(_, user) => Ok(user),
            Question::Open(session, asking) => {
                let ask = |asked| self.clone().put(session, asking, asked);
                let landed = self.shared.flights.renew(session, ask).await;
                landed.map_or(Err(Unknown::Unavailable), |landed| landed.answer.map(|it| it.user))
            }
        }
    }

    /// The field of the client's `auth` that holds its token; empty: it shows none.
    fn token(&self) -> &str {
        match &self.shared.source {
            Source::Session { token, .. } => token,
            Source::Callback(callback) => callback.token(),
        }
    }

    fn shown(&self, visitor: &Visitor<'_>) -> Result<Shown, Reason> {
        match &self.shared.source {
            Source::Session { recipe, token, .. } => {
                let token = visitor.token(token);
                let Visitor { cookies, remote, .. } = *visitor;
                let shown = Credentials { cookies, token: token.as_deref(), remote };
                let recipe = recipe.read().clone();
                recipe.credential(&shown).map(Shown::Session)
            }
            Source::Callback(callback) => {
                callback.shown(visitor).map(|shown| Shown::Callback(Arc::new(shown)))
            }
        }
    }

    fn question(&self, shown: &Shown) -> Result<Question, Unknown> {
        match (&self.shared.source, shown) {
            (Source::Session { recipe, .. }, Shown::Session(credential)) => {
                let recipe = recipe.read().clone();
                match recipe.lookup(credential, since_1970()).map_err(Unknown::Refused)? {
                    Lookup::User(user) => {
                        let fingerprint = self.fingerprint(credential.as_bytes());
                        Ok(Question::Answered(fingerprint, user))
                    }
                    Lookup::Key(key) => {
                        let fingerprint = self.fingerprint(key.as_bytes());
                        Ok(Question::Open(fingerprint, Asking::Store(key)))
                    }
                }
            }
            (Source::Callback(_), Shown::Callback(forwarded)) => {
                let fingerprint = self.fingerprint(&forwarded.bytes());
                Ok(Question::Open(fingerprint, Asking::Callback(forwarded.clone())))
            }
            // What one identity was shown is asked of no other.
            _ => Err(Unknown::Refused(Reason::NoCookie)),
        }
    }

    async fn find(
        &self,
        session: Fingerprint,
        asking: &Asking,
        came: Instant,
    ) -> Result<(User, Instant), Unknown> {
        let Shared { cache, flights, .. } = &*self.shared;
        let cached = cache.lock().get(&session, now());
        if let Some(cached) = cached {
            return Ok(cached);
        }
        for _ in 0..ATTEMPTS {
            let ask = |asked| self.clone().put(session, asking.clone(), asked);
            let landed = flights.join(session, ask).await;
            let Some(Landed { asked, answer }) = landed else { return Err(Unknown::Unavailable) };
            // The question may have been on its way before: then a yes counts as a cached one would,
            // and a no may be of before the login.
            let ours = asked >= came;
            match answer {
                Ok(Known { user, fresh, holds: true }) if ours || came - asked < fresh => {
                    return Ok((user, asked));
                }
                Err(Unknown::Refused(reason)) if ours => {
                    return Err(Unknown::Over(reason, session));
                }
                Err(Unknown::Unavailable) => return Err(Unknown::Unavailable),
                _ => {}
            }
        }
        Err(Unknown::Unavailable)
    }

    /// Puts the question, and remembers a yes.
    async fn put(
        self,
        session: Fingerprint,
        asking: Asking,
        asked: Instant,
    ) -> Result<Known, Unknown> {
        let Shared { source, terms, lookups, cache, .. } = &*self.shared;
        let answer = match (source, asking) {
            (Source::Session { recipe, store: Some(store), .. }, Asking::Store(key)) => {
                read(recipe, store, &key).await.map(|user| (user, terms.cache))
            }
            (Source::Callback(callback), Asking::Callback(forwarded)) => {
                let answer = callback.ask(&forwarded).await;
                answer.map(|(user, fresh)| (user, fresh.unwrap_or(terms.cache)))
            }
            _ => Err(Unknown::Unavailable),
        };
        let counter = match &answer {
            Ok(_) => &lookups.user,
            Err(Unknown::Refused(_) | Unknown::Over(..)) => &lookups.refused,
            Err(Unknown::Unavailable) => &lookups.unavailable,
        };
        counter.inc();
        let (user, fresh) = answer?;
        // No session may go unseen for longer than `revalidate`.
        let fresh = fresh.min(terms.revalidate);
        let left = |over: Duration| over.saturating_sub(since_1970());
        let fresh = user.expires.map_or(fresh, |over| fresh.min(left(over)));
        // If the session ended while the store was asked, the answer is of before.
        let holds = cache.lock().put(session, &user, asked, fresh);
        Ok(Known { user, fresh, holds })
    }

    /// Goes by other secrets from now on: what was found by the former ones is forgotten.
    pub fn renew(&self, new: Recipe) {
        let Source::Session { recipe, .. } = &self.shared.source else { return };
        *recipe.write() = Arc::new(new);
        self.end_all();
    }

    /// The session that this key, or cookie, stands for.
    pub fn fingerprint(&self, session: &[u8]) -> Fingerprint {
        Fingerprint::new(self.shared.place, session)
    }

    /// Forgets a session that is over, as the answer to a question of `asked` shows, or that has changed.
    pub fn end(&self, fingerprint: Fingerprint, asked: Instant) {
        self.shared.cache.lock().end(fingerprint, asked);
    }

    /// Any session may be over, or another's: all is forgotten that was asked until now.
    pub fn end_all(&self) {
        self.shared.cache.lock().end_all(now());
    }

    /// Whether a session was seen to end, by a question of `asked` or later.
    pub fn ended_since(&self, fingerprint: &Fingerprint, asked: Instant) -> bool {
        self.shared.cache.lock().ended_since(fingerprint, asked)
    }

    /// How often is looked again.
    pub fn terms(&self) -> &Terms {
        &self.shared.terms
    }

    /// Its place in the configuration.
    pub fn place(&self) -> usize {
        self.shared.place
    }

    /// Sees to whom it asks, from now on, and has `watch` told of what changes there. Returns once that is
    /// known to be up, or away.
    pub async fn start(&self, watch: Recipient<Heard>) {
        match &self.shared.source {
            Source::Session { recipe, store: Some(store), .. } => {
                let changes = Changes::new(self.clone(), watch);
                let key = recipe.read().key.clone();
                store.start(&key, Arc::new(Listener(Arc::new(changes)))).await;
            }
            Source::Session { store: None, .. } => {}
            Source::Callback(callback) => callback.start().await,
        }
    }

    /// Whether nobody can be known by it now.
    pub fn is_blocked(&self) -> bool {
        match &self.shared.source {
            Source::Session { store, .. } => store.as_ref().is_some_and(|store| !store.is_up()),
            Source::Callback(callback) => !callback.is_up(),
        }
    }

    /// The state of whom it asks, if it asks anybody.
    pub fn observe(&self, now: Instant) -> Vec<Observed> {
        match &self.shared.source {
            Source::Session { store, .. } => {
                store.as_ref().map_or_else(Vec::new, |store| store.observe(now))
            }
            Source::Callback(callback) => vec![callback.observe(now)],
        }
    }

    /// A session has ended since `since`, and its store has not told.
    pub fn not_told(&self, since: Instant) {
        if let Source::Session { store: Some(store), .. } = &self.shared.source {
            store.not_told(since);
        }
    }
}

async fn read(recipe: &RwLock<Arc<Recipe>>, store: &Store, key: &str) -> Result<User, Unknown> {
    match store.get(key).await {
        Ok(value) => {
            let recipe = recipe.read().clone();
            recipe.user(value.as_deref(), since_1970()).map_err(Unknown::Refused)
        }
        Err(AskError::NoString) => Err(Unknown::Refused(Reason::Corrupt)),
        Err(AskError::Away(_)) => Err(Unknown::Unavailable),
    }
}

impl fmt::Debug for Visitor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visitor(…)")
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(…)")
    }
}

/// Questions for one answer that holds: the first may be older than its asker; and whose session changes
/// faster comes again in a moment.
const ATTEMPTS: usize = 4;

#[expect(clippy::disallowed_methods, reason = "a session is judged by the time of day")]
pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "the age of an answer")]
fn now() -> Instant {
    Instant::now()
}
