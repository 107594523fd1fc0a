//! The server: its settings, the table of session ids, and counters; all that workers share.
//!
//! Shared state in an actor system needs a reason. The table: a client's next polling request may
//! come to any worker, and must find the one session. The counters: one number for all workers.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use actix::Recipient;
use parking_lot::Mutex;
use protocol::{Close, Limits, Sid};

use crate::session::Visit;
use crate::{Application, Config, Handle};

/// Cloning shares it.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    limits: Arc<Limits>,
    /// Sessions that began with polling; one entry each, so bounded by the live sessions.
    sids: Mutex<HashMap<Sid, Recipient<Visit>>>,
    /// Sessions that have not joined a namespace yet: nobody else knows them.
    strangers: Mutex<HashMap<Sid, Handle>>,
    polling: AtomicUsize,
    websocket: AtomicUsize,
    opened: AtomicU64,
    ended: [AtomicU64; Close::ALL.len()],
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Live connections that poll.
    pub polling: usize,
    /// Live connections on a WebSocket.
    pub websocket: usize,
    /// Connections ever opened.
    pub opened: u64,
    /// Connections ended, by reason; every reason is there.
    pub ended: Vec<(Close, u64)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("live", &self.live()).finish_non_exhaustive()
    }
}

impl Server {
    /// A server with these settings, without any connection.
    pub fn new(config: Config) -> Self {
        let shared = Shared {
            limits: Arc::new(config.limits.clone()),
            config,
            sids: Mutex::default(),
            strangers: Mutex::default(),
            polling: AtomicUsize::new(0),
            websocket: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            ended: Default::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// This server on one HTTP worker; to be called on that worker's thread.
    pub fn worker<A: Application>(&self, application: A) -> Worker<A> {
        Worker { inner: Rc::new(Inner { server: self.clone(), application }) }
    }

    /// How many connections live.
    pub fn live(&self) -> usize {
        self.shared.polling.load(Ordering::Relaxed) + self.shared.websocket.load(Ordering::Relaxed)
    }

    /// Ends the sessions that no application knows, as they have not joined.
    pub fn end_strangers(&self, reason: Close) {
        let strangers: Vec<Handle> = self.shared.strangers.lock().values().cloned().collect();
        strangers.iter().for_each(|session| session.close(reason));
    }

    /// The counters.
    pub fn snapshot(&self) -> Snapshot {
        let ended = Close::ALL.iter().zip(&self.shared.ended);
        Snapshot {
            polling: self.shared.polling.load(Ordering::Relaxed),
            websocket: self.shared.websocket.load(Ordering::Relaxed),
            opened: self.shared.opened.load(Ordering::Relaxed),
            ended: ended.map(|(reason, n)| (*reason, n.load(Ordering::Relaxed))).collect(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.shared.limits
    }

    pub(crate) fn register(&self, sid: Sid, session: Recipient<Visit>) {
        self.shared.sids.lock().insert(sid, session);
    }

    pub(crate) fn find(&self, sid: &Sid) -> Option<Recipient<Visit>> {
        self.shared.sids.lock().get(sid).cloned()
    }

    pub(crate) fn forget(&self, sid: &Sid) {
        self.shared.sids.lock().remove(sid);
    }

    /// Whether one more connection may be let in before it has said who it is.
    pub(crate) fn has_room_for_strangers(&self) -> bool {
        self.shared.strangers.lock().len() < MAX_STRANGERS
    }

    pub(crate) fn greet(&self, sid: Sid, session: Handle) {
        self.shared.strangers.lock().insert(sid, session);
    }

    /// It has joined, or it is gone.
    pub(crate) fn know(&self, sid: &Sid) {
        self.shared.strangers.lock().remove(sid);
    }

    pub(crate) fn count_end(&self, reason: Close) {
        let counters = Close::ALL.iter().zip(&self.shared.ended);
        for (_, counter) in counters.filter(|(one, _)| **one == reason) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Connections that have not joined yet. A client joins within milliseconds of its handshake; whoever
/// opens connections and leaves it at that gets no further than this.
const MAX_STRANGERS: usize = 4096;

/// A live connection in the counters, until it is dropped.
pub(crate) struct Live {
    server: Server,
    websocket: bool,
}

impl Live {
    pub(crate) fn new(server: &Server, websocket: bool) -> Self {
        server.shared.opened.fetch_add(1, Ordering::Relaxed);
        let live = Self { server: server.clone(), websocket };
        live.gauge().fetch_add(1, Ordering::Relaxed);
        live
    }

    pub(crate) fn upgraded(&mut self) {
        self.gauge().fetch_sub(1, Ordering::Relaxed);
        self.websocket = true;
        self.gauge().fetch_add(1, Ordering::Relaxed);
    }

    fn gauge(&self) -> &AtomicUsize {
        if self.websocket { &self.server.shared.websocket } else { &self.server.shared.polling }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.gauge().fetch_sub(1, Ordering::Relaxed);
    }
}

/// A server on one HTTP worker, with that worker's value of the application.
pub struct Worker<A> {
    pub(crate) inner: Rc<Inner<A>>,
}

pub(crate) struct Inner<A> {
    pub(crate) server: Server,
    pub(crate) application: A,
}

impl<A> Clone for Worker<A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<A> Worker<A> {
    pub(crate) fn config(&self) -> &Config {
        self.inner.server.config()
    }
}

/// A fresh id from the operating system's random numbers.
pub(crate) fn random_sid() -> std::io::Result<Sid> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes)?;
    Ok(Sid::new(bytes))
}
