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

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::engine::{self, Received as Engine};
use crate::socket::{self, EventName, Kind, Received as Socket};
use crate::{Close, Packet, Sid};
use attachments::Incomplete;

/// What a connection may cost; the same for all connections of a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How often the server asks whether the client is there.
    pub ping_interval: Duration,
    /// How long the client may take to answer.
    pub ping_timeout: Duration,
    /// How long a client may be connected without having joined a namespace.
    pub connect_timeout: Duration,
    /// The largest message, in bytes, in either transport.
    pub max_payload: usize,
    /// Attachments of one packet.
    pub max_attachments: usize,
    /// Bytes of one packet's attachments while they are awaited.
    pub max_attachment_bytes: usize,
    /// How long the attachments of a packet may take to arrive.
    pub attachment_timeout: Duration,
    /// Namespaces joined or being joined at once.
    pub max_namespaces: usize,
}

impl Default for Limits {
    /// Node's defaults, and bounds where Node has none.
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            max_payload: 1_000_000,
            max_attachments: 10,
            max_attachment_bytes: 10_000_000,
            attachment_timeout: Duration::from_secs(30),
            max_namespaces: 8,
        }
    }
}

/// What the client wants from the application.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It asks to join a namespace: answer with [`Connection::accept`] or [`Connection::refuse`].
    Connect {
        /// The namespace, `/` for the root.
        namespace: Arc<str>,
        /// The JSON object that it sent along, if any.
        auth: Option<Box<str>>,
    },
    /// It sent an event.
    Event(Message),
    /// It answered an event.
    Ack(Message),
    /// It left a namespace; the connection goes on.
    Left {
        /// The namespace.
        namespace: Arc<str>,
    },
}

/// An event or an acknowledgement, checked to be well-formed JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it was sent.
    pub namespace: Arc<str>,
    /// The event's name; an acknowledgement has none.
    pub name: Option<Box<str>>,
    /// The JSON array as it came, an event's name included.
    pub payload: Box<str>,
    /// The acknowledgement that an event asks for, or that this is.
    pub ack: Option<u64>,
    /// What the placeholders in the payload stand for.
    pub attachments: Vec<Bytes>,
}

impl Message {
    /// The arguments, as raw JSON; an event's name is not among them.
    pub fn args(&self) -> Vec<&RawValue> {
        let mut all: Vec<&RawValue> = serde_json::from_str(&self.payload).unwrap_or_default();
        if self.name.is_some() && !all.is_empty() {
            all.remove(0);
        }
        all
    }
}

/// The state of one connection, from its first packet to its end.
#[derive(Debug)]
pub struct Connection {
    limits: Arc<Limits>,
    heartbeat: Heartbeat,
    /// Until a namespace is joined for the first time.
    join_by: Option<Instant>,
    namespaces: Vec<Namespace>,
    incomplete: Option<Box<Incomplete>>,
    events: VecDeque<Event>,
    transmit: VecDeque<Packet>,
}

/// Ping and pong alternate; both deadlines are absolute, so a late timer adds no delay.
#[derive(Clone, Copy, Debug)]
enum Heartbeat {
    PingAt(Instant),
    PongBy(Instant),
}

#[derive(Debug)]
struct Namespace {
    name: Arc<str>,
    joined: bool,
}

impl Connection {
    /// A connection whose open packet is sent at `now`.
    pub fn new(limits: Arc<Limits>, now: Instant) -> Self {
        Self {
            heartbeat: Heartbeat::PingAt(now + limits.ping_interval),
            join_by: Some(now + limits.connect_timeout),
            namespaces: Vec::new(),
            incomplete: None,
            events: VecDeque::new(),
            transmit: VecDeque::new(),
            limits,
        }
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
            Engine::Message(text) => self.handle_socket(text, now),
            Engine::Pong => {
                if let Heartbeat::PongBy(_) = self.heartbeat {
                    self.heartbeat = Heartbeat::PingAt(now + self.limits.ping_interval);
                }
                Ok(())
            }
            Engine::Close => Err(Close::Client),
            // Only the server pings in Engine.IO 4; a probe never reaches this place.
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
        let mut incomplete = self.incomplete.take().ok_or(Close::Protocol)?;
        if incomplete.add(data, self.limits.max_attachment_bytes)? {
            let (kind, message) = incomplete.finish();
            self.push_message(kind, message);
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
        match self.heartbeat {
            Heartbeat::PingAt(at) if at <= now => {
                // The answer is due an interval and a timeout after the last one, however late we are.
                self.heartbeat = Heartbeat::PongBy(at + self.limits.ping_timeout);
                self.transmit.push_back(Packet::text("2"));
            }
            _ => {}
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
        match self.heartbeat {
            Heartbeat::PingAt(at) => at + self.limits.ping_timeout <= now,
            Heartbeat::PongBy(by) => by <= now,
        }
    }

    /// When [`Connection::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Instant {
        let heartbeat = match self.heartbeat {
            Heartbeat::PingAt(at) | Heartbeat::PongBy(at) => at,
        };
        let attachments = self.incomplete.as_ref().map(|incomplete| incomplete.deadline());
        [self.join_by, attachments].into_iter().flatten().fold(heartbeat, Instant::min)
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
    /// which is a secret of the transport). Without effect if it no longer asks.
    pub fn accept(&mut self, namespace: &str, sid: &Sid) {
        let Some(entry) = self.namespaces.iter_mut().find(|n| &*n.name == namespace && !n.joined)
        else {
            return;
        };
        entry.joined = true;
        self.join_by = None;
        let payload = format!("{{\"sid\":\"{sid}\"}}");
        self.transmit.push_back(socket::encode('0', namespace, None, &payload));
    }

    /// Refuses a namespace that the client asked for; `data` is JSON.
    pub fn refuse(&mut self, namespace: &str, message: &str, data: Option<&str>) {
        self.namespaces.retain(|n| &*n.name != namespace || n.joined);
        let message = serde_json::Value::from(message);
        let payload = match data {
            Some(data) => format!("{{\"message\":{message},\"data\":{data}}}"),
            None => format!("{{\"message\":{message}}}"),
        };
        self.transmit.push_back(socket::encode('4', namespace, None, &payload));
    }

    /// Sends an event; `payload` is a JSON array, its name first. With attachments, `payload` holds
    /// their placeholders.
    pub fn emit(&mut self, namespace: &str, payload: &str, attachments: &[Bytes]) {
        self.send(('2', '5'), namespace, None, payload, attachments);
    }

    /// Answers the client's event `id`; `payload` is a JSON array.
    pub fn acknowledge(&mut self, namespace: &str, id: u64, payload: &str, attachments: &[Bytes]) {
        self.send(('3', '6'), namespace, Some(id), payload, attachments);
    }

    /// Puts the client out of a namespace; the connection goes on.
    pub fn leave(&mut self, namespace: &str) {
        if self.forget(namespace).is_some() {
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
        let packet = socket::decode(text).map_err(|_| Close::Protocol)?;
        match packet.kind {
            Kind::Connect => self.handle_connect(&packet),
            Kind::Disconnect => {
                if !packet.payload.is_empty() {
                    return Err(Close::Protocol);
                }
                let namespace = self.forget(packet.namespace).ok_or(Close::Protocol)?;
                self.events.push_back(Event::Left { namespace });
                Ok(())
            }
            Kind::Event | Kind::Ack | Kind::BinaryEvent | Kind::BinaryAck => {
                self.handle_message(&packet, now)
            }
            // Only a server refuses.
            Kind::ConnectError => Err(Close::Protocol),
        }
    }

    fn handle_connect(&mut self, packet: &Socket<'_>) -> Result<(), Close> {
        let known = self.namespaces.iter().any(|n| &*n.name == packet.namespace);
        let malformed = !packet.payload.is_empty() && !socket::is_object(packet.payload);
        if known || malformed || packet.ack.is_some() {
            return Err(Close::Protocol);
        }
        if self.namespaces.len() >= self.limits.max_namespaces
            || packet.namespace.len() > MAX_NAMESPACE_LENGTH
        {
            return Err(Close::Protocol);
        }
        let namespace: Arc<str> =
            if packet.namespace == "/" { root() } else { packet.namespace.into() };
        self.namespaces.push(Namespace { name: namespace.clone(), joined: false });
        let auth = (!packet.payload.is_empty()).then(|| packet.payload.into());
        self.events.push_back(Event::Connect { namespace, auth });
        Ok(())
    }

    fn handle_message(&mut self, packet: &Socket<'_>, now: Instant) -> Result<(), Close> {
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
        self.events.push_back(if answer { Event::Ack(message) } else { Event::Event(message) });
    }

    fn forget(&mut self, namespace: &str) -> Option<Arc<str>> {
        let at = self.namespaces.iter().position(|n| n.joined && &*n.name == namespace)?;
        Some(self.namespaces.remove(at).name)
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
        self.transmit.extend(attachments.iter().map(|data| Packet::binary(data)));
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
