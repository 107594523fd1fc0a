//! A session store: Redis, only ever read.
//!
//! One connection, kept up by a supervisor of its own: the client library's own retries give up, and
//! a timeout does not make it connect anew. A store that is away answers at once that it is away;
//! nobody waits for it to come back but the supervisor.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError};
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use crate::metrics::{Metrics, StoreMetrics};

/// How long an answer may take. Generous: a slow Redis is better than none.
const PATIENCE: Duration = Duration::from_secs(3);

/// From here on it is called slow.
const SLOW: Duration = Duration::from_millis(500);

/// Between two signs of life.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Between attempts to connect: the first, and the longest after doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Questions on their way at once; whoever comes beyond waits, within [`PATIENCE`].
const IN_FLIGHT: usize = 512;

/// Cloning shares it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    /// Whose sessions are here: its place in the configuration, from 1 on.
    identity: usize,
    address: String,
    /// The key of a session that nobody has. That it can be read shows that the others can.
    probe: String,
    link: Mutex<Link>,
    /// Somebody noticed that the connection is dead.
    broken: Notify,
    in_flight: Semaphore,
    metrics: StoreMetrics,
}

enum Link {
    Up { connection: MultiplexedConnection, round_trip: Duration },
    Away { since: Option<Instant>, error: String },
}

/// Why a question has no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AskError {
    /// The store cannot be asked now: neither a yes nor a no.
    #[error("the session store is away: {0}")]
    Away(String),
    /// There is something, but no string; hence no session.
    #[error("the key holds something else than a string")]
    NoString,
}

/// A store's state.
#[derive(Clone, Debug, Serialize)]
pub struct Observed {
    /// Whose sessions are here: its place in the configuration, from 1 on.
    pub identity: usize,
    /// Where it is, without credentials.
    pub address: String,
    /// `up`, `slow` or `away`.
    pub state: &'static str,
    /// How long it took to answer, lately, in milliseconds.
    pub round_trip_ms: Option<u128>,
    /// Seconds since it is away.
    pub away_seconds: Option<u64>,
    /// Why.
    pub error: Option<String>,
}

impl Store {
    /// A store that is not connected yet.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn new(
        identity: usize,
        url: &str,
        probe: String,
        metrics: Option<&Metrics>,
    ) -> Result<Self, RedisError> {
        let info = url.into_connection_info()?;
        // Not the library's name: that would need one more permission.
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
        let address = match info.redis_settings().db() {
            0 => info.addr().to_string(),
            db => format!("{}/{db}", info.addr()),
        };
        let away = Link::Away { since: None, error: "not connected yet".to_owned() };
        let shared = Shared {
            client: Client::open(info)?,
            identity,
            probe,
            link: Mutex::new(away),
            broken: Notify::new(),
            in_flight: Semaphore::new(IN_FLIGHT),
            metrics: metrics.map(|metrics| metrics.store(identity, &address)).unwrap_or_default(),
            address,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Connects once, or learns that it cannot; nobody sees to it afterwards.
    ///
    /// # Errors
    /// It cannot.
    pub async fn connect(&self) -> Result<(), AskError> {
        self.dial().await.map(drop).map_err(|error| AskError::Away(error.to_string()))
    }

    /// Connects once, or learns that it cannot, and sees to it from then on.
    pub async fn start(&self) {
        let first = self.dial().await;
        actix::spawn(self.clone().supervise(first));
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The store is away or does not answer in time, or there is no string.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, AskError> {
        let asked = timeout(PATIENCE, async {
            // The semaphore is never closed.
            let _turn = self.shared.in_flight.acquire().await;
            read(&mut self.connection()?, key).await.map_err(|error| {
                if error.code() == Some("WRONGTYPE") {
                    return AskError::NoString;
                }
                if !error.is_timeout() {
                    self.shared.broken.notify_one();
                }
                AskError::Away(error.to_string())
            })
        });
        asked.await.unwrap_or_else(|_| Err(AskError::Away("no answer in time".to_owned())))
    }

    /// Whether it could be asked.
    pub fn is_up(&self) -> bool {
        matches!(&*self.shared.link.lock(), Link::Up { .. })
    }

    /// Its state.
    pub fn observe(&self, now: Instant) -> Observed {
        let Shared { identity, address, .. } = &*self.shared;
        let (identity, address) = (*identity, address.clone());
        match &*self.shared.link.lock() {
            Link::Up { round_trip, .. } => Observed {
                identity,
                address,
                state: if *round_trip < SLOW { "up" } else { "slow" },
                round_trip_ms: Some(round_trip.as_millis()),
                away_seconds: None,
                error: None,
            },
            Link::Away { since, error } => Observed {
                identity,
                address,
                state: "away",
                round_trip_ms: None,
                away_seconds: since.map(|since| now.duration_since(since).as_secs()),
                error: Some(error.clone()),
            },
        }
    }

    /// Keeps the connection up, for ever.
    async fn supervise(self, mut dialled: Result<MultiplexedConnection, RedisError>) {
        let mut backoff = BACKOFF.0;
        loop {
            let error = match dialled {
                Ok(connection) => {
                    backoff = BACKOFF.0;
                    self.attend(connection).await
                }
                Err(error) => error,
            };
            self.lose(&error);
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
            dialled = self.dial().await;
        }
    }

    /// Connects, and sees whether sessions can be read at all.
    async fn dial(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = &self.shared.client;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let round_trip = self.probe(&mut connection).await?;
        self.note(connection.clone(), round_trip);
        Ok(connection)
    }

    /// Returns when the connection is dead, with the reason.
    async fn attend(&self, mut connection: MultiplexedConnection) -> RedisError {
        loop {
            let life = tokio::select! {
                () = self.shared.broken.notified() => self.probe(&mut connection).await,
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
        match read(connection, &self.shared.probe).await {
            // Whatever is there, it can be read.
            Err(error) if error.code() != Some("WRONGTYPE") => Err(error),
            _ => Ok(round_trip),
        }
    }

    /// It lives; says so if that, or its pace, is new.
    fn note(&self, connection: MultiplexedConnection, round_trip: Duration) {
        let store = &self.shared.address;
        let mut link = self.shared.link.lock();
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
        self.shared.metrics.up.set(1);
        self.shared.metrics.round_trip.set(round_trip.as_secs_f64());
        *link = Link::Up { connection, round_trip };
    }

    fn lose(&self, error: &RedisError) {
        let mut link = self.shared.link.lock();
        let since = match &*link {
            Link::Away { since: Some(since), .. } => *since,
            _ => {
                warn!(
                    "session store away store={} error={:?} \
                     effect=\"nobody new of identity {} gets in; connected users stay for their grace\" \
                     advice={:?}",
                    self.shared.address,
                    error.to_string(),
                    self.shared.identity,
                    advice(error),
                );
                now()
            }
        };
        self.shared.metrics.up.set(0);
        *link = Link::Away { since: Some(since), error: error.to_string() };
    }

    fn connection(&self) -> Result<MultiplexedConnection, AskError> {
        match &*self.shared.link.lock() {
            Link::Up { connection, .. } => Ok(connection.clone()),
            Link::Away { error, .. } => Err(AskError::Away(error.clone())),
        }
    }
}

async fn read(
    connection: &mut MultiplexedConnection,
    key: &str,
) -> Result<Option<Vec<u8>>, RedisError> {
    redis::cmd("GET").arg(key).query_async(connection).await
}

async fn ping(connection: &mut MultiplexedConnection) -> Result<Duration, RedisError> {
    let asked = now();
    redis::cmd("PING").query_async::<()>(connection).await?;
    Ok(asked.elapsed())
}

/// What to do about it.
fn advice(error: &RedisError) -> &'static str {
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
        Some("MOVED" | "ASK") => "that is a Redis Cluster, which is not available yet",
        Some("LOADING") => "Redis reads its data; wait",
        _ => "is Redis up, and the redis URL right?",
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "when the store was asked, or lost")]
fn now() -> Instant {
    Instant::now()
}
