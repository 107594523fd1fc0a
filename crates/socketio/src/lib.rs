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
mod config;
mod handle;
mod handshake;
mod origin;
mod polling;
mod server;
mod session;
mod transport;
mod upgrade;

pub use application::{Admission, Application, Denial, Request};
pub use config::Config;
pub use handle::{Handle, Undeliverable};
pub use handshake::Handshake;
pub use origin::Origins;
pub use protocol::{Close, Event, Limits, Message, Packet};
pub use server::{Server, Snapshot, Worker};
