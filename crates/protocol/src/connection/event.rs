//! What a connection tells the application.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

/// What the client wants from the application.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It asks to join a namespace: answer with [`crate::Connection::accept`] or
    /// [`crate::Connection::refuse`].
    Connect {
        /// The namespace, `/` for the root.
        namespace: Arc<str>,
        /// The JSON object that it sent along, if any.
        auth: Option<Box<str>>,
    },
    /// It sent an event.
    Event(Message),
    /// It sent an event too many ([`crate::Limits::packet_rate`]), which is dropped.
    Excess {
        /// Where it was sent.
        namespace: Arc<str>,
        /// The acknowledgement that it asks for.
        ack: Option<u64>,
    },
    /// It answered an event.
    Ack(Message),
    /// It sent a message; only on a connection without Socket.IO.
    Data(Data),
    /// It left a namespace; the connection goes on.
    Left {
        /// The namespace.
        namespace: Arc<str>,
    },
}

/// A message without Socket.IO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Text.
    Text(Box<str>),
    /// Bytes.
    Binary(Bytes),
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
