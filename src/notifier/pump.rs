//! A notifier's work: open the socket, keep it open, read it, and pass on what it says.
//!
//! One future on the actor, so that it has socket and counters at hand without sharing them.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use actix::Context;
use actix::dev::Request;
use actix::fut::ActorFuture;
use actix_rt::time::{Interval, Sleep, interval, sleep};
use log::{debug, info, warn};

use super::codec::{Decoded, MAX_FAN_OUT, decode, frame_size};
use super::monitor::PeerEvent;
use super::socket::{Socket, SocketError, Source};
use super::{Notifier, now};
use crate::model::Order;
use crate::sequencer::{Batch, Sequencer};

/// Messages read before the sequencer gets them, and others their turn.
const BATCH: usize = 256;

/// libzmq's signals can be consumed unseen; this bounds the harm.
const SAFETY: Duration = Duration::from_millis(250);

/// Between attempts to open a socket: the first, and the longest after doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// The socket and what is known of its other ends.
#[derive(Default)]
pub(super) struct State {
    socket: Link,
    peers: HashSet<u32>,
    lost: u64,
}

#[derive(Default)]
enum Link {
    /// Not opened yet, or on its way.
    #[default]
    Closed,
    /// Opened elsewhere, not on this thread's reactor yet.
    Opened(Source),
    Open(Socket),
    Failed(SocketError),
}

impl State {
    pub(super) fn opened(source: Source) -> Self {
        Self { socket: Link::Opened(source), ..Self::default() }
    }

    pub(super) fn endpoint(&self) -> Option<String> {
        match &self.socket {
            Link::Opened(source) => source.endpoint(),
            Link::Open(socket) => socket.endpoint(),
            Link::Closed | Link::Failed(_) => None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match &self.socket {
            Link::Failed(_) => "failed",
            _ if self.peers.is_empty() => "waiting",
            _ => "connected",
        }
    }

    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn error(&self) -> Option<String> {
        match &self.socket {
            Link::Failed(error) => Some(error.to_string()),
            _ => None,
        }
    }
}

pub(super) struct Pump {
    in_flight: Option<Pin<Box<Request<Sequencer, Batch>>>>,
    safety: Interval,
    reopen: Option<Pin<Box<Sleep>>>,
    backoff: Duration,
    /// The hub goes down: what ZeroMQ still holds stays with its sender as far as it can.
    silent: bool,
}

impl Pump {
    pub(super) fn new() -> Self {
        Self {
            in_flight: None,
            safety: interval(SAFETY),
            reopen: None,
            backoff: BACKOFF.0,
            silent: false,
        }
    }

    fn poll_turn(&mut self, notifier: &mut Notifier, task: &mut Task<'_>) -> Poll<SocketError> {
        while self.safety.poll_tick(task).is_ready() {
            notifier.counters.catch_up(&notifier.name, now());
        }
        loop {
            if self.poll_in_flight(notifier, task).is_pending() {
                return Poll::Pending;
            }
            if let Some(quiet) = notifier.quiet.take() {
                // Nothing is in flight, and nothing will be.
                self.silent = true;
                let _ = quiet.send(());
            }
            if self.silent {
                return Poll::Pending;
            }
            if let Err(error) = self.open(notifier, task) {
                return Poll::Ready(error);
            }
            match notifier.poll_batch(task) {
                Poll::Ready(Ok(batch)) if batch.orders.is_empty() => {
                    // Nothing but refusals: whoever sends garbage does not get the thread for it.
                    task.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(batch)) => {
                    self.in_flight = Some(Box::pin(notifier.sequencer.send(batch)));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_in_flight(&mut self, notifier: &mut Notifier, task: &mut Task<'_>) -> Poll<()> {
        if let Some(request) = &mut self.in_flight {
            match request.as_mut().poll(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(outcomes) => {
                    notifier.counters.count(&outcomes.unwrap_or_default());
                    self.in_flight = None;
                }
            }
        }
        Poll::Ready(())
    }

    /// Brings the socket up, unless a failure is too recent.
    fn open(&mut self, notifier: &mut Notifier, task: &mut Task<'_>) -> Result<(), SocketError> {
        let source = match std::mem::take(&mut notifier.state.socket) {
            Link::Open(socket) => {
                notifier.state.socket = Link::Open(socket);
                return Ok(());
            }
            Link::Failed(error) => {
                let waiting =
                    self.reopen.as_mut().is_some_and(|at| at.as_mut().poll(task).is_pending());
                if waiting {
                    notifier.state.socket = Link::Failed(error);
                    return Ok(());
                }
                Source::open(&notifier.context, &notifier.config)?
            }
            Link::Opened(source) => source,
            Link::Closed => Source::open(&notifier.context, &notifier.config)?,
        };
        let socket = Socket::register(source)?;
        info!(
            "notifier ready notifier={} endpoint={}",
            notifier.name,
            socket.endpoint().unwrap_or_default()
        );
        notifier.state.socket = Link::Open(socket);
        notifier.state.peers.clear();
        if let Some(subscriptions) = &mut notifier.subscriptions {
            subscriptions.restate();
        }
        self.backoff = BACKOFF.0;
        Ok(())
    }

    fn fail(&mut self, notifier: &mut Notifier, error: SocketError) {
        warn!(
            "notifier failed notifier={} error={:?} retry_in={:?}",
            notifier.name,
            error.to_string(),
            self.backoff
        );
        notifier.state.socket = Link::Failed(error);
        self.reopen = Some(Box::pin(sleep(self.backoff)));
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
    }
}

impl ActorFuture<Notifier> for Pump {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        notifier: &mut Notifier,
        _: &mut Context<Notifier>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        while let Poll::Ready(error) = self.poll_turn(notifier, task) {
            self.fail(notifier, error);
        }
        Poll::Pending
    }
}

impl Notifier {
    /// Reads what has arrived. An empty batch means: come again.
    fn poll_batch(&mut self, task: &mut Task<'_>) -> Poll<Result<Batch, SocketError>> {
        let now = now();
        self.apply_changes(now)?;
        self.poll_peers(task)?;
        let Link::Open(socket) = &self.state.socket else { return Poll::Pending };
        let mut batch = Batch { from: self.name.clone(), orders: Vec::new() };
        let mut received = 0;
        let mut bytes_out = 0;
        while received < BATCH && bytes_out < MAX_FAN_OUT {
            let frames = match socket.poll_receive(task) {
                Poll::Ready(Ok(frames)) => frames,
                Poll::Ready(Err(error)) if received == 0 => return Poll::Ready(Err(error)),
                Poll::Pending if received == 0 => return Poll::Pending,
                // An error shows again at the next turn, when what was read is on its way.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            };
            received += 1;
            let bytes: smallvec::SmallVec<[&[u8]; 3]> =
                frames.iter().map(|frame| &**frame).collect();
            match decode(&bytes, &self.config) {
                Ok(Decoded::Notifications(more)) => {
                    bytes_out += more.iter().map(frame_size).sum::<usize>();
                    batch.orders.extend(more.into_iter().map(Order::Notify));
                }
                Ok(Decoded::Disconnect { user, id }) => {
                    batch.orders.push(Order::Disconnect { user, id });
                }
                Ok(Decoded::Heartbeat) => {}
                Err(reason) => self.counters.refuse(&self.name, reason, now),
            }
        }
        self.counters.receive(received, now);
        Poll::Ready(Ok(batch))
    }

    fn apply_changes(&mut self, now: Instant) -> Result<(), SocketError> {
        let Link::Open(socket) = &self.state.socket else { return Ok(()) };
        let Some(subscriptions) = &mut self.subscriptions else { return Ok(()) };
        while let Some(change) = subscriptions.poll_change(now) {
            socket.change(&change)?;
        }
        Ok(())
    }

    fn poll_peers(&mut self, task: &mut Task<'_>) -> Result<(), SocketError> {
        let bound = self.config.bind.is_some();
        loop {
            let Link::Open(socket) = &self.state.socket else { return Ok(()) };
            let event = match socket.poll_peer(task) {
                Poll::Ready(event) => event?,
                Poll::Pending => return Ok(()),
            };
            match event {
                PeerEvent::Connected { fd } => {
                    self.state.peers.insert(fd);
                }
                PeerEvent::Ready { endpoint } if bound => {
                    debug!("peer came notifier={} endpoint={endpoint}", self.name);
                }
                PeerEvent::Ready { endpoint } => {
                    info!("notifier connected notifier={} endpoint={endpoint}", self.name);
                }
                PeerEvent::Lost { fd, endpoint } => {
                    if !self.state.peers.remove(&fd) {
                        // An attempt to connect that failed; libzmq goes on trying.
                    } else if bound {
                        // Who connects to us may come and go as they like.
                        debug!("peer left notifier={} endpoint={endpoint}", self.name);
                    } else {
                        self.state.lost += 1;
                        warn!(
                            "notifier lost notifier={} endpoint={endpoint} next=\"reconnects by itself\"",
                            self.name
                        );
                    }
                }
                PeerEvent::HandshakeFailed { endpoint } => {
                    warn!(
                        "notifier refused notifier={} endpoint={endpoint} advice=\"it is no ZeroMQ peer, or its security differs\"",
                        self.name
                    );
                }
                PeerEvent::Other => {}
            }
        }
    }
}
