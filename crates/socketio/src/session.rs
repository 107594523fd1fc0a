//! One connection as an actor: it carries packets between its transport, the protocol's
//! [`Connection`] and the application.
//!
//! Messages only change state. All I/O is in one future, the [`Pump`], which actix polls after the
//! mailbox is drained: so everything that came in meanwhile goes out in one write.

mod closing;
mod polling;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use actix_rt::time::{Sleep, sleep_until};
use bytes::Bytes;
use log::debug;
use protocol::{Close, Connection, Event, Packet, Sid, engine};
use tokio::sync::oneshot;

use crate::application::{Admission, Application, Request};
use crate::handle::{Charge, Command, Handle};
use crate::handshake::Handshake;
use crate::server::{Live, Worker, random_sid};
use crate::transport::{Input, Socket};
use closing::Closing;
use polling::Polling;

/// What an HTTP request wants from a session that polls.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Visit {
    /// A GET: answered when there is something to say.
    Get { reply: oneshot::Sender<Reply> },
    /// A POST with this payload.
    Post { body: Bytes, reply: oneshot::Sender<Reply> },
    /// A WebSocket for this session: its stream, the bytes to write first, those already read.
    Attach { stream: std::net::TcpStream, first: Bytes, early: Bytes },
}

/// What the HTTP request is answered with.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 200 with a payload (GET) or `ok` (POST).
    Payload(Vec<u8>),
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
    handshake: Option<Rc<Handshake>>,
    joining: Vec<Joining<A::Member>>,
    members: Vec<(Arc<str>, A::Member)>,
    /// Sent to the session before its first namespace was joined; they follow the admission.
    held: Vec<Packet>,
    closing: Option<Closing>,
    live: Live,
}

enum Transport {
    Polling(Box<Polling>),
    WebSocket(Socket),
}

struct Joining<M> {
    namespace: Arc<str>,
    admission: Pin<Box<dyn Future<Output = Admission<M>>>>,
}

impl<A: Application> Session<A> {
    /// Starts a session that polls, and returns where its first GET is to be sent.
    pub(crate) fn poll(
        worker: &Worker<A>,
        handshake: Handshake,
    ) -> std::io::Result<actix::Addr<Self>> {
        let sid = random_sid()?;
        let transport = Transport::Polling(Box::default());
        let upgrade = worker.config().websocket;
        let session = Self::start_with(worker, sid, handshake, transport, upgrade);
        worker.inner.server.register(sid, session.clone().recipient());
        Ok(session)
    }

    /// Starts a session on a WebSocket.
    pub(crate) fn websocket(
        worker: &Worker<A>,
        handshake: Handshake,
        socket: Socket,
    ) -> std::io::Result<()> {
        let sid = random_sid()?;
        Self::start_with(worker, sid, handshake, Transport::WebSocket(socket), false);
        Ok(())
    }

    fn start_with(
        worker: &Worker<A>,
        sid: Sid,
        handshake: Handshake,
        mut transport: Transport,
        upgrade: bool,
    ) -> actix::Addr<Self> {
        let server = &worker.inner.server;
        let config = server.config();
        let limits = server.limits();
        let open = engine::open(
            &sid,
            upgrade,
            limits.ping_interval,
            limits.ping_timeout,
            limits.max_payload,
        );
        let live = Live::new(server, matches!(transport, Transport::WebSocket(_)));
        let connection = Connection::new(limits.clone(), now());
        let context = Context::new();
        let handle = Handle::new(context.address().recipient(), config.outbox);
        if let Transport::WebSocket(socket) = &transport {
            handle.budget().add(socket.queued());
        }
        handle.budget().add(open.size());
        transport.push(open);
        server.greet(sid, handle.clone());
        let session = Self {
            worker: worker.clone(),
            sid,
            connection,
            transport,
            handle,
            handshake: Some(Rc::new(handshake)),
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
            Event::Event(message) | Event::Ack(message) => &message.namespace,
            Event::Connect { namespace, .. } | Event::Left { namespace } => namespace,
        };
        if let Event::Left { namespace } = &event {
            return self.lose(namespace, Close::Client);
        }
        let member = self.members.iter_mut().find(|(name, _)| name == namespace);
        if let Some((_, member)) = member {
            application.event(&self.handle, member, event);
        }
    }

    /// A namespace has one member less.
    fn lose(&mut self, namespace: &str, reason: Close) {
        let Some(at) = self.members.iter().position(|(name, _)| &**name == namespace) else {
            return;
        };
        let (_, member) = self.members.swap_remove(at);
        self.worker.inner.application.left(member, reason);
        if self.members.is_empty() {
            self.worker.inner.server.greet(self.sid, self.handle.clone());
        }
    }

    fn join(&mut self, namespace: Arc<str>, auth: Option<Box<str>>, task: &mut Task<'_>) {
        let application = &self.worker.inner.application;
        if !application.namespaces().contains(&&*namespace) {
            return self.connection.refuse(&namespace, "Invalid namespace", None);
        }
        let Some(handshake) = self.handshake.clone() else {
            // It has left what it had joined, and its headers are gone: it must come anew.
            return self.close(Close::Client);
        };
        let request =
            Request { namespace: namespace.clone(), handshake, auth, session: self.handle.clone() };
        let worker = self.worker.clone();
        let admission = Box::pin(async move { worker.inner.application.connect(request).await });
        self.joining.push(Joining { namespace, admission });
        self.poll_joining(task);
    }

    fn poll_joining(&mut self, task: &mut Task<'_>) {
        let mut at = 0;
        while let Some(joining) = self.joining.get_mut(at) {
            match joining.admission.as_mut().poll(task) {
                Poll::Pending => at += 1,
                Poll::Ready(admission) => {
                    let namespace = self.joining.swap_remove(at).namespace;
                    self.admit(namespace, admission);
                }
            }
        }
        if self.joining.is_empty() && self.joining.capacity() > 0 {
            self.joining = Vec::new();
        }
    }

    fn admit(&mut self, namespace: Arc<str>, admission: Admission<A::Member>) {
        match admission {
            Admission::Accept(member) => {
                let Ok(sid) = random_sid() else { return self.close(Close::StoreUnavailable) };
                self.connection.accept(&namespace, &sid);
                self.worker.inner.server.know(&self.sid);
                self.members.reserve_exact(1);
                self.members.push((namespace, member));
                self.transmit();
                for packet in std::mem::take(&mut self.held) {
                    self.transport.push(packet);
                }
                if self.members.len() == self.worker.inner.application.namespaces().len() {
                    self.handshake = None;
                }
            }
            Admission::Refuse { message, data } => {
                if self.members.is_empty() && self.joining.is_empty() {
                    let held = std::mem::take(&mut self.held);
                    self.handle.budget().release(held.iter().map(Packet::size).sum());
                }
                self.connection.refuse(&namespace, &message, data.as_deref());
            }
            Admission::Unavailable => self.close(Close::StoreUnavailable),
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
                Charge::Exceeds | Charge::Cut => return self.close(Close::Slow),
            }
        }
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
        if self.closing.is_some() {
            return;
        }
        match command {
            Command::Send(packet) if self.members.is_empty() => self.held.push(packet),
            Command::Send(packet) => self.transport.push(packet),
            Command::Emit { namespace, payload, attachments, charge } => {
                self.handle.budget().release(charge);
                if self.connection.joined(&namespace) {
                    self.connection.emit(&namespace, &payload, &attachments);
                    // At once: what is sent after this must not arrive before it.
                    self.transmit();
                }
            }
            Command::Acknowledge { namespace, id, payload, attachments, charge } => {
                self.handle.budget().release(charge);
                if self.connection.joined(&namespace) {
                    self.connection.acknowledge(&namespace, id, &payload, &attachments);
                    self.transmit();
                }
            }
            Command::Leave { namespace } => {
                self.connection.leave(&namespace);
                self.transmit();
                self.lose(&namespace, Close::Kicked);
            }
            Command::Close(reason) => {
                self.transmit();
                self.close(reason);
            }
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
fn now() -> Instant {
    Instant::now()
}
