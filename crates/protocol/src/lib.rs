//! Engine.IO 4 and 3, Socket.IO 5 and 4, as values: bytes and the time in, packets and events out.
//!
//! There is no networking here, no clock, no task and no randomness: the caller brings received
//! packets, the time and session ids, and carries out what it is told. That makes the protocol
//! testable to the byte, and keeps everything that a stranger sends in one small place.
//!
//! - [`engine`]: Engine.IO packets, polling payloads, and the answers to a bad handshake.
//! - [`socket`]: Socket.IO packets on top of them.
//! - [`Connection`]: one connection's state: heartbeat, namespaces, attachments, limits.
//! - [`Packet`]: an outgoing packet, framed once and shared by every transport that sends it.
//! - [`Close`]: every way in which a connection ends.
//!
//! It sits below `socketio`, which adds transports and actors, and knows nothing above it.

mod close;
mod connection;
pub mod engine;
mod packet;
mod sid;
pub mod socket;

pub use close::Close;
pub use connection::{Connection, Data, Event, Limits, Message};
pub use packet::Packet;
pub use sid::Sid;
