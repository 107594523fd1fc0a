//! A WebSocket from its bytes to the application: frames, the connection behind them, and an
//! application that does what the input says.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::engine::{self, Received, Revision};
use protocol::socket::{self, Kind};
use protocol::{Close, Connection, Data, Event, Limits, Message, Packet, Sid};
use serde_json::value::RawValue;
use socketio::fuzzing::{Frames, Input};

use crate::socket::read;
use crate::wire::{Script, check_frame, frame};

/// A script of bytes, frames, time, and what an application does meanwhile. Queues stay bounded, what
/// is sent is well-formed, nothing is heard after an end, and byte by byte all happens as at once.
pub fn session(data: &[u8]) {
    let mut script = Script(data);
    let kind = script.byte().unwrap_or_default();
    let at_once = Play::new(kind, usize::MAX).run(Script(script.0));
    let by_byte = Play::new(kind, 1).run(Script(script.0));
    assert_eq!(at_once, by_byte);
}

/// All that went out of the connection.
#[derive(Debug, Default, PartialEq)]
struct Trace {
    events: Vec<Event>,
    sent: Vec<Packet>,
    end: Option<Close>,
}

struct Play {
    limits: Arc<Limits>,
    revision: Revision,
    bare: bool,
    chunk: usize,
    frames: Frames,
    connection: Connection,
    now: Instant,
    /// What the application must believe of the connection.
    asked: VecDeque<Arc<str>>,
    joined: BTreeSet<Arc<str>>,
    /// Attachments that the packet sent last still promises.
    promised: usize,
    trace: Trace,
}

impl Play {
    /// `kind` chooses among the protocols that a connection may speak.
    fn new(kind: u8, chunk: usize) -> Self {
        let limits = Arc::new(Limits {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            max_payload: if kind & 4 == 0 { 150 } else { 20 },
            max_attachments: 3,
            max_attachment_bytes: 100,
            attachment_timeout: Duration::from_secs(30),
            max_unanswered: 2,
            max_namespaces: 3,
            packet_rate: 0,
        });
        let revision = if kind & 1 == 0 { Revision::Four } else { Revision::Three };
        let bare = kind & 2 != 0;
        let now = origin();
        let connection = if bare {
            Connection::engine_only(limits.clone(), revision, now)
        } else {
            Connection::new(limits.clone(), revision, now)
        };
        Self {
            frames: Frames::new(&[], limits.max_payload),
            limits,
            revision,
            bare,
            chunk,
            connection,
            now,
            asked: VecDeque::new(),
            joined: BTreeSet::new(),
            promised: 0,
            trace: Trace::default(),
        }
    }

    fn run(mut self, mut script: Script<'_>) -> Trace {
        self.settle(1);
        while let Some(order) = script.byte() {
            if let Err(close) = self.obey(order, &mut script) {
                assert_eq!(self.connection.poll_event(), None, "heard after the end: {close}");
                self.trace.end = Some(close);
                break;
            }
        }
        self.trace
    }

    fn obey(&mut self, order: u8, script: &mut Script<'_>) -> Result<(), Close> {
        match order % 14 {
            0 => self.feed(script.bytes())?,
            1 => self.feed(&frame(0x81, script.bytes()))?,
            2 => self.feed(&frame(0x82, script.bytes()))?,
            3 => {
                let (first, last) = halves(script.bytes());
                let ping = frame(0x89, b"between");
                self.feed(&[frame(0x01, first), ping, frame(0x80, last)].concat())?;
            }
            4 => self.feed(&frame(0x89, script.bytes()))?,
            5 => self.wait(Duration::from_secs(script.byte().unwrap_or_default().into()))?,
            6 => {
                let until = self.connection.poll_timeout().saturating_duration_since(self.now);
                self.wait(until)?;
            }
            7 => {
                if let Some(namespace) = self.asked.pop_front() {
                    self.connection.accept(&namespace, &Sid::new([7; 15]), pid(order));
                    assert!(self.connection.joined(&namespace));
                    self.joined.insert(namespace);
                }
            }
            8 => {
                let message = String::from_utf8_lossy(script.bytes());
                if let Some(namespace) = self.asked.pop_front() {
                    let data = (order & 16 != 0).then_some("{\"reason\":\"no_user\"}");
                    self.connection.refuse(&namespace, &message, data);
                    assert!(!self.connection.joined(&namespace));
                }
            }
            9 => self.tell(None, script),
            10 => self.tell(Some(order.into()), script),
            11 => {
                if let Some(namespace) = self.joined.pop_last() {
                    self.connection.leave(&namespace, self.now);
                    assert!(!self.connection.joined(&namespace));
                }
            }
            12 => {
                // What nobody asked for, or has already left.
                let name = String::from_utf8_lossy(script.bytes());
                if !self.asked.iter().any(|asked| **asked == *name) {
                    self.connection.accept(&name, &Sid::new([8; 15]), None);
                    assert_eq!(self.connection.joined(&name), self.joined.contains(&*name));
                    assert_eq!(self.connection.poll_transmit(), None);
                }
            }
            _ => {
                let data = Bytes::copy_from_slice(script.bytes());
                let text = String::from_utf8_lossy(&data).into_owned();
                if self.bare {
                    self.connection.message(&Data::Text(text.into()));
                    self.connection.message(&Data::Binary(data));
                }
            }
        }
        self.settle(8);
        Ok(())
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), Close> {
        for bytes in bytes.chunks(self.chunk.min(bytes.len()).max(1)) {
            self.frames.extend(bytes);
            while let Some(input) = self.frames.next_input()? {
                self.receive(input)?;
                self.settle(1);
            }
            // A frame and its header, and the fragments before it.
            let held = self.frames.held();
            assert!(held <= 2 * self.limits.max_payload + 14, "{held} bytes held");
        }
        Ok(())
    }

    /// As a session does.
    fn receive(&mut self, input: Input) -> Result<(), Close> {
        match input {
            Input::Text(data) => {
                let text = std::str::from_utf8(&data).map_err(|_| Close::Protocol)?;
                self.connection.handle_text(text, self.now)
            }
            Input::Binary(data) => self.connection.handle_binary(&data),
            Input::Ping(data) => {
                assert_eq!(check_frame(&Packet::pong(&data)), 10);
                assert!(data.len() <= 125, "a control frame is short (RFC 6455 §5.5)");
                Ok(())
            }
            Input::Close => Err(Close::Client),
        }
    }

    fn wait(&mut self, time: Duration) -> Result<(), Close> {
        self.now += time;
        let expired = self.connection.expired(self.now);
        let outcome = self.connection.handle_timeout(self.now);
        if expired {
            assert_eq!(outcome, Err(Close::PingTimeout));
        }
        outcome?;
        // Or its timer would fire for ever.
        assert!(self.connection.poll_timeout() > self.now);
        Ok(())
    }

    fn tell(&mut self, ack: Option<u64>, script: &mut Script<'_>) {
        let count = usize::from(script.byte().unwrap_or_default() % 4);
        let bytes = script.bytes();
        let Some(namespace) = self.joined.first() else { return };
        let text = serde_json::Value::from(String::from_utf8_lossy(bytes).into_owned());
        let attachments = vec![Bytes::copy_from_slice(bytes); count];
        match ack {
            None => self.connection.emit(namespace, &format!("[\"e\",{text}]"), &attachments),
            Some(id) if id >= 128 => {
                self.connection.ask(namespace, id, &format!("[\"e\",{text}]"), &attachments);
            }
            Some(id) => {
                self.connection.acknowledge(namespace, id, &format!("[{text}]"), &attachments);
            }
        }
    }

    /// Takes what came of one step: at most one event, and at most so many packets.
    fn settle(&mut self, most: usize) {
        let mut events = 0;
        while let Some(event) = self.connection.poll_event() {
            events += 1;
            self.hear(&event);
            self.trace.events.push(event);
        }
        let mut packets = 0;
        while let Some(packet) = self.connection.poll_transmit() {
            packets += 1;
            self.check(&packet);
            self.trace.sent.push(packet);
        }
        assert!(events <= 1 && packets <= most, "{events} events and {packets} packets at once");
        assert_eq!(self.promised, 0, "attachments that do not follow");
        assert!(self.asked.len() + self.joined.len() <= self.limits.max_namespaces);
    }

    fn hear(&mut self, event: &Event) {
        assert_eq!(self.bare, matches!(event, Event::Data(_)), "{event:?}");
        match event {
            Event::Connect { namespace, auth } => {
                assert!(namespace.starts_with('/') && namespace.len() <= 256, "{namespace:?}");
                assert!(!self.asked.contains(namespace) && !self.joined.contains(namespace));
                assert!(auth.as_ref().is_none_or(|auth| socket::is_object(auth)), "{auth:?}");
                self.asked.push_back(namespace.clone());
            }
            Event::Event(message) => {
                let name = message.name.as_deref().expect("a name");
                assert!(!RESERVED.contains(&name), "{name:?}");
                self.hear_message(message);
            }
            Event::Ack(message) => {
                assert!(message.name.is_none() && message.ack.is_some(), "{message:?}");
                self.hear_message(message);
            }
            Event::Excess { namespace, .. } => assert!(self.joined.contains(namespace)),
            Event::Left { namespace } => {
                assert!(self.joined.remove(namespace), "left {namespace:?} twice");
                assert!(!self.connection.joined(namespace));
            }
            Event::Data(Data::Text(text)) => assert!(text.len() <= self.limits.max_payload),
            Event::Data(Data::Binary(data)) => assert!(data.len() <= self.limits.max_payload),
        }
    }

    fn hear_message(&self, message: &Message) {
        assert!(self.joined.contains(&message.namespace), "{message:?}");
        let all: Vec<&RawValue> = serde_json::from_str(&message.payload).expect("an array");
        let name = usize::from(message.name.is_some());
        assert_eq!(message.args().len() + name, all.len(), "{message:?}");
        assert!(message.attachments.len() <= self.limits.max_attachments);
        let bytes: usize = message.attachments.iter().map(Bytes::len).sum();
        assert!(bytes <= self.limits.max_attachment_bytes, "{bytes} bytes attached");
    }

    fn check(&mut self, packet: &Packet) {
        let opcode = check_frame(packet);
        if packet.is_binary() {
            assert_eq!(opcode, 2);
            if self.revision == Revision::Three {
                assert_eq!(packet.body().first(), Some(&engine::three::MESSAGE));
            }
            if !self.bare {
                self.promised = self.promised.checked_sub(1).expect("a promise of attachments");
            }
            return;
        }
        assert_eq!((opcode, self.promised), (1, 0), "{packet:?}");
        let text = std::str::from_utf8(packet.body()).unwrap();
        match engine::decode(text).unwrap() {
            Received::Ping("") => assert_eq!(self.revision, Revision::Four),
            Received::Pong => assert_eq!(self.revision, Revision::Three),
            Received::Message(_) if self.bare => {}
            Received::Message(_) => self.check_socket(packet),
            other => panic!("sent {other:?}"),
        }
    }

    fn check_socket(&mut self, packet: &Packet) {
        let sent = read(packet);
        self.promised = sent.attachments;
        let well_formed = match sent.kind {
            Kind::Connect if self.revision == Revision::Three => sent.payload.is_empty(),
            Kind::Connect => socket::is_object(sent.payload),
            Kind::Disconnect => sent.payload.is_empty(),
            Kind::Event | Kind::BinaryEvent => socket::event_name(sent.payload).is_ok(),
            Kind::Ack | Kind::BinaryAck => sent.ack.is_some() && socket::is_array(sent.payload),
            Kind::ConnectError if self.revision == Revision::Three => {
                serde_json::from_str::<&RawValue>(sent.payload).is_ok()
            }
            Kind::ConnectError => socket::is_object(sent.payload),
        };
        assert!(well_formed, "{packet:?}");
    }
}

/// What the stock client raises itself.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.len() / 2)
}

fn pid(order: u8) -> Option<&'static str> {
    (order & 16 != 0).then_some("a \"pid\"")
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of time here")]
    *ORIGIN.get_or_init(Instant::now)
}
