//! A session store: Redis, only ever read; and what it tells of its own accord, which keys have changed.
//!
//! `node` keeps a connection to a server up, `events` listens on another; `place` is how to enter,
//! `sentinel` says which server it is, `cluster` has many. A store that is away answers at once that it is
//! away; nobody waits for it to come back but the supervisor.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisError;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use cluster::Cluster;
pub use events::Ear;
use node::{Ask, Node, Server};
use place::Door;
use sentinel::Sentinels;

use crate::config::{RedisPlace, Way};
use crate::metrics::Metrics;

mod cluster;
mod events;
mod node;
mod place;
mod sentinel;

/// How long an answer may take. Generous: a slow Redis is better than none.
const PATIENCE: Duration = Duration::from_secs(3);

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
    servers: Servers,
    in_flight: Semaphore,
}

enum Servers {
    One(Arc<Node>),
    Many(Arc<Cluster>),
}

/// What all servers of a store have in common.
#[derive(Clone)]
struct Terms {
    /// Whose sessions are here: its place in the configuration, from 1 on.
    identity: usize,
    /// The key of a session that nobody has. That it can be read shows that the others can.
    probe: String,
    metrics: Option<Metrics>,
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
    /// Whether it tells of changed keys by itself: `on`, some have come; `unknown`, none has come yet;
    /// `off`, it does not, or the hub cannot hear it now.
    pub events: &'static str,
    /// How many have come.
    pub events_heard: u64,
}

impl Store {
    /// A store that is not connected yet.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn new(
        identity: usize,
        place: &RedisPlace,
        probe: String,
        metrics: Option<&Metrics>,
    ) -> Result<Self, RedisError> {
        let RedisPlace { url, way, ca } = place;
        let ca = ca.as_deref();
        let door = Door::new(url, ca)?;
        let terms = Terms { identity, probe, metrics: metrics.cloned() };
        let db = door.db();
        let servers = match way {
            Way::Direct => {
                let server = Server::Fixed(door.client()?);
                Servers::One(Arc::new(Node::new(terms, server, door.address(), db)))
            }
            Way::Sentinels { sentinels, master } => {
                let server = Server::Master(Sentinels::new(sentinels, master, door, ca)?);
                Servers::One(Arc::new(Node::new(terms, server, master.clone(), db)))
            }
            Way::Cluster(seeds) => Servers::Many(Arc::new(Cluster::new(door, seeds, terms))),
        };
        Ok(Self { shared: Arc::new(Shared { servers, in_flight: Semaphore::new(IN_FLIGHT) }) })
    }

    /// Connects once, or learns that it cannot; nobody sees to it afterwards.
    ///
    /// # Errors
    /// It cannot.
    pub async fn connect(&self) -> Result<(), AskError> {
        let outcome = match &self.shared.servers {
            Servers::One(node) => node.dial().await.map(drop),
            Servers::Many(cluster) => cluster.connect().await,
        };
        outcome.map_err(|error| AskError::Away(format!("{error}; {}", node::advice(&error))))
    }

    /// Connects, and sees to it from then on; returns once that has succeeded, or failed, for the first
    /// time. `ear` hears of changes of keys like `template`, whose `{id}` stands for anything.
    pub async fn start(&self, template: &str, ear: Arc<dyn Ear>) {
        match &self.shared.servers {
            Servers::One(node) => {
                actix::spawn(node.clone().supervise(template.to_owned(), ear));
                node.settled().await;
            }
            Servers::Many(cluster) => cluster.start(template, ear).await,
        }
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The store is away or does not answer in time, or there is no string.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, AskError> {
        let asked = timeout(PATIENCE, async {
            // The semaphore is never closed.
            let _turn = self.shared.in_flight.acquire().await;
            match &self.shared.servers {
                Servers::One(node) => {
                    let asked = node::get(&mut node.connection()?, key, Ask::Plainly).await;
                    asked.map_err(|error| node.failed(&error))
                }
                Servers::Many(cluster) => cluster.get(key).await,
            }
        });
        asked.await.unwrap_or_else(|_| Err(AskError::Away("no answer in time".to_owned())))
    }

    /// A session has ended since `since`, and the store has not told.
    pub fn not_told(&self, since: Instant) {
        // In a Cluster, it is not known any more who should have.
        if let Servers::One(node) = &self.shared.servers {
            node.events.not_told(since);
        }
    }

    /// Whether it could be asked, or a part of it.
    pub fn is_up(&self) -> bool {
        match &self.shared.servers {
            Servers::One(node) => node.is_up(),
            Servers::Many(cluster) => cluster.nodes().iter().any(|node| node.is_up()),
        }
    }

    /// Its state; in a Cluster, that of each server.
    pub fn observe(&self, now: Instant) -> Vec<Observed> {
        match &self.shared.servers {
            Servers::One(node) => vec![node.observe(now)],
            Servers::Many(cluster) => cluster.observe(now),
        }
    }
}

impl Observed {
    fn away(identity: usize, address: String, error: String) -> Self {
        Self {
            identity,
            address,
            state: "away",
            round_trip_ms: None,
            away_seconds: None,
            error: Some(error),
            events: "off",
            events_heard: 0,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "when the store was asked, or lost")]
fn now() -> Instant {
    Instant::now()
}
