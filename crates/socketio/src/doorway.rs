//! The way in, below HTTP: TCP connections that have asked for nothing yet, and those that have
//! begun to and do not go on.
//!
//! They have no session, and no limit on sessions meets them, but each holds an open file. It counts
//! them by address, and when one has too many its oldest is closed: an honest request comes within a
//! moment, so whoever shares the address with somebody who is silent on purpose still gets in.
//!
//! actix times a connection's first request only. So the time without any request is watched here.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_http::Request;
use actix_rt::net::TcpStream;
use actix_rt::time::timeout;
use actix_service::{Service as _, ServiceFactory, apply_fn_factory};
use log::debug;
use tokio::sync::Notify;

use crate::limiter::Address;
use crate::server::{Server, Worker, now};
use crate::{Application, Limit};

impl<A: Application> Worker<A> {
    /// Watches over the connections of an HTTP service for TCP streams. What it serves must go through
    /// [`attend`], so that it is seen.
    pub fn doorway<F>(
        &self,
        http: F,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = F::Error,
        InitError = F::InitError,
    > + use<A, F>
    where
        F: ServiceFactory<TcpStream, Config = (), Response = ()>,
    {
        let worker = self.clone();
        apply_fn_factory(http, move |stream: TcpStream, http: &F::Service| {
            let visitor = Rc::new(worker.meet(&stream));
            let work = http.call(stream);
            let quiet = worker.config().quiet_timeout;
            async move {
                let mut work = pin!(VISITOR.scope(visitor.clone(), work));
                let mut end = pin!(visitor.overstays(quiet));
                poll_fn(|cx| match work.as_mut().poll(cx) {
                    Poll::Pending => end.as_mut().poll(cx).map(Ok),
                    done => done,
                })
                .await
            }
        })
    }

    fn meet(&self, stream: &TcpStream) -> Visitor {
        let cut = Arc::new(Notify::new());
        let ip = stream.peer_addr().ok().map(|peer| peer.ip().to_canonical());
        // All that a proxy brings comes from one address.
        let stranger =
            ip.filter(|ip| !self.config().trusted_proxies.iter().any(|net| net.contains(ip)));
        let server = &self.inner.server;
        let waiting = stranger.and_then(|ip| {
            let address = Address::from(ip);
            let (number, surplus) = server.unfinished().lock().begin(address, cut.clone())?;
            if let Some(oldest) = surplus {
                oldest.notify_one();
                server.count_limited(Limit::UnfinishedPerAddress);
                self.inner.application.cut(ip, Limit::UnfinishedPerAddress);
            }
            Some(Waiting { server: server.clone(), address, number })
        });
        Visitor {
            waiting: RefCell::new(waiting),
            serving: Cell::new(0),
            since: Cell::new(now()),
            cut,
        }
    }
}

/// Wraps what answers HTTP requests, so that the doorway sees them.
#[expect(clippy::type_complexity, reason = "bounds of an opaque type, which no alias can name")]
pub fn attend<F>(
    http: F,
) -> impl ServiceFactory<
    Request,
    Config = F::Config,
    Response = F::Response,
    Error = F::Error,
    InitError = F::InitError,
    Service = impl actix_service::Service<
        Request,
        Response = F::Response,
        Error = F::Error,
        Future = impl Future<Output = Result<F::Response, F::Error>> + use<F>,
    > + use<F>,
> + use<F>
where
    F: ServiceFactory<Request>,
{
    apply_fn_factory(http, |request: Request, http: &F::Service| {
        let attended = Attended::new();
        let answer = http.call(request);
        async move {
            let answer = answer.await;
            drop(attended);
            answer
        }
    })
}

tokio::task_local! {
    /// The connection whose requests are being handled.
    static VISITOR: Rc<Visitor>;
}

/// A TCP connection, as long as it speaks HTTP.
struct Visitor {
    /// Until its first request has come.
    waiting: RefCell<Option<Waiting>>,
    /// Requests that are being answered.
    serving: Cell<usize>,
    /// When there was none, last.
    since: Cell<Instant>,
    /// Told by another connection, maybe on another worker.
    cut: Arc<Notify>,
}

impl Visitor {
    /// Ends when the connection should.
    async fn overstays(&self, quiet: Duration) {
        loop {
            let silent = now().saturating_duration_since(self.since.get());
            let left = match self.serving.get() {
                0 => quiet.saturating_sub(silent),
                _ => quiet,
            };
            if left.is_zero() {
                return debug!("connection closed: no request within {quiet:?}");
            }
            if timeout(left, self.cut.notified()).await.is_ok() && self.waiting.borrow().is_some() {
                return;
            }
        }
    }
}

/// A request that is being answered.
pub(crate) struct Attended {
    visitor: Option<Rc<Visitor>>,
}

impl Attended {
    /// To be called where the request is handed over; elsewhere it changes nothing.
    pub(crate) fn new() -> Self {
        let visitor = VISITOR.try_with(Rc::clone).ok();
        if let Some(visitor) = &visitor {
            visitor.waiting.take();
            visitor.serving.set(visitor.serving.get() + 1);
        }
        Self { visitor }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        if let Some(visitor) = &self.visitor {
            visitor.serving.set(visitor.serving.get().saturating_sub(1));
            visitor.since.set(now());
        }
    }
}

/// A connection's place in the queue of its address, until it is dropped.
struct Waiting {
    server: Server,
    address: Address,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.server.unfinished().lock().finish(self.address, self.number);
    }
}

/// Connections without a request, by address, the oldest first. One entry each, so bounded by the open
/// connections.
#[derive(Debug)]
pub(crate) struct Unfinished<T> {
    most: usize,
    waiting: HashMap<Address, VecDeque<(u64, T)>>,
    next: u64,
}

impl<T> Unfinished<T> {
    /// So many at most for each address; 0: none is counted.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, waiting: HashMap::new(), next: 0 }
    }

    /// One more; returns its number, and what has to go for it.
    fn begin(&mut self, address: Address, one: T) -> Option<(u64, Option<T>)> {
        if self.most == 0 {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let queue = self.waiting.entry(address).or_default();
        let surplus = if queue.len() >= self.most { queue.pop_front() } else { None };
        queue.push_back((number, one));
        Some((number, surplus.map(|(_, oldest)| oldest)))
    }

    /// Its request has come, or it is gone.
    fn finish(&mut self, address: Address, number: u64) {
        let Some(queue) = self.waiting.get_mut(&address) else { return };
        if let Ok(at) = queue.binary_search_by_key(&number, |(number, _)| *number) {
            drop(queue.remove(at));
        }
        if queue.is_empty() {
            self.waiting.remove(&address);
        }
        if self.waiting.is_empty() {
            self.waiting = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_an_address_goes_for_the_newest() {
        let (ana, luis) = (Address::V4(1), Address::V4(2));
        let mut unfinished = Unfinished::new(2);
        assert_eq!(unfinished.begin(ana, 'a'), Some((0, None)));
        assert_eq!(unfinished.begin(ana, 'b'), Some((1, None)));
        assert_eq!(unfinished.begin(luis, 'c'), Some((2, None)));
        assert_eq!(unfinished.begin(ana, 'd'), Some((3, Some('a'))));
        unfinished.finish(ana, 0);
        unfinished.finish(ana, 3);
        assert_eq!(unfinished.begin(ana, 'e'), Some((4, None)));
        for (address, number) in [(ana, 1), (ana, 4), (luis, 2)] {
            unfinished.finish(address, number);
        }
        assert!(unfinished.waiting.is_empty());
        assert_eq!(Unfinished::new(0).begin(ana, 'a'), None);
    }
}
