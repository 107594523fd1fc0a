//! Thousands of connections on one thread: epoll, one read buffer for all, every delivery checked as it comes.
//!
//! Knows nothing of servers or scenarios; [`scenario`](crate::scenario) says how many connections, and until when.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::check::{Inbox, Tally};
use crate::client::{Connection, Incoming};
use crate::payload::{Clock, Shape};
use crate::publisher::Progress;

/// Handshakes under way at once: below every listen backlog, so that none is dropped and tried again.
const OPENING_AT_ONCE: usize = 100;
/// Without a single new delivery or join for so long, the rest is given up.
const STALLED: Duration = Duration::from_secs(10);
const TURN: Duration = Duration::from_millis(100);
const BUFFER: usize = 256 << 10;

pub(crate) struct Load<'a> {
    poll: Poll,
    events: Events,
    peers: Vec<Peer>,
    buffer: Box<[u8]>,
    shared: Received<'a>,
}

/// What all connections add to.
struct Received<'a> {
    clock: Clock,
    shape: &'a Shape,
    tally: Tally,
    joined: usize,
    closed: usize,
    /// Nanoseconds from sending to reading, if they are being kept.
    latencies: Option<Vec<u64>>,
}

struct Peer {
    stream: TcpStream,
    connection: Connection,
    inbox: Inbox,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Connecting,
    Open,
    Closed,
}

impl<'a> Load<'a> {
    pub(crate) fn new(shape: &'a Shape, clock: Clock) -> Result<Self> {
        let shared = Received {
            clock,
            shape,
            tally: Tally::default(),
            joined: 0,
            closed: 0,
            latencies: None,
        };
        Ok(Self {
            poll: Poll::new().context("epoll")?,
            events: Events::with_capacity(1024),
            peers: Vec::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            shared,
        })
    }

    /// Opens one connection for each user, and returns when all have joined.
    pub(crate) fn open(
        &mut self,
        address: SocketAddr,
        users: &[String],
        alive: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let host = address.to_string();
        let mut waiting = users.iter();
        let mut patience = Patience::new();
        while self.shared.joined < users.len() {
            while self.peers.len() - self.shared.joined < OPENING_AT_ONCE {
                let Some(user) = waiting.next() else { break };
                self.connect(address, user, &host)?;
            }
            self.turn(TURN)?;
            if self.shared.closed > 0 {
                let why = self.shared.tally.examples.join("\n    ");
                bail!("{} of {} connections joined, then: {why}", self.shared.joined, users.len());
            }
            if patience.is_over(self.shared.joined as u64, alive)? {
                bail!(
                    "only {} of {} connections joined, and no more for {STALLED:?}",
                    self.shared.joined,
                    users.len()
                );
            }
        }
        Ok(())
    }

    /// Answers pings, and takes what comes, for so long.
    pub(crate) fn idle(&mut self, time: Duration, alive: &dyn Fn() -> Result<()>) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return alive();
            }
            self.turn(left)?;
        }
    }

    /// Receives until `goal` deliveries have come in all, or nothing comes any more, or the publisher has given up.
    pub(crate) fn receive(
        &mut self,
        goal: u64,
        progress: &Progress,
        alive: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let mut patience = Patience::new();
        while self.shared.tally.received < goal && !progress.stop.load(Ordering::Relaxed) {
            self.turn(TURN)?;
            let received = self.shared.tally.received;
            progress.received.store(received, Ordering::Release);
            if patience.is_over(received, alive)? {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(crate) fn received(&self) -> u64 {
        self.shared.tally.received
    }

    pub(crate) fn keep_latencies(&mut self) {
        self.shared.latencies = Some(Vec::new());
    }

    pub(crate) fn take_latencies(&mut self) -> Vec<u64> {
        self.shared.latencies.take().unwrap_or_default()
    }

    /// Ends all connections, and holds what came against what was sent.
    pub(crate) fn finish(mut self, sent: &[u64], sent_everyone: u64) -> Tally {
        for (peer, sent) in self.peers.iter().zip(sent) {
            peer.inbox.settle(*sent, sent_everyone, &mut self.shared.tally);
        }
        self.shared.tally
    }

    fn connect(&mut self, address: SocketAddr, user: &str, host: &str) -> Result<()> {
        let mut stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        let token = Token(self.peers.len());
        self.poll.registry().register(
            &mut stream,
            token,
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.peers.push(Peer {
            stream,
            connection: Connection::new(user, host),
            inbox: Inbox::new(user),
            phase: Phase::Connecting,
        });
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error).context("epoll"),
        }
        for event in &self.events {
            let index = event.token().0;
            let Some(peer) = self.peers.get_mut(index) else {
                continue;
            };
            if let Err(error) = peer.handle(event, &mut self.buffer, &mut self.shared) {
                peer.phase = Phase::Closed;
                // Of no use if the server was first.
                let _ = peer.stream.shutdown(Shutdown::Both);
                self.shared.closed += 1;
                self.shared.tally.closed += 1;
                self.shared.tally.example(|| format!("connection {index}: {error:#}"));
            }
        }
        Ok(())
    }
}

impl Peer {
    fn handle(
        &mut self,
        event: &Event,
        buffer: &mut [u8],
        shared: &mut Received<'_>,
    ) -> Result<()> {
        if self.phase == Phase::Closed {
            return Ok(());
        }
        if self.phase == Phase::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error).context("connect");
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            self.stream.set_nodelay(true)?;
            self.phase = Phase::Open;
        }
        if event.is_readable() {
            self.read(buffer, shared, event.is_read_closed())?;
        }
        self.write()
    }

    fn read(
        &mut self,
        buffer: &mut [u8],
        shared: &mut Received<'_>,
        to_the_end: bool,
    ) -> Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("read"),
            };
            let now = shared.clock.now();
            let inbox = &mut self.inbox;
            self.connection.receive(buffer.get(..count).unwrap_or_default(), |incoming| {
                match incoming {
                    Incoming::Joined => shared.joined += 1,
                    Incoming::Event(event) => {
                        let sent = inbox.take(event, shared.shape, &mut shared.tally);
                        if let (Some(sent), Some(latencies)) = (sent, &mut shared.latencies) {
                            latencies.push(now.saturating_sub(sent));
                        }
                    }
                }
            })?;
            // A short read has emptied the socket; what comes later is another edge (epoll(7)).
            if count < buffer.len() && !to_the_end {
                return Ok(());
            }
        }
    }

    fn write(&mut self) -> Result<()> {
        let output = self.connection.output();
        while !output.is_empty() {
            match self.stream.write(output) {
                Ok(count) => drop(output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("write"),
            }
        }
        Ok(())
    }
}

/// Watches a count that has to grow, and the child that makes it grow.
struct Patience {
    count: u64,
    since: Instant,
    looked: Instant,
}

impl Patience {
    fn new() -> Self {
        let now = Instant::now();
        Self { count: 0, since: now, looked: now }
    }

    fn is_over(&mut self, count: u64, alive: &dyn Fn() -> Result<()>) -> Result<bool> {
        let now = Instant::now();
        if count != self.count {
            self.count = count;
            self.since = now;
        }
        if now - self.looked > TURN {
            self.looked = now;
            alive()?;
        }
        Ok(now - self.since > STALLED)
    }
}
