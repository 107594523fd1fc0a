//! A notifier's ZeroMQ socket on the reactor: non-blocking, and never waiting for a wake-up that the
//! library has already given.
//!
//! libzmq's descriptor signals a change once. Whoever has called the socket may have consumed that
//! signal, so every turn first reads until the socket is empty, and only then waits.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::codec::CONTROL;
use super::monitor::{Monitor, PeerEvent};
use super::subscriptions::Change;
use crate::config::{NotifierConfig, Subscribe, Transport};

/// Frames that are kept of a message; more than any form has, so that too many are noticed.
const MAX_FRAMES: usize = 6;

/// Milliseconds between libzmq's attempts to connect: the first, and the longest after doubling.
const RECONNECT: (i32, i32) = (100, 5_000);

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The endpoint cannot be bound or connected.
    #[error("{action} {endpoint}: {reason}")]
    Endpoint {
        /// `bind` or `connect`.
        action: &'static str,
        /// As configured.
        endpoint: String,
        /// What libzmq says.
        reason: zmq::Error,
    },
    /// Anything else.
    #[error("zeromq: {0}")]
    Library(#[from] zmq::Error),
    /// The reactor does not take its descriptor.
    #[error("reactor: {0}")]
    Reactor(#[from] io::Error),
}

/// A message's first frames. More than the third are there only to be refused.
pub(super) type Frames = smallvec::SmallVec<[zmq::Message; 3]>;

/// An open socket that is not on a reactor yet, and so may still move to another thread.
pub(super) struct Source {
    socket: zmq::Socket,
    monitor: Monitor,
}

impl Source {
    /// # Errors
    /// An endpoint that is taken or unreadable, for the most part.
    pub(super) fn open(
        context: &zmq::Context,
        config: &NotifierConfig,
    ) -> Result<Self, SocketError> {
        let kind = match config.transport {
            Transport::Sub => zmq::SUB,
            Transport::Pull => zmq::PULL,
        };
        let socket = context.socket(kind)?;
        socket.set_linger(0)?;
        // Together they bound what may wait in the socket, per peer.
        socket.set_rcvhwm(high_water_mark(config.max_message))?;
        // Above `max_message` libzmq would drop the peer without a word; the codec refuses by name.
        socket.set_maxmsgsize(i64::try_from(config.max_message * 4).unwrap_or(i64::MAX))?;
        socket.set_reconnect_ivl(RECONNECT.0)?;
        socket.set_reconnect_ivl_max(RECONNECT.1)?;
        socket.set_handshake_ivl(5_000)?;
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(30)?;
        if config.transport == Transport::Sub {
            // By default a subscription beyond the thousandth is dropped without a word.
            socket.set_sndhwm(0)?;
            subscribe_common(&socket, config)?;
        }
        let monitor = Monitor::open(context, &socket)?;
        for (action, endpoint) in config.actions() {
            let done = match action {
                "bind" => socket.bind(endpoint),
                _ => socket.connect(endpoint),
            };
            done.map_err(|reason| SocketError::Endpoint {
                action,
                endpoint: endpoint.to_owned(),
                reason,
            })?;
        }
        Ok(Self { socket, monitor })
    }

    /// Where it is really bound or connected to.
    pub(super) fn endpoint(&self) -> Option<String> {
        self.socket.get_last_endpoint().ok()?.ok().filter(|endpoint| !endpoint.is_empty())
    }
}

/// A socket on this thread's reactor. The descriptors go before the sockets that own them.
pub(super) struct Socket {
    readiness: AsyncFd<Descriptor>,
    monitor_readiness: AsyncFd<Descriptor>,
    source: Source,
}

impl Socket {
    pub(super) fn register(source: Source) -> Result<Self, SocketError> {
        let readiness = watch(source.socket.get_fd()?)?;
        let monitor_readiness = watch(source.monitor.descriptor()?)?;
        Ok(Self { readiness, monitor_readiness, source })
    }

    /// The next message.
    pub(super) fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<Frames, SocketError>> {
        loop {
            if let Some(frames) = self.receive()? {
                return Poll::Ready(Ok(frames));
            }
            ready!(self.readiness.poll_read_ready(cx))?.clear_ready();
        }
    }

    /// The next change at the other end.
    pub(super) fn poll_peer(&self, cx: &mut Context<'_>) -> Poll<Result<PeerEvent, SocketError>> {
        loop {
            if let Some(event) = self.source.monitor.receive()? {
                return Poll::Ready(Ok(event));
            }
            ready!(self.monitor_readiness.poll_read_ready(cx))?.clear_ready();
        }
    }

    pub(super) fn change(&self, change: &Change) -> Result<(), SocketError> {
        match change {
            Change::Subscribe(address) => {
                self.source.socket.set_subscribe(address.to_string().as_bytes())?;
            }
            Change::Unsubscribe(address) => {
                self.source.socket.set_unsubscribe(address.to_string().as_bytes())?;
            }
        }
        Ok(())
    }

    pub(super) fn endpoint(&self) -> Option<String> {
        self.source.endpoint()
    }

    fn receive(&self) -> Result<Option<Frames>, SocketError> {
        let socket = &self.source.socket;
        let mut frames = Frames::new();
        loop {
            let mut frame = zmq::Message::new();
            match socket.recv(&mut frame, zmq::DONTWAIT) {
                Ok(()) => {}
                Err(zmq::Error::EAGAIN) => return Ok(None),
                Err(zmq::Error::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let more = frame.get_more();
            // A message arrives whole; what lies beyond the bound is read and dropped.
            if frames.len() < MAX_FRAMES {
                frames.push(frame);
            }
            if !more {
                return Ok(Some(frames));
            }
        }
    }
}

struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

#[expect(unsafe_code, reason = "libzmq owns the descriptor; see the argument inside")]
fn watch(descriptor: RawFd) -> io::Result<AsyncFd<Descriptor>> {
    // SAFETY: the descriptor stays open and the same until its zmq socket closes, and `Socket` drops
    // its `AsyncFd`s before the sockets: fields drop in the order of their declaration.
    let watched =
        unsafe { AsyncFd::register_with_interest(Descriptor(descriptor), Interest::READABLE) };
    watched.map_err(Into::into)
}

fn subscribe_common(socket: &zmq::Socket, config: &NotifierConfig) -> Result<(), zmq::Error> {
    match config.subscribe {
        Subscribe::All => socket.set_subscribe(b""),
        Subscribe::Each => {
            socket.set_subscribe(b"all/")?;
            if config.may_control() {
                socket.set_subscribe(CONTROL.as_bytes())?;
            }
            socket.set_subscribe(b"_hb/")
        }
    }
}

/// Messages that may wait for us from each peer: those within `max_message` take at most 64 MiB.
fn high_water_mark(max_message: usize) -> i32 {
    let messages = (64 << 20) / max_message.max(1);
    i32::try_from(messages.clamp(100, 10_000)).unwrap_or(100)
}
