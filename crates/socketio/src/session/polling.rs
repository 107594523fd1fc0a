//! A session that polls: its queue, the GET that waits for it, and the WebSocket that probes to
//! take its place.

use std::collections::VecDeque;
use std::io;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use actix::Handler;
use bytes::Bytes;
use protocol::engine::three::{self, Payload};
use protocol::engine::{self, Item, Malformed, Received, Refusal, Revision};
use protocol::{Close, Packet};
use tokio::sync::oneshot;

use super::{Reply, Session, Transport, Visit, now};
use crate::Application;
use crate::frames::Input;
use crate::io::Parked;
use crate::transport::Socket;

pub(super) struct Polling {
    revision: Revision,
    /// A client of Engine.IO 3 that cannot read bytes.
    base64: bool,
    queue: VecDeque<Packet>,
    get: Option<oneshot::Sender<Reply>>,
    probe: Option<Box<Probe>>,
}

/// A WebSocket that has yet to prove itself: `2probe`, `3probe`, then `5`.
struct Probe {
    socket: Socket,
    answered: bool,
    deadline: Instant,
}

/// What a probe has come to.
pub(super) enum Progress {
    Waiting,
    /// It got its answer: the client waits for its GET to return before it says the last word.
    Answered,
    Upgraded,
    /// Only the WebSocket is dropped; the session goes on polling.
    Failed,
}

impl Polling {
    pub(super) fn new(revision: Revision, base64: bool) -> Self {
        Self { revision, base64, queue: VecDeque::new(), get: None, probe: None }
    }

    pub(super) fn push(&mut self, packet: Packet) {
        self.queue.push_back(packet);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.probe.as_ref().map(|probe| probe.deadline)
    }

    /// Answers the waiting GET with all that is queued and `last`; returns the bytes taken from the
    /// queue, or `None` if the client has gone meanwhile or there is nothing to answer.
    pub(super) fn answer(&mut self, last: Option<&str>) -> Option<usize> {
        let get = self.get.take()?;
        let mut packets = Vec::from(std::mem::take(&mut self.queue));
        let released = packets.iter().map(Packet::size).sum();
        packets.extend(last.map(Packet::text));
        let payload = match self.revision {
            Revision::Three => three::encode(&packets, self.base64),
            Revision::Four => Payload { body: engine::encode(&packets), binary: false },
        };
        get.send(Reply::Payload(payload)).ok().map(|()| released)
    }

    /// Answers a waiting GET with what is queued, or else with the end; true if that was said. Not both
    /// at once: the stock client would act on the end before it has read what comes with it.
    pub(super) fn say_goodbye(&mut self) -> bool {
        if self.queue.is_empty() {
            self.answer(Some("1")).is_some()
        } else {
            self.answer(None);
            false
        }
    }

    /// What has become of the WebSocket that probes, if one does.
    pub(super) fn poll_probe(&mut self, task: &mut Task<'_>, now: Instant) -> Option<Progress> {
        self.probe.as_mut().map(|probe| probe.poll(task, now))
    }

    /// Whether the client's WebSocket got its answer: from then on it does not poll.
    pub(super) fn is_changing_over(&self) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.answered)
    }

    pub(super) fn drop_probe(&mut self) {
        self.probe = None;
    }

    pub(super) fn has_get(&self) -> bool {
        self.get.is_some()
    }
}

impl<A: Application> Session<A> {
    pub(super) fn poll_polling(&mut self, task: &mut Task<'_>, now: Instant) {
        let Transport::Polling(polling) = &mut self.transport else { return };
        if let Some(get) = &mut polling.get {
            // The client dropped its GET: Node ends the session then, and so do the suites expect.
            if get.poll_closed(task).is_ready() {
                return self.close(Close::Transport);
            }
        }
        match polling.poll_probe(task, now) {
            None | Some(Progress::Waiting) => {}
            Some(Progress::Answered) => self.answer_get(Some("6")),
            Some(Progress::Failed) => polling.drop_probe(),
            Some(Progress::Upgraded) => self.upgrade(task),
        }
    }

    /// The client has moved: what is queued goes to the WebSocket, behind nothing that was polled.
    pub(super) fn upgrade(&mut self, task: &mut Task<'_>) {
        let Transport::Polling(polling) = &mut self.transport else { return };
        let Some(probe) = polling.probe.take() else { return };
        let mut socket = probe.socket;
        self.handle.budget().add(socket.queued());
        for packet in std::mem::take(&mut polling.queue) {
            socket.push(packet.websocket().clone());
        }
        // The queue is empty by now: a GET that still waits only hears that there is nothing more.
        polling.answer(Some("6"));
        self.transport = Transport::WebSocket(socket);
        self.live.upgraded();
        // The new transport has registered no interest yet.
        task.waker().wake_by_ref();
    }

    /// Answers a waiting GET. A client that went away meanwhile has lost what it was sent.
    fn answer_get(&mut self, last: Option<&str>) {
        let Transport::Polling(polling) = &mut self.transport else { return };
        if !polling.has_get() {
            return;
        }
        match polling.answer(last) {
            Some(released) => self.handle.budget().release(released),
            None => self.close(Close::Transport),
        }
    }

    pub(super) fn flush_polling(&mut self) {
        if let Transport::Polling(polling) = &self.transport
            && !polling.queue.is_empty()
        {
            self.answer_get(None);
        }
    }

    fn get(&mut self, reply: oneshot::Sender<Reply>) {
        let Transport::Polling(polling) = &mut self.transport else {
            return answer(reply, Reply::Refused(Refusal::BadRequest));
        };
        if polling.get.is_some() {
            // One GET at a time (Engine.IO 4, "HTTP long-polling"): the first hears of the end.
            answer(reply, Reply::BadRequest);
            return self.close(Close::Protocol);
        }
        polling.get = Some(reply);
        if polling.is_changing_over() {
            self.answer_get(Some("6"));
        }
    }

    fn post(&mut self, body: &Bytes, binary: bool, reply: oneshot::Sender<Reply>) {
        let Transport::Polling(polling) = &self.transport else {
            return answer(reply, Reply::Refused(Refusal::BadRequest));
        };
        let outcome = match (polling.revision, binary) {
            (Revision::Three, true) => self.receive_items(three::decode_bytes(body)),
            (revision, _) => match std::str::from_utf8(body) {
                Err(_) => Err(Close::Protocol),
                Ok(body) if revision == Revision::Three => self.receive_items(three::decode(body)),
                Ok(body) => self.receive_items(engine::payload(body)),
            },
        };
        match outcome {
            Ok(()) => answer(reply, Reply::Done),
            Err(reason) => {
                let said_goodbye = reason == Close::Client;
                answer(reply, if said_goodbye { Reply::Done } else { Reply::BadRequest });
                self.close(reason);
            }
        }
    }

    fn receive_items<'a>(
        &mut self,
        items: impl Iterator<Item = Result<Item<'a>, Malformed>>,
    ) -> Result<(), Close> {
        let now = now();
        for item in items {
            match item.map_err(|_| Close::Protocol)? {
                Item::Text(packet) => self.connection.handle_text(packet, now)?,
                Item::Binary(data) => self.connection.handle_binary(&data)?,
            }
        }
        Ok(())
    }

    fn breach(&mut self, reply: oneshot::Sender<Reply>) {
        answer(reply, Reply::BadRequest);
        if matches!(self.transport, Transport::Polling(_)) {
            self.close(Close::Protocol);
        }
    }

    fn attach(&mut self, stream: Parked, first: Bytes, early: &[u8]) {
        let socket = stream.resume().map(|stream| {
            let mut socket = Socket::new(stream, early, self.worker.config().limits.max_payload);
            socket.push(first);
            socket
        });
        let deadline = now() + self.worker.config().upgrade_timeout;
        match (&mut self.transport, socket) {
            (Transport::Polling(polling), Ok(socket)) if polling.probe.is_none() => {
                polling.probe = Some(Box::new(Probe { socket, answered: false, deadline }));
            }
            // A second WebSocket: opened and closed at once, as Node does; the first one stays.
            (_, Ok(mut socket)) => {
                let reason = Close::Protocol;
                let frame = Packet::close(reason.code(), "another transport is in place");
                socket.push(frame.websocket().clone());
                actix_rt::spawn(socket.dismiss());
            }
            (_, Err(error)) => log::debug!("upgrade abandoned error={error}"),
        }
    }
}

impl Probe {
    fn poll(&mut self, task: &mut Task<'_>, now: Instant) -> Progress {
        if now >= self.deadline {
            return Progress::Failed;
        }
        let mut progress = Progress::Waiting;
        loop {
            if let Poll::Ready(Err(_)) = self.flush(task) {
                return Progress::Failed;
            }
            let input = match self.socket.poll_input(task) {
                Poll::Ready(Ok(Input::Text(data))) => data,
                Poll::Ready(_) => return Progress::Failed,
                Poll::Pending => return progress,
            };
            let packet =
                std::str::from_utf8(&input).ok().and_then(|text| engine::decode(text).ok());
            match packet {
                Some(Received::Ping("probe")) if !self.answered => {
                    self.socket.push(Packet::text("3probe").websocket().clone());
                    self.answered = true;
                    progress = Progress::Answered;
                }
                Some(Received::Upgrade) if self.answered => return Progress::Upgraded,
                _ => return Progress::Failed,
            }
        }
    }

    fn flush(&mut self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(task, &mut 0)
    }
}

impl<A: Application> Session<A> {
    /// A client that has heard all, and is not listened to any more, need not be waited for.
    fn end_if_said(&mut self) {
        if let (Transport::Polling(polling), Some(closing)) = (&self.transport, &mut self.closing)
            && polling.queue.is_empty()
        {
            closing.no_more_words();
        }
    }
}

impl<A: Application> Handler<Visit> for Session<A> {
    type Result = ();

    fn handle(&mut self, visit: Visit, _: &mut Self::Context) {
        // Its timer may be late; the deadline is not (Engine.IO 4, "Heartbeat").
        let over = self.closing.as_ref().is_some_and(|closing| !closing.waits_for_get())
            || self.connection.expired(now());
        match visit {
            Visit::Get { reply } if over => answer(reply, Reply::Refused(Refusal::SessionUnknown)),
            Visit::Post { reply, .. } | Visit::Breach { reply }
                if over || self.closing.is_some() =>
            {
                answer(reply, Reply::Refused(Refusal::SessionUnknown));
                self.end_if_said();
            }
            Visit::Get { reply } => self.get(reply),
            Visit::Post { body, binary, reply } => self.post(&body, binary, reply),
            Visit::Breach { reply } => self.breach(reply),
            Visit::Attach { .. } if self.closing.is_some() => {}
            Visit::Attach { stream, first, early } => self.attach(stream, first, &early),
        }
    }
}

fn answer(reply: oneshot::Sender<Reply>, with: Reply) {
    if reply.send(with).is_err() {
        log::trace!("polling request gone before its answer");
    }
}
