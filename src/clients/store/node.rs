//! A Redis server, kept connected by a supervisor of its own: the client library's own retries give up,
//! and a timeout does not make it connect anew.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::events::{self, Ear, Events};
use super::sentinel::{Address, Sentinels};
use super::{AskError, BACKOFF, Observed, PATIENCE, PING_EVERY, Terms, now};
use crate::metrics::StoreMetrics;

/// From here on it is called slow.
const SLOW: Duration = Duration::from_millis(500);

pub(super) struct Node {
    server: Server,
    terms: Terms,
    db: i64,
    /// What it is called, without credentials.
    pub(super) address: String,
    link: Mutex<Link>,
    /// Somebody noticed that the connection is dead.
    broken: Notify,
    /// The first attempts are over.
    settled: Notify,
    /// What it tells of its own accord.
    pub(super) events: Events,
    metrics: StoreMetrics,
}

/// Which server it is.
pub(super) enum Server {
    /// Always this one.
    Fixed(Client),
    /// The one that the Sentinels name.
    Master(Sentinels),
    /// This one of a Cluster.
    Member(Client),
}

/// A connection, and to whom.
pub(super) struct Dialled {
    connection: MultiplexedConnection,
    client: Client,
    /// Where, if that can change.
    master: Option<Address>,
}

/// How to ask for a key.
#[derive(Clone, Copy)]
pub(super) enum Ask {
    Plainly,
    /// A server that takes over the key's slot, and is not its owner yet.
    Asking,
}

enum Link {
    Up { connection: MultiplexedConnection, round_trip: Duration },
    Away { since: Option<Instant>, error: String },
}

impl Node {
    pub(super) fn new(terms: Terms, server: Server, label: String, db: i64) -> Self {
        let address = if db == 0 { label } else { format!("{label}/{db}") };
        let away = Link::Away { since: None, error: "not connected yet".to_owned() };
        let metrics = terms.metrics.as_ref();
        Self {
            server,
            db,
            link: Mutex::new(away),
            broken: Notify::new(),
            settled: Notify::new(),
            events: Events::new(&address),
            metrics: metrics.map(|all| all.store(terms.identity, &address)).unwrap_or_default(),
            terms,
            address,
        }
    }

    /// Keeps the connections up, for ever.
    pub(super) async fn supervise(self: Arc<Self>, template: String, ear: Arc<dyn Ear>) {
        let pattern = events::pattern(self.db, &template);
        let settled = || self.settled.notify_one();
        let mut backoff = BACKOFF.0;
        loop {
            let error = match self.dial().await {
                Ok(Dialled { connection, client, master }) => {
                    backoff = BACKOFF.0;
                    tokio::select! {
                        error = self.attend(connection) => error,
                        error = self.moved(master) => error,
                        error = self.events.follow(&client, &pattern, &*ear, settled) => error,
                    }
                }
                Err(error) => error,
            };
            self.lose(&error);
            self.events.lose(&error);
            self.settled.notify_one();
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Returns once it is connected and listened to, or found to be away.
    pub(super) async fn settled(&self) {
        self.settled.notified().await;
    }

    /// Connects, and sees whether sessions can be read at all.
    pub(super) async fn dial(&self) -> Result<Dialled, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let (client, master) = match &self.server {
            Server::Fixed(client) | Server::Member(client) => (client.clone(), None),
            Server::Master(sentinels) => {
                let (address, client) = sentinels.client().await?;
                (client, Some(address))
            }
        };
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let round_trip = self.probe(&mut connection).await?;
        if let Some((host, port)) = &master {
            info!("session store master store={} at={host}:{port}", self.address);
        }
        self.note(connection.clone(), round_trip);
        Ok(Dialled { connection, client, master })
    }

    /// The connection, if there is one.
    pub(super) fn connection(&self) -> Result<MultiplexedConnection, AskError> {
        match &*self.link.lock() {
            Link::Up { connection, .. } => Ok(connection.clone()),
            Link::Away { error, .. } => Err(AskError::Away(error.clone())),
        }
    }

    /// What it means that a question for a key failed so.
    pub(super) fn failed(&self, error: &RedisError) -> AskError {
        if error.code() == Some("WRONGTYPE") {
            return AskError::NoString;
        }
        if !error.is_timeout() {
            self.broken.notify_one();
        }
        AskError::Away(error.to_string())
    }

    /// Nobody asks it any more.
    pub(super) fn retire(&self) {
        self.metrics.up.set(0);
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.link.lock(), Link::Up { .. })
    }

    pub(super) fn observe(&self, now: Instant) -> Observed {
        let (events, events_heard) = self.events.observe();
        let seen = Observed {
            events,
            events_heard,
            ..Observed::away(self.terms.identity, self.address.clone(), String::new())
        };
        match &*self.link.lock() {
            Link::Up { round_trip, .. } => Observed {
                state: if *round_trip < SLOW { "up" } else { "slow" },
                round_trip_ms: Some(round_trip.as_millis()),
                error: None,
                ..seen
            },
            Link::Away { since, error } => Observed {
                away_seconds: since.map(|since| now.duration_since(since).as_secs()),
                error: Some(error.clone()),
                ..seen
            },
        }
    }

    /// Returns when the connection is dead, with the reason.
    async fn attend(&self, mut connection: MultiplexedConnection) -> RedisError {
        loop {
            let life = tokio::select! {
                () = self.broken.notified() => self.probe(&mut connection).await,
                () = sleep(PING_EVERY) => ping(&mut connection).await,
            };
            match life {
                Ok(round_trip) => self.note(connection.clone(), round_trip),
                Err(error) => return error,
            }
        }
    }

    async fn probe(&self, connection: &mut MultiplexedConnection) -> Result<Duration, RedisError> {
        let round_trip = ping(connection).await?;
        match get(connection, &self.terms.probe, Ask::Plainly).await {
            Ok(_) => Ok(round_trip),
            // Whatever is there, it can be read; or would be, where it is.
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(round_trip),
            Err(error) if self.is_member() && error.redirect_node().is_some() => Ok(round_trip),
            Err(error) => Err(error),
        }
    }

    fn is_member(&self) -> bool {
        matches!(self.server, Server::Member(_))
    }

    /// Returns once another server is the one to ask.
    async fn moved(&self, master: Option<Address>) -> RedisError {
        match (&self.server, master) {
            (Server::Master(sentinels), Some(address)) => sentinels.moved_from(&address).await,
            _ => pending().await,
        }
    }

    /// It lives; says so if that, or its pace, is new.
    fn note(&self, connection: MultiplexedConnection, round_trip: Duration) {
        let store = &self.address;
        let mut link = self.link.lock();
        let slow = round_trip >= SLOW;
        let before = match &*link {
            Link::Up { round_trip, .. } => Some(*round_trip >= SLOW),
            Link::Away { .. } => None,
        };
        if before.is_none() {
            info!("session store up store={store} round_trip={round_trip:.1?}");
        }
        if slow && before != Some(true) {
            warn!(
                "session store slow store={store} round_trip={round_trip:.1?} \
                 effect=\"joining takes that long; beyond {PATIENCE:?} nobody new gets in\" \
                 advice=\"what keeps Redis? see its SLOWLOG, and the network between\""
            );
        }
        if !slow && before == Some(true) {
            info!("session store fast again store={store} round_trip={round_trip:.1?}");
        }
        self.metrics.up.set(1);
        self.metrics.round_trip.set(round_trip.as_secs_f64());
        *link = Link::Up { connection, round_trip };
    }

    fn lose(&self, error: &RedisError) {
        let mut link = self.link.lock();
        let since = match &*link {
            Link::Away { since: Some(since), .. } => *since,
            _ => {
                warn_away(&self.address, self.terms.identity, error);
                now()
            }
        };
        self.metrics.up.set(0);
        *link = Link::Away { since: Some(since), error: error.to_string() };
    }
}

/// Asks for a key.
pub(super) async fn get(
    connection: &mut MultiplexedConnection,
    key: &str,
    ask: Ask,
) -> Result<Option<Vec<u8>>, RedisError> {
    let question = redis::cmd("GET").arg(key).take();
    match ask {
        Ask::Plainly => question.query_async(connection).await,
        Ask::Asking => {
            let mut both = redis::pipe();
            both.cmd("ASKING").ignore().add_command(question);
            both.query_async::<(Option<Vec<u8>>,)>(connection).await.map(|(value,)| value)
        }
    }
}

/// It cannot be asked.
pub(super) fn warn_away(store: &str, identity: usize, error: &RedisError) {
    warn!(
        "session store away store={store} error={:?} \
         effect=\"nobody new of identity {identity} gets in; connected users stay for their grace\" \
         advice={:?}",
        error.to_string(),
        advice(error),
    );
}

async fn ping(connection: &mut MultiplexedConnection) -> Result<Duration, RedisError> {
    let asked = now();
    redis::cmd("PING").query_async::<()>(connection).await?;
    Ok(asked.elapsed())
}

/// What to do about it.
pub(super) fn advice(error: &RedisError) -> &'static str {
    match error.code() {
        Some("NOPERM") => {
            "let the hub's Redis user GET the session keys, and PING; the README has the ACL line"
        }
        Some("NOAUTH") => "put the user and the password into the redis URL",
        _ if error.kind() == ErrorKind::AuthenticationFailed => {
            "are the user and the password in the redis URL right?"
        }
        _ if error.to_string().contains("switch database") => {
            "let the hub's Redis user SELECT, or keep the sessions in database 0"
        }
        Some("MOVED" | "ASK") => {
            "that is a Redis Cluster: name some of its servers in [redis] cluster"
        }
        _ if error.kind() == ErrorKind::MasterNameNotFoundBySentinel => {
            "is [redis] master what the Sentinels call it?"
        }
        _ if error.to_string().contains("certificate") => {
            "name who signed Redis's certificate in [redis] ca_file, and the host as the certificate does"
        }
        Some("LOADING") => "Redis reads its data; wait",
        _ => "is Redis up, and the redis URL right?",
    }
}
