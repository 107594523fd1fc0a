//! A Redis Cluster, only ever read: which server has a key, and a [`Node`] for each. What the servers say
//! of it (MOVED, ASK) is followed, and the map of the slots asked for again, then and every second.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use log::info;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::node::{self, Ask, Node, Server};
use super::place::Door;
use super::sentinel::Address;
use super::{AskError, Ear, Observed, PATIENCE, Terms, now};
use crate::config::host_and_port;

/// Between two looks at the map.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a question is sent on.
const REDIRECTS: usize = 4;

/// How long a server is kept that is in nobody's map, but that another has named.
const GUEST: Duration = Duration::from_secs(60);

/// Servers known at once. More are no Cluster, and nobody's map may take all open files.
const SERVERS: usize = 1_000;

pub(super) struct Cluster {
    door: Door,
    seeds: Vec<Address>,
    terms: Terms,
    map: Mutex<Map>,
    /// The map is not right any more.
    stale: Notify,
    /// The keys to hear of, and who hears; once it is kept up.
    kept: OnceLock<(String, Arc<dyn Ear>)>,
}

#[derive(Default)]
struct Map {
    servers: BTreeMap<Address, Entry>,
    /// The last slot of a range, and who has the range.
    slots: BTreeMap<u16, (u16, Address)>,
    /// Who is asked for the map next.
    turn: usize,
    error: String,
}

struct Entry {
    node: Arc<Node>,
    task: Option<JoinHandle<()>>,
    /// It is in no map; until when it is kept all the same.
    guest: Option<Instant>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        self.node.retire();
    }
}

impl Cluster {
    pub(super) fn new(door: Door, seeds: &[String], terms: Terms) -> Self {
        let seeds = seeds.iter().filter_map(|seed| host_and_port(seed)).collect();
        let map = Map { error: "not connected yet".to_owned(), ..Map::default() };
        let (stale, kept) = (Notify::new(), OnceLock::new());
        Self { door, seeds, terms, map: Mutex::new(map), stale, kept }
    }

    /// Learns the map once, and connects to all that it names.
    pub(super) async fn connect(&self) -> Result<(), RedisError> {
        self.look().await?;
        let outcomes = join_all(self.nodes().into_iter().map(async |node| node.dial().await)).await;
        let mut error = None;
        for outcome in outcomes {
            match outcome {
                Ok(_) => return Ok(()),
                Err(why) => error = Some(why),
            }
        }
        Err(error.unwrap_or_else(|| (ErrorKind::Io, "the Cluster has no slots").into()))
    }

    /// Keeps it up from now on; returns once that has succeeded, or failed, for the first time.
    pub(super) async fn start(self: &Arc<Self>, template: &str, ear: Arc<dyn Ear>) {
        let _ = self.kept.set((template.to_owned(), ear));
        if let Err(error) = self.look().await {
            self.map.lock().error = error.to_string();
            node::warn_away(&self.label(), self.terms.identity, &error);
        }
        join_all(self.nodes().iter().map(|node| node.settled())).await;
        actix::spawn(self.clone().keep());
    }

    /// Reads a key, wherever it is.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, AskError> {
        let mut node = self.node_of(slot(key.as_bytes()))?;
        let mut ask = Ask::Plainly;
        for _ in 0..REDIRECTS {
            let error = match node::get(&mut node.connection()?, key, ask).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            ask = match error.kind() {
                ErrorKind::Server(ServerErrorKind::Moved) => {
                    self.stale.notify_one();
                    Ask::Plainly
                }
                ErrorKind::Server(ServerErrorKind::Ask) => Ask::Asking,
                _ => {
                    // Whose it is now may have changed.
                    self.stale.notify_one();
                    return Err(node.failed(&error));
                }
            };
            let address = error.redirect_node().and_then(|(address, _)| host_and_port(address));
            node = self.at(address, &error)?;
        }
        Err(AskError::Away("the Cluster sends a question round and round".to_owned()))
    }

    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.map.lock().servers.values().map(|entry| entry.node.clone()).collect()
    }

    /// A row for each server.
    pub(super) fn observe(&self, now: Instant) -> Vec<Observed> {
        let nodes = self.nodes();
        if nodes.is_empty() {
            let error = self.map.lock().error.clone();
            return vec![Observed::away(self.terms.identity, self.label(), error)];
        }
        nodes.iter().map(|node| node.observe(now)).collect()
    }

    async fn keep(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stale.notified() => sleep(LOOK_EVERY / 10).await,
                () = sleep(LOOK_EVERY) => {}
            }
            let error = self.look().await.err();
            let mut map = self.map.lock();
            map.error = error.map(|error| error.to_string()).unwrap_or_default();
            map.servers.retain(|_, entry| entry.guest.is_none_or(|until| now() < until));
        }
    }

    /// Asks one server after the other for the map, and takes the first; each time another is the first,
    /// so that none is believed for ever.
    async fn look(&self) -> Result<(), RedisError> {
        let connections = {
            let mut map = self.map.lock();
            let up = |(address, entry): (&Address, &Entry)| {
                Some((address.0.clone(), entry.node.connection().ok()?))
            };
            let mut up: Vec<_> = map.servers.iter().filter_map(up).collect();
            map.turn = map.turn.wrapping_add(1);
            let turn = map.turn.checked_rem(up.len()).unwrap_or(0);
            up.rotate_left(turn);
            up
        };
        let mut failed = (ErrorKind::Io, "no server of the Cluster answers").into();
        for (host, mut connection) in connections {
            match slots(&mut connection, &host).await {
                Ok(slots) => return self.learn(slots),
                Err(error) => failed = error,
            }
        }
        for seed in &self.seeds {
            match self.ask_seed(seed).await {
                Ok(slots) => return self.learn(slots),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn ask_seed(&self, seed: &Address) -> Result<Slots, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = self.door.client_at(seed)?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = timeout(PATIENCE, connecting).await.map_err(|_| no_answer())??;
        slots(&mut connection, &seed.0).await
    }

    fn learn(&self, slots: Slots) -> Result<(), RedisError> {
        let mut map = self.map.lock();
        let named: HashSet<_> = slots.iter().map(|(_, _, address)| address.clone()).collect();
        for (address, entry) in &mut map.servers {
            if named.contains(address) {
                entry.guest = None;
            } else {
                entry.guest.get_or_insert_with(now);
            }
        }
        for address in named {
            self.ensure(&mut map, address, None)?;
        }
        map.slots =
            slots.into_iter().map(|(first, last, address)| (last, (first, address))).collect();
        Ok(())
    }

    /// The server at that address, known from now on.
    fn ensure(
        &self,
        map: &mut Map,
        address: Address,
        guest: Option<Instant>,
    ) -> Result<(), RedisError> {
        if map.servers.contains_key(&address) {
            return Ok(());
        }
        if map.servers.len() >= SERVERS {
            return Err((ErrorKind::Io, "the Cluster names too many servers").into());
        }
        let client = self.door.client_at(&address)?;
        let label = format!("{}:{}", address.0, address.1);
        let node = Node::new(self.terms.clone(), Server::Member(client), label, 0);
        let node = Arc::new(node);
        let task = self.kept.get().map(|(template, ear)| {
            info!("cluster server store={}:{} next=\"connect\"", address.0, address.1);
            actix::spawn(node.clone().supervise(template.clone(), ear.clone()))
        });
        map.servers.insert(address, Entry { node, task, guest });
        Ok(())
    }

    fn node_of(&self, slot: u16) -> Result<Arc<Node>, AskError> {
        let map = self.map.lock();
        let range = map.slots.range(slot..).next();
        let owner = range.filter(|(_, (first, _))| *first <= slot);
        let entry = owner.and_then(|(_, (_, address))| map.servers.get(address));
        entry.map(|entry| entry.node.clone()).ok_or_else(|| {
            let why =
                if map.error.is_empty() { "no server has the key's slot" } else { &map.error };
            AskError::Away(why.to_owned())
        })
    }

    /// Where a server has sent the question. Who is not known is known next time.
    fn at(&self, address: Option<Address>, error: &RedisError) -> Result<Arc<Node>, AskError> {
        let away = || AskError::Away(error.to_string());
        let address = address.ok_or_else(away)?;
        let mut map = self.map.lock();
        self.ensure(&mut map, address.clone(), Some(now() + GUEST)).map_err(|_| away())?;
        let entry = map.servers.get_mut(&address).ok_or_else(away)?;
        entry.guest = entry.guest.map(|_| now() + GUEST);
        Ok(entry.node.clone())
    }

    fn label(&self) -> String {
        let seeds: Vec<_> =
            self.seeds.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        format!("cluster {}", seeds.join(","))
    }
}

/// First slot, last slot, primary.
type Slots = Vec<(u16, u16, Address)>;

/// Asks for the map. A server that does not know its own name is called `host`.
async fn slots(connection: &mut MultiplexedConnection, host: &str) -> Result<Slots, RedisError> {
    let map: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await?;
    map.into_iter()
        .map(|range| {
            let mut parts = range.into_iter();
            let mut next = || parts.next().unwrap_or(Value::Nil);
            let (first, last) =
                (redis::from_redis_value(next())?, redis::from_redis_value(next())?);
            let Value::Array(primary) = next() else { return Err(unreadable()) };
            let mut primary = primary.into_iter();
            let mut next = || primary.next().unwrap_or(Value::Nil);
            let name: Option<String> = redis::from_redis_value(next())?;
            let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| host.to_owned());
            Ok((first, last, (name, redis::from_redis_value(next())?)))
        })
        .collect::<Result<Slots, _>>()
        .and_then(|slots| if slots.is_empty() { Err(empty()) } else { Ok(slots) })
}

fn empty() -> RedisError {
    (ErrorKind::Parse, "a server knows of no slots; it is in no Cluster").into()
}

fn unreadable() -> RedisError {
    (ErrorKind::Parse, "the Cluster's map cannot be read").into()
}

fn no_answer() -> RedisError {
    (ErrorKind::Io, "no answer in time").into()
}

/// The slot of a key: that of its part in braces, if it has one.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}').filter(|length| *length > 0)?;
        rest.get(..close)
    });
    // CRC-16/XMODEM.
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_the_one_that_redis_says() {
        // CLUSTER KEYSLOT of Redis 7.0.
        let cases = [
            ("123456789", 0x31C3),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("x{foo}{bar}", 12_182),
            ("foo{}bar", 14_292),
            ("beaker_cache:{", 2_801),
            ("sess:user1", 13_081),
            ("", 0),
        ];
        for (key, expected) in cases {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
