//! The server: its settings, the table of session ids, and counters; all that workers share.
//!
//! Shared state in an actor system needs a reason. The table: a client's next polling request may
//! come to any worker, and must find the one session. The counters: one number for all workers.

use std::collections::HashMap;
use std::fmt;
use std::hash::RandomState;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use actix::Recipient;
use actix_web::{HttpRequest, HttpResponseBuilder};
use parking_lot::Mutex;
use protocol::engine::{Refusal, Revision};
use protocol::{Close, Limits, Sid};
use tokio::sync::{Notify, oneshot};

use crate::bond::Bond;
use crate::doorway::Unfinished;
use crate::limiter::{Address, Limiter, Met, Terms};
use crate::origin::Cors;
use crate::polling::allow_origin;
use crate::session::{Reply, Visit};
use crate::{Application, Config, Denial, Handle, Handshake, Limit};

/// Cloning shares it.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    limits: Arc<Limits>,
    /// Sessions that began with polling; one entry each, so bounded by the live sessions.
    sids: Mutex<HashMap<Sid, Polled>>,
    /// Sessions that have not joined a namespace yet: nobody else knows them.
    strangers: Mutex<HashMap<Sid, Handle>>,
    /// An address's connections are on all workers.
    limiter: Mutex<Limiter>,
    limited: [AtomicU64; Limit::ALL.len()],
    unfinished: Mutex<Unfinished<Arc<Notify>>>,
    /// Of the hashes by which bonds remember.
    key: RandomState,
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
    /// Handshakes and TCP connections that a limit has turned away; every limit is there.
    pub limited: Vec<(Limit, u64)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("live", &self.live()).finish_non_exhaustive()
    }
}

impl Server {
    /// A server with these settings, without any connection.
    pub fn new(config: Config) -> Self {
        let terms = Terms {
            connections: config.max_connections,
            connections_per_address: config.connections_per_address,
            handshakes_per_address: config.handshakes_per_address,
        };
        let unfinished = config.unfinished_per_address;
        let shared = Shared {
            limits: Arc::new(config.limits.clone()),
            config,
            sids: Mutex::default(),
            strangers: Mutex::default(),
            limiter: Mutex::new(Limiter::new(terms)),
            limited: Default::default(),
            unfinished: Mutex::new(Unfinished::new(unfinished)),
            key: RandomState::new(),
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

    /// Adds the headers by which a page of an allowed origin may use the answer, for what is served
    /// beside Socket.IO. Another origin's page gets none.
    pub fn allow_origin(&self, request: &HttpRequest, response: &mut HttpResponseBuilder) {
        let cors = Handshake::new(request.head(), self.config(), false).cors(self.config());
        allow_origin(response, &cors.unwrap_or(Cors::None));
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
        let limited = Limit::ALL.iter().zip(&self.shared.limited);
        Snapshot {
            polling: self.shared.polling.load(Ordering::Relaxed),
            websocket: self.shared.websocket.load(Ordering::Relaxed),
            opened: self.shared.opened.load(Ordering::Relaxed),
            ended: ended.map(|(reason, n)| (*reason, n.load(Ordering::Relaxed))).collect(),
            limited: limited.map(|(limit, n)| (*limit, n.load(Ordering::Relaxed))).collect(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.shared.limits
    }

    pub(crate) fn key(&self) -> &RandomState {
        &self.shared.key
    }

    pub(crate) fn register(&self, sid: Sid, session: Polled) {
        self.shared.sids.lock().insert(sid, session);
    }

    pub(crate) fn find(&self, sid: &Sid) -> Option<Polled> {
        self.shared.sids.lock().get(sid).cloned()
    }

    pub(crate) fn forget(&self, sid: &Sid) {
        remove(&mut self.shared.sids.lock(), sid);
    }

    /// A place for a connection from this address; nobody knows yet who it is.
    ///
    /// # Errors
    /// A limit is met; it is counted.
    pub(crate) fn admit(&self, remote: Option<IpAddr>) -> Result<Place, Denial> {
        // Without an address all are one.
        let address = Address::from(remote.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        let admitted = self.shared.limiter.lock().admit(address, now());
        let place = admitted.map(|()| Place { server: self.clone(), address });
        let place = place.map_err(|Met { limit, retry_after }| {
            (limit, retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0))
        });
        let unjoined = self.shared.strangers.lock().len();
        let place = match place {
            Ok(_) if unjoined >= self.config().max_unjoined => Err((Limit::Unjoined, 1)),
            place => place,
        };
        place.map_err(|(limit, retry_after)| {
            self.count_limited(limit);
            Denial::Limited { limit, retry_after }
        })
    }

    pub(crate) fn unfinished(&self) -> &Mutex<Unfinished<Arc<Notify>>> {
        &self.shared.unfinished
    }

    pub(crate) fn count_limited(&self, limit: Limit) {
        let counters = Limit::ALL.iter().zip(&self.shared.limited);
        for (_, counter) in counters.filter(|(one, _)| **one == limit) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn greet(&self, sid: Sid, session: Handle) {
        self.shared.strangers.lock().insert(sid, session);
    }

    /// It has joined, or it is gone.
    pub(crate) fn know(&self, sid: &Sid) {
        remove(&mut self.shared.strangers.lock(), sid);
    }

    pub(crate) fn count_end(&self, reason: Close) {
        let counters = Close::ALL.iter().zip(&self.shared.ended);
        for (_, counter) in counters.filter(|(one, _)| **one == reason) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Removes an entry; after a flood, the table gives its memory back, too.
fn remove<T>(table: &mut HashMap<Sid, T>, sid: &Sid) {
    table.remove(sid);
    if table.capacity() > 1024 && table.capacity() / 8 > table.len() {
        table.shrink_to(2 * table.len());
    }
}

/// What a connection takes of the limits, until it is dropped.
pub(crate) struct Place {
    server: Server,
    address: Address,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.shared.limiter.lock().release(self.address, now());
    }
}

/// A session that polls, as its HTTP requests find it.
#[derive(Clone)]
pub(crate) struct Polled {
    session: Recipient<Visit>,
    revision: Revision,
    visits: Arc<Visits>,
}

/// What requests on any worker must know of each other.
struct Visits {
    /// A POST is under way before the session hears of it.
    posting: AtomicBool,
    bond: Bond,
}

impl Polled {
    pub(crate) fn new(session: Recipient<Visit>, revision: Revision, bond: Bond) -> Self {
        let visits = Arc::new(Visits { posting: AtomicBool::new(false), bond });
        Self { session, revision, visits }
    }

    /// Whose it is.
    pub(crate) fn bond(&self) -> &Bond {
        &self.visits.bond
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Brings a request to the session, and its answer back.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) async fn visit(
        &self,
        request: impl FnOnce(oneshot::Sender<Reply>) -> Visit,
    ) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.session.send(request(reply)).await.map_err(|_| Refusal::SessionUnknown)?;
        answer.await.map_err(|_| Refusal::SessionUnknown)
    }

    /// Gives the session a WebSocket.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) async fn attach(&self, websocket: Visit) -> io::Result<()> {
        self.session.send(websocket).await.map_err(|_| io::ErrorKind::NotConnected.into())
    }

    /// Begins a POST; `None` if another one is under way.
    pub(crate) fn post(&self) -> Option<Posting> {
        let free = !self.visits.posting.swap(true, Ordering::AcqRel);
        free.then(|| Posting { visits: self.visits.clone() })
    }
}

/// A POST that is under way, until this is dropped.
pub(crate) struct Posting {
    visits: Arc<Visits>,
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.visits.posting.store(false, Ordering::Release);
    }
}

/// A live connection in the counters, until it is dropped.
pub(crate) struct Live {
    server: Server,
    websocket: bool,
    place: Option<Place>,
}

impl Live {
    pub(crate) fn new(server: &Server, websocket: bool, place: Option<Place>) -> Self {
        server.shared.opened.fetch_add(1, Ordering::Relaxed);
        let live = Self { server: server.clone(), websocket, place };
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
        // First: whoever sees that it is gone may count on its place.
        drop(self.place.take());
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

#[expect(clippy::disallowed_methods, reason = "what strangers do is told the time here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A fresh id from the operating system's random numbers.
pub(crate) fn random_sid() -> std::io::Result<Sid> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes)?;
    Ok(Sid::new(bytes))
}
