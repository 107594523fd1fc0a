//! A Socket.IO server for actix: one actor a connection; an application implements one trait.
//!
//! It carries packets between browsers and an [`Application`]: long-polling, WebSocket and the move
//! from the first to the second, heartbeats, limits, and an end with a name for every connection.
//! It knows nothing of users, notifications or stores, and the protocol itself is in the crate
//! `protocol`, free of I/O.
//!
//! ```text
//! browser ── HTTP ───▶ polling ─┐  Get, Post       ┌──────────────────────┐  connect, event, left
//!         ── upgrade ▶ upgrade ─┴─────── Attach ──▶│ Session (one actor)  │───────▶ Application
//!         ◀───────────────────── packets ──────────│ Connection + Transport│◀─────── Handle
//!                                                  └──────────────────────┘
//! ```
//!
//! A server is made once ([`Server::new`]); each HTTP worker makes its own [`Worker`] from it, with
//! its own value of the application, and mounts [`Worker::configure`] and [`Worker::upgrade`].

mod application;
mod bond;
mod config;
mod doorway;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod handshake;
mod io;
mod limiter;
mod origin;
mod polling;
mod rooms;
mod serve;
mod server;
mod session;
mod transport;
mod upgrade;

pub use application::{Admission, Application, Denial, Missed, Request, Resumption};
pub use config::Config;
pub use doorway::attend;
pub use handle::{Handle, Undeliverable};
pub use handshake::Handshake;
pub use io::Io;
pub use limiter::Limit;
pub use origin::Origins;
pub use protocol::{Close, Data, Event, Limits, Message, Packet, Sid};
pub use rooms::{Audience, Kept, Memory, Rooms, Saved, Seat, Store};
pub use serve::serve;
pub use server::{Server, Snapshot, Worker};
pub use upgrade::{Mount, upgrade};

/// The README's example is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
