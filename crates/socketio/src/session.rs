//! One connection as an actor: it carries packets between its transport, the protocol's
//! [`Connection`] and the application.
//!
//! Messages only change state. All I/O is in one future, the [`Pump`], which actix polls after the
//! mailbox is drained: so everything that came in meanwhile goes out in one write.

mod closing;
mod joining;
mod polling;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use actix_rt::time::{Sleep, sleep_until};
use bytes::Bytes;
use log::debug;
use protocol::engine::three::Payload;
use protocol::engine::{self, Revision};
use protocol::{Close, Connection, Event, Packet, Sid};
use tokio::sync::oneshot;

use crate::application::Application;
use crate::bond::Bond;
use crate::config::Config;
use crate::frames::Input;
use crate::handle::{Charge, Command, Handle};
use crate::handshake::Handshake;
use crate::io::Parked;
use crate::server::{Live, Place, Polled, Worker, random_sid};
use crate::transport::Socket;
use closing::Closing;
use joining::Joining;
use polling::Polling;

/// What an HTTP request wants from a session that polls.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Visit {
    /// A GET: answered when there is something to say.
    Get { reply: oneshot::Sender<Reply> },
    /// A POST with this payload, of text or of bytes.
    Post { body: Bytes, binary: bool, reply: oneshot::Sender<Reply> },
    /// A request that no client makes who follows the protocol.
    Breach { reply: oneshot::Sender<Reply> },
    /// A WebSocket for this session: its stream, the bytes to write first, those already read.
    Attach { stream: Parked, first: Bytes, early: Bytes },
}

/// What the HTTP request is answered with.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 200 with a payload, to a GET.
    Payload(Payload),
    /// 200 with `ok`, to a POST.
    Done,
    /// An error of the protocol, with its JSON body.
    Refused(engine::Refusal),
    /// 400 without a body.
    BadRequest,
    /// 413: the session lives on.
    TooLarge,
}

pub(crate) struct Session<A: Application> {
    worker: Worker<A>,
    sid: Sid,
    connection: Connection,
    transport: Transport,
    handle: Handle,
    /// Until all namespaces are joined.
    handshake: Option<Arc<Handshake>>,
    joining: Vec<Joining<A::Member>>,
    members: Vec<(Arc<str>, A::Member)>,
    /// For a namespace that is being joined; they follow the admission.
    held: Vec<Command>,
    closing: Option<Closing>,
    live: Live,
}

enum Transport {
    Polling(Box<Polling>),
    WebSocket(Socket),
}

impl<A: Application> Session<A> {
    /// Starts a session that polls; returns its id, and where its first GET is to be sent.
    pub(crate) fn poll(
        worker: &Worker<A>,
        handshake: Handshake,
        revision: Revision,
    ) -> io::Result<(Sid, Polled)> {
        let sid = random_sid()?;
        let base64 = handshake.parameter("b64").is_some();
        let transport = Transport::Polling(Box::new(Polling::new(revision, base64)));
        let (handshake, place) = share(worker.config(), handshake);
        let bond = Bond::new(worker, handshake.clone());
        let session = Self::start_with(worker, sid, (handshake, place), revision, transport);
        let polled = Polled::new(session.recipient(), revision, bond);
        worker.inner.server.register(sid, polled.clone());
        Ok((sid, polled))
    }

    /// Starts a session on a WebSocket.
    pub(crate) fn websocket(
        worker: &Worker<A>,
        handshake: Handshake,
        revision: Revision,
        socket: Socket,
    ) -> io::Result<()> {
        let sid = random_sid()?;
        let handshake = share(worker.config(), handshake);
        Self::start_with(worker, sid, handshake, revision, Transport::WebSocket(socket));
        Ok(())
    }

    fn start_with(
        worker: &Worker<A>,
        sid: Sid,
        (handshake, place): (Option<Arc<Handshake>>, Option<Place>),
        revision: Revision,
        mut transport: Transport,
    ) -> actix::Addr<Self> {
        let server = &worker.inner.server;
        let config = server.config();
        let limits = server.limits();
        let open = engine::open(
            &sid,
            config.websocket && matches!(transport, Transport::Polling(_)),
            limits.ping_interval,
            limits.ping_timeout,
            limits.max_payload,
        );
        let live = Live::new(server, matches!(transport, Transport::WebSocket(_)), place);
        let start = if config.engine_only { Connection::engine_only } else { Connection::new };
        let connection = start(limits.clone(), revision, now());
        let context = Context::new();
        let handle = Handle::new(context.address().recipient(), config.outbox);
        if let Transport::WebSocket(socket) = &transport {
            handle.budget().add(socket.queued());
        }
        handle.budget().add(open.size());
        transport.push(open);
        if !config.engine_only {
            server.greet(sid, handle.clone());
        }
        let session = Self {
            worker: worker.clone(),
            sid,
            connection,
            transport,
            handle,
            handshake,
            joining: Vec::new(),
            members: Vec::new(),
            held: Vec::new(),
            closing: None,
            live,
        };
        context.run(session)
    }

    fn poll_pump(&mut self, mut timer: Pin<&mut Sleep>, task: &mut Task<'_>) -> Poll<()> {
        let now = now();
        if timer.deadline().into_std() <= now {
            let outcome = self.connection.handle_timeout(now);
            self.check(outcome);
        }
        self.poll_transport(task, now);
        self.poll_joining(task);
        self.settle(task);
        if self.poll_output(task, now).is_ready() {
            return Poll::Ready(());
        }
        // A deadline that moved away needs no new timer: the old one fires once, for nothing.
        let next = self.next_deadline();
        if timer.deadline().into_std() > next || timer.is_elapsed() {
            timer.as_mut().reset(next.into());
        }
        if timer.poll(task).is_ready() {
            task.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_transport(&mut self, task: &mut Task<'_>, now: Instant) {
        let mut bytes = 0;
        while bytes < BYTES_PER_TURN && self.closing.is_none() {
            let Transport::WebSocket(socket) = &mut self.transport else {
                return self.poll_polling(task, now);
            };
            let input = match socket.poll_input(task) {
                Poll::Ready(Ok(input)) => input,
                Poll::Ready(Err(reason)) => return self.close(reason),
                Poll::Pending => return,
            };
            bytes += input.size();
            let outcome = self.receive(input, now);
            self.check(outcome);
        }
        if self.closing.is_none() {
            // Others on this worker want their turn too.
            task.waker().wake_by_ref();
        }
    }

    fn receive(&mut self, input: Input, now: Instant) -> Result<(), Close> {
        match input {
            Input::Text(data) => {
                let text = std::str::from_utf8(&data).map_err(|_| Close::Protocol)?;
                self.connection.handle_text(text, now)
            }
            Input::Binary(data) => self.connection.handle_binary(&data),
            Input::Ping(data) => {
                if let Transport::WebSocket(socket) = &mut self.transport {
                    let (added, replaced) = socket.pong(&data);
                    self.handle.budget().add(added);
                    self.handle.budget().release(replaced);
                }
                Ok(())
            }
            Input::Close => Err(Close::Client),
        }
    }

    /// Gives the application what the client said, and queues what the protocol has to say.
    fn settle(&mut self, task: &mut Task<'_>) {
        while let Some(event) = self.next_event() {
            match event {
                Event::Connect { namespace, auth } => self.join(namespace, auth, task),
                event => self.tell(event),
            }
        }
        self.transmit();
    }

    fn next_event(&mut self) -> Option<Event> {
        if self.closing.is_some() { None } else { self.connection.poll_event() }
    }

    /// Tells the application of an event, an answer, or a client that has left a namespace.
    fn tell(&mut self, event: Event) {
        let application = &self.worker.inner.application;
        let namespace = match &event {
            Event::Event(message) | Event::Ack(message) => message.namespace.clone(),
            Event::Excess { namespace, .. }
            | Event::Connect { namespace, .. }
            | Event::Left { namespace } => namespace.clone(),
            Event::Data(data) => return application.message(&self.handle, data),
        };
        let left = matches!(event, Event::Left { .. });
        let member = self.members.iter_mut().find(|(name, _)| *name == namespace);
        if let Some((_, member)) = member {
            application.event(&self.handle, member, event);
        }
        if left {
            self.lose(&namespace, Close::Client);
        }
    }

    /// Moves the protocol's packets into the outbox. A client that makes the server talk and does
    /// not listen is as slow as any other.
    fn transmit(&mut self) {
        while let Some(packet) = self.connection.poll_transmit() {
            if self.closing.is_some() {
                // The last frame is in the queue; nothing follows it.
                continue;
            }
            match self.handle.budget().charge(packet.size()) {
                Charge::Within => self.transport.push(packet),
                Charge::Exceeds | Charge::Cut => {
                    // Closing comes back here, and must find nothing more to fail at.
                    while self.connection.poll_transmit().is_some() {}
                    return self.close(Close::Slow);
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            command if self.is_early(&command) => self.held.push(command),
            Command::Send { namespace, packet } => {
                let here = match namespace {
                    None => !self.is_unknown(),
                    Some(namespace) => self.connection.joined(&namespace),
                };
                if here {
                    self.transport.push(packet);
                } else {
                    self.handle.budget().release(packet.size());
                }
            }
            Command::Emit { namespace, payload, attachments, charge } => {
                self.handle.budget().release(charge);
                if self.connection.joined(&namespace) {
                    self.connection.emit(&namespace, &payload, &attachments);
                    // At once: what is sent after this must not arrive before it.
                    self.transmit();
                }
            }
            Command::Ask { namespace, id, payload, attachments, charge } => {
                self.handle.budget().release(charge);
                self.connection.ask(&namespace, id, &payload, &attachments);
                self.transmit();
            }
            Command::Acknowledge { namespace, id, payload, attachments, charge } => {
                self.handle.budget().release(charge);
                if self.connection.joined(&namespace) {
                    self.connection.acknowledge(&namespace, id, &payload, &attachments);
                    self.transmit();
                }
            }
            Command::Message { data, charge } => {
                self.handle.budget().release(charge);
                self.connection.message(&data);
                self.transmit();
            }
            Command::Leave { namespace } => {
                self.connection.leave(&namespace, now());
                self.transmit();
                self.lose(&namespace, Close::Kicked);
            }
            Command::Close(reason) => {
                self.transmit();
                self.close(reason);
            }
        }
    }
    /// Whether it has yet to join its first namespace.
    fn is_unknown(&self) -> bool {
        self.members.is_empty() && !self.worker.config().engine_only
    }

    fn check(&mut self, outcome: Result<(), Close>) {
        if let Err(reason) = outcome {
            self.close(reason);
        }
    }

    fn next_deadline(&self) -> Instant {
        if let Some(closing) = &self.closing {
            return closing.deadline;
        }
        let deadline = self.connection.poll_timeout();
        match &self.transport {
            Transport::Polling(polling) => {
                polling.deadline().map_or(deadline, |at| at.min(deadline))
            }
            Transport::WebSocket(_) => deadline,
        }
    }
}

/// The first request, as long as it is needed, and its place among the limits.
fn share(config: &Config, mut first: Handshake) -> (Option<Arc<Handshake>>, Option<Place>) {
    let place = first.place.take();
    ((!config.engine_only).then(|| Arc::new(first)), place)
}

impl Transport {
    fn push(&mut self, packet: Packet) {
        match self {
            Self::Polling(polling) => polling.push(packet),
            Self::WebSocket(socket) => socket.push(packet.websocket().clone()),
        }
    }
}

impl<A: Application> Actor for Session<A> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let timer = Box::pin(sleep_until(self.next_deadline().into()));
        ctx.spawn(Pump { timer });
    }

    /// Must not panic: that would abort the process (it may run while a panic unwinds).
    fn stopped(&mut self, _: &mut Self::Context) {
        let reason = self.closing.as_ref().map_or(Close::Transport, |closing| closing.reason);
        self.worker.inner.server.forget(&self.sid);
        self.worker.inner.server.know(&self.sid);
        self.worker.inner.server.count_end(reason);
        self.dismiss(reason);
        self.worker.inner.application.ended(reason);
        debug!("connection ended reason={reason}");
    }
}

impl<A: Application> Handler<Command> for Session<A> {
    type Result = ();

    fn handle(&mut self, command: Command, _: &mut Self::Context) {
        if self.closing.is_none() {
            self.obey(command);
        }
    }
}

/// All of a session's I/O and timers.
struct Pump {
    timer: Pin<Box<Sleep>>,
}

impl<A: Application> ActorFuture<Session<A>> for Pump {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        session: &mut Session<A>,
        ctx: &mut Context<Session<A>>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        let ended = session.poll_pump(self.timer.as_mut(), task);
        if ended.is_ready() {
            ctx.stop();
        }
        ended
    }
}

/// Bytes that one session may handle before others get their turn.
const BYTES_PER_TURN: usize = 256 << 10;

#[expect(clippy::disallowed_methods, reason = "the session is where time enters the protocol")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
