//! What any bytes must leave true: one plain function per fuzz target.
//!
//! Each takes any bytes and panics if a property does not hold: what is read can be written and read
//! again, how bytes were split makes no difference, what is built is bounded by what came, and what is
//! sent is well-formed. That nothing else panics is the least of it.
//!
//! The functions know no fuzzer. `fuzz/` runs them under libFuzzer, and `tests/corpus.rs` runs them
//! over the committed corpora with every `make test`. This crate sits above `protocol`, `identity`
//! and `socketio`; nothing of the hub uses it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says what broke by panicking"
)]

mod engine;
mod identity;
mod pickle;
mod session;
mod socket;
mod wire;

pub use engine::{engine_packet, engine_payload, engine_payload_three};
pub use identity::identity;
pub use pickle::pickle;
pub use session::session;
pub use socket::socket_packet;

/// Takes any bytes; panics if what must hold does not.
pub type Target = fn(&[u8]);

/// All targets by name, as in `fuzz/fuzz_targets` and `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("engine_packet", engine_packet),
    ("engine_payload", engine_payload),
    ("engine_payload_three", engine_payload_three),
    ("socket_packet", socket_packet),
    ("session", session),
    ("identity", identity),
    ("pickle", pickle),
];
