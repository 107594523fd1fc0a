//! One connection as a value: heartbeat, namespaces, attachments and every limit on them.
//!
//! The caller brings packets and the time, and does what it is told: it sends what
//! [`Connection::poll_transmit`] returns, gives [`Connection::poll_event`] to the application, and
//! comes back at [`Connection::poll_timeout`]. Which transport carries the packets, and how a
//! connection moves from one to another, is the caller's business.
//!
//! ```text
//!            handle_text, handle_binary          accept, refuse, emit, acknowledge, leave
//! transport ───────────────────────────▶ state ◀─────────────────────────────────────── application
//!           ◀─────────────────────────── state ───────────────────────────────────────▶
//!                  poll_transmit                              poll_event
//! ```

mod attachments;
mod event;
mod heartbeat;
mod limits;
mod meter;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::engine::{self, Received as Engine, Revision};
use crate::socket::{self, EventName, Kind, Received as Socket};
use crate::{Close, Packet, Sid};
use attachments::Incomplete;
use heartbeat::Heartbeat;
use meter::Meter;

pub use event::{Data, Event, Message};
pub use limits::Limits;

/// The state of one connection, from its first packet to its end.
#[derive(Debug)]
pub struct Connection {
    limits: Arc<Limits>,
    revision: Revision,
    /// Without Socket.IO on top: messages go to the application as they come.
    bare: bool,
    heartbeat: Heartbeat,
    meter: Meter,
    /// Unless a namespace is joined.
    join_by: Option<Instant>,
    namespaces: Vec<Namespace>,
    /// How often the client was refused one.
    refusals: usize,
    incomplete: Option<Box<Incomplete>>,
    /// Namespace and id of each event whose answer is awaited, oldest first.
    unanswered: VecDeque<(Arc<str>, u64)>,
    events: VecDeque<Event>,
    transmit: VecDeque<Packet>,
}

#[derive(Debug)]
struct Namespace {
    name: Arc<str>,
    joined: bool,
}

impl Connection {
    /// A connection whose open packet is sent at `now`. A client of Engine.IO 3 asks for the root
    /// namespace by being there.
    pub fn new(limits: Arc<Limits>, revision: Revision, now: Instant) -> Self {
        let mut connection = Self {
            heartbeat: Heartbeat::new(revision, &limits, now),
            meter: Meter::default(),
            join_by: Some(now + limits.connect_timeout),
            revision,
            bare: false,
            namespaces: Vec::new(),
            refusals: 0,
            incomplete: None,
            unanswered: VecDeque::new(),
            events: VecDeque::new(),
            transmit: VecDeque::new(),
            limits,
        };
        if revision == Revision::Three {
            connection.request(root(), None);
        }
        connection
    }

    /// A connection that carries an application's own messages, without Socket.IO.
    pub fn engine_only(limits: Arc<Limits>, revision: Revision, now: Instant) -> Self {
        let mut connection = Self::new(limits, revision, now);
        connection.bare = true;
        connection.join_by = None;
        connection.namespaces.clear();
        connection.events.clear();
        connection
    }

    /// Takes a text packet from either transport.
    ///
    /// # Errors
    /// The connection is over, for the reason returned; there is nothing left to call.
    pub fn handle_text(&mut self, packet: &str, now: Instant) -> Result<(), Close> {
        if packet.len() > self.limits.max_payload {
            return Err(Close::TooLarge);
        }
        match engine::decode(packet).map_err(|_| Close::Protocol)? {
            Engine::Message(text) if self.bare => {
                self.events.push_back(Event::Data(Data::Text(text.into())));
                Ok(())
            }
            Engine::Message(text) => self.handle_socket(text, now),
            Engine::Pong => {
                self.heartbeat.ponged(&self.limits, now);
                Ok(())
            }
            Engine::Close => Err(Close::Client),
            // In Engine.IO 4 only the server pings; a probe never reaches this place.
            Engine::Ping(data) if self.heartbeat.pinged(&self.limits, now) => {
                // The newest ping is answered; who sends many at once needs no more than that.
                self.transmit.retain(|packet| !packet.body().starts_with(b"3"));
                self.transmit.push_back(Packet::text(&format!("3{data}")));
                Ok(())
            }
            Engine::Ping(_) => Err(Close::Protocol),
            Engine::Upgrade | Engine::Idle => Ok(()),
        }
    }

    /// Takes a binary message from either transport: an awaited attachment, or a breach.
    ///
    /// # Errors
    /// As for [`Connection::handle_text`].
    pub fn handle_binary(&mut self, data: &[u8]) -> Result<(), Close> {
        if data.len() > self.limits.max_payload {
            return Err(Close::TooLarge);
        }
        let data = match self.revision {
            Revision::Three => {
                data.strip_prefix(&[engine::three::MESSAGE]).ok_or(Close::Protocol)?
            }
            Revision::Four => data,
        };
        if self.bare {
            self.events.push_back(Event::Data(Data::Binary(Bytes::copy_from_slice(data))));
            return Ok(());
        }
        let mut incomplete = self.incomplete.take().ok_or(Close::Protocol)?;
        if incomplete.add(data, self.limits.max_attachment_bytes)? {
            let (kind, message) = incomplete.finish();
            // Put out meanwhile, the client had sent it before it knew: nobody is there to hear it.
            if self.joined(&message.namespace) {
                self.push_message(kind, message);
            }
        } else {
            self.incomplete = Some(incomplete);
        }
        Ok(())
    }

    /// Acts on the deadlines that `now` has reached.
    ///
    /// # Errors
    /// As for [`Connection::handle_text`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Close> {
        if self.heartbeat.ping_due(&self.limits, now) {
            self.transmit.push_back(Packet::text("2"));
        }
        if self.expired(now) {
            return Err(Close::PingTimeout);
        }
        let overdue = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if overdue(self.join_by) || overdue(self.incomplete.as_ref().map(|i| i.deadline())) {
            return Err(Close::Protocol);
        }
        Ok(())
    }

    /// Whether the heartbeat's deadline has passed: such a connection is gone even if no timer has
    /// said so yet.
    pub fn expired(&self, now: Instant) -> bool {
        self.heartbeat.expired(&self.limits, now)
    }

    /// When [`Connection::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Instant {
        let attachments = self.incomplete.as_ref().map(|incomplete| incomplete.deadline());
        [self.join_by, attachments]
            .into_iter()
            .flatten()
            .fold(self.heartbeat.deadline(), Instant::min)
    }

    /// What the client asks of the application, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        pop(&mut self.events)
    }

    /// What is to be sent, oldest first. Packets of one message come without a gap.
    pub fn poll_transmit(&mut self) -> Option<Packet> {
        pop(&mut self.transmit)
    }

    /// Lets the client into a namespace that it asked for, as session `sid` (never the Engine.IO id,
    /// which is a secret of the transport). With `pid`, a secret too, it may come back as the same
    /// session. Without effect if it no longer asks.
    pub fn accept(&mut self, namespace: &str, sid: &Sid, pid: Option<&str>) {
        let Some(entry) = self.namespaces.iter_mut().find(|n| &*n.name == namespace && !n.joined)
        else {
            return;
        };
        entry.joined = true;
        self.join_by = None;
        let payload = match (self.revision, pid) {
            (Revision::Three, _) => String::new(),
            (Revision::Four, None) => format!("{{\"sid\":\"{sid}\"}}"),
            (Revision::Four, Some(pid)) => {
                format!("{{\"sid\":\"{sid}\",\"pid\":{}}}", serde_json::Value::from(pid))
            }
        };
        self.transmit.push_back(socket::encode('0', namespace, None, &payload));
    }

    /// Refuses a namespace that the client asked for; `data` is JSON.
    pub fn refuse(&mut self, namespace: &str, message: &str, data: Option<&str>) {
        self.namespaces.retain(|n| &*n.name != namespace || n.joined);
        self.refusals += 1;
        let message = serde_json::Value::from(message);
        let payload = match (self.revision, data) {
            (Revision::Three, Some(data)) => data.to_owned(),
            (Revision::Three, None) => message.to_string(),
            (Revision::Four, Some(data)) => format!("{{\"message\":{message},\"data\":{data}}}"),
            (Revision::Four, None) => format!("{{\"message\":{message}}}"),
        };
        self.transmit.push_back(socket::encode('4', namespace, None, &payload));
    }

    /// Sends a message of an application that speaks no Socket.IO.
    pub fn message(&mut self, data: &Data) {
        let packet = match data {
            Data::Text(text) => Packet::message(text),
            Data::Binary(data) => self.binary(data),
        };
        self.transmit.push_back(packet);
    }

    /// Sends an event; `payload` is a JSON array, its name first. With attachments, `payload` holds
    /// their placeholders.
    pub fn emit(&mut self, namespace: &str, payload: &str, attachments: &[Bytes]) {
        self.send(('2', '5'), namespace, None, payload, attachments);
    }

    /// Sends an event that asks for an answer: an [`Event::Ack`] with this `id`, which the caller has not
    /// used for an event that is not answered yet.
    pub fn ask(&mut self, namespace: &str, id: u64, payload: &str, attachments: &[Bytes]) {
        let Some(joined) = self.namespaces.iter().find(|n| n.joined && &*n.name == namespace)
        else {
            return;
        };
        if self.unanswered.len() >= self.limits.max_unanswered {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((joined.name.clone(), id));
        self.send(('2', '5'), namespace, Some(id), payload, attachments);
    }

    /// Answers the client's event `id`; `payload` is a JSON array.
    pub fn acknowledge(&mut self, namespace: &str, id: u64, payload: &str, attachments: &[Bytes]) {
        self.send(('3', '6'), namespace, Some(id), payload, attachments);
    }

    /// Puts the client out of a namespace; the connection goes on.
    pub fn leave(&mut self, namespace: &str, now: Instant) {
        if self.forget(namespace, now).is_some() {
            self.transmit.push_back(socket::encode('1', namespace, None, ""));
        }
    }

    /// Whether the client has joined that namespace.
    pub fn joined(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|n| n.joined && &*n.name == namespace)
    }

    fn handle_socket(&mut self, text: &str, now: Instant) -> Result<(), Close> {
        if self.incomplete.is_some() {
            // Attachments directly follow their packet (Socket.IO protocol 5, "Packet encoding").
            return Err(Close::Protocol);
        }
        let within = self.meter.take(self.limits.packet_rate, now)?;
        let packet = socket::decode(text).map_err(|_| Close::Protocol)?;
        match packet.kind {
            Kind::Connect => self.handle_connect(&packet),
            Kind::Disconnect => {
                if !packet.payload.is_empty() {
                    return Err(Close::Protocol);
                }
                let namespace = self.forget(packet.namespace, now).ok_or(Close::Protocol)?;
                self.events.push_back(Event::Left { namespace });
                Ok(())
            }
            Kind::Event | Kind::Ack | Kind::BinaryEvent | Kind::BinaryAck => {
                self.handle_message(&packet, within, now)
            }
            // Only a server refuses.
            Kind::ConnectError => Err(Close::Protocol),
        }
    }

    fn handle_connect(&mut self, packet: &Socket<'_>) -> Result<(), Close> {
        let malformed = !packet.payload.is_empty() && !socket::is_object(packet.payload);
        if malformed || packet.ack.is_some() {
            return Err(Close::Protocol);
        }
        let auth = (!packet.payload.is_empty()).then(|| packet.payload.into());
        let (name, auth) = match self.revision {
            Revision::Three => match packet.namespace.split_once('?') {
                Some((name, query)) => (name, Some(socket::query_as_auth(query))),
                None => (packet.namespace, auth),
            },
            Revision::Four => (packet.namespace, auth),
        };
        let known = self.namespaces.iter().any(|n| &*n.name == name);
        if known
            || self.namespaces.len() >= self.limits.max_namespaces
            || name.len() > MAX_NAMESPACE_LENGTH
        {
            return Err(Close::Protocol);
        }
        // Each attempt may cost the application a question to somebody else.
        if self.refusals >= self.limits.max_namespaces {
            return Err(Close::Rate);
        }
        self.request(if name == "/" { root() } else { name.into() }, auth);
        Ok(())
    }

    fn request(&mut self, namespace: Arc<str>, auth: Option<Box<str>>) {
        self.namespaces.push(Namespace { name: namespace.clone(), joined: false });
        self.events.push_back(Event::Connect { namespace, auth });
    }

    fn handle_message(
        &mut self,
        packet: &Socket<'_>,
        within: bool,
        now: Instant,
    ) -> Result<(), Close> {
        let namespace = self
            .namespaces
            .iter()
            .find(|n| n.joined && &*n.name == packet.namespace)
            .map(|n| n.name.clone())
            .ok_or(Close::Protocol)?;
        let answer = matches!(packet.kind, Kind::Ack | Kind::BinaryAck);
        let name = if answer {
            if packet.ack.is_none() || !socket::is_array(packet.payload) {
                return Err(Close::Protocol);
            }
            None
        } else {
            match socket::event_name(packet.payload).map_err(|_| Close::Protocol)? {
                EventName::Text(name) if RESERVED.contains(&name.as_str()) => {
                    return Err(Close::Protocol);
                }
                EventName::Text(name) => Some(name.into()),
                // Node keeps the connection: the event is legal, and nobody can listen to it. With
                // attachments they would have to be awaited for nothing, so that one ends here.
                EventName::Number if packet.attachments == 0 => return Ok(()),
                EventName::Number => return Err(Close::Protocol),
            }
        };
        if !within && packet.kind == Kind::Event {
            self.events.push_back(Event::Excess { namespace, ack: packet.ack });
            return Ok(());
        }
        let message = Message {
            namespace,
            name,
            payload: packet.payload.into(),
            ack: packet.ack,
            attachments: Vec::new(),
        };
        if matches!(packet.kind, Kind::BinaryEvent | Kind::BinaryAck) {
            if packet.attachments == 0 || packet.attachments > self.limits.max_attachments {
                return Err(Close::Protocol);
            }
            let deadline = now + self.limits.attachment_timeout;
            let incomplete = Incomplete::new(answer, message, packet.attachments, deadline)?;
            self.incomplete = Some(Box::new(incomplete));
        } else {
            self.push_message(answer, message);
        }
        Ok(())
    }

    fn push_message(&mut self, answer: bool, message: Message) {
        if !answer {
            return self.events.push_back(Event::Event(message));
        }
        let asked = self.unanswered.iter().position(|(namespace, id)| {
            *namespace == message.namespace && Some(*id) == message.ack
        });
        // An answer to nothing is ignored, as in Node.
        if let Some(at) = asked {
            self.unanswered.remove(at);
            if self.unanswered.is_empty() {
                self.unanswered = VecDeque::new();
            }
            self.events.push_back(Event::Ack(message));
        }
    }

    fn forget(&mut self, namespace: &str, now: Instant) -> Option<Arc<str>> {
        let at = self.namespaces.iter().position(|n| n.joined && &*n.name == namespace)?;
        let name = self.namespaces.remove(at).name;
        self.unanswered.retain(|(asked, _)| *asked != name);
        if !self.namespaces.iter().any(|n| n.joined) {
            // It is nobody's again, and has as long as at first to become somebody's.
            self.join_by = Some(now + self.limits.connect_timeout);
        }
        Some(name)
    }

    fn binary(&self, data: &[u8]) -> Packet {
        match self.revision {
            Revision::Three => Packet::binary_three(data),
            Revision::Four => Packet::binary(data),
        }
    }

    fn send(
        &mut self,
        (plain, binary): (char, char),
        namespace: &str,
        id: Option<u64>,
        payload: &str,
        attachments: &[Bytes],
    ) {
        if attachments.is_empty() {
            self.transmit.push_back(socket::encode(plain, namespace, id, payload));
            return;
        }
        let packet = socket::encode_binary(binary, attachments.len(), namespace, id, payload);
        self.transmit.push_back(packet);
        for data in attachments {
            self.transmit.push_back(self.binary(data));
        }
    }
}

/// Names that the client library gives a meaning of its own.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Bytes; a namespace is kept for as long as the connection lives.
const MAX_NAMESPACE_LENGTH: usize = 256;

/// Nearly every connection joins the root namespace: one shared name for all of them.
fn root() -> Arc<str> {
    static ROOT: std::sync::OnceLock<Arc<str>> = std::sync::OnceLock::new();
    ROOT.get_or_init(|| "/".into()).clone()
}

/// Pops, and gives an emptied queue's memory back: most connections are idle most of the time.
fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() && queue.capacity() > 0 {
        *queue = VecDeque::new();
    }
    first
}

#[cfg(test)]
mod tests;
