//! Who is this? Session formats as values: bytes, keys and the time in, a user or a named refusal out.
//!
//! ```text
//! Cookie header ──▶ id, verified ──▶ key ──▶ (the caller asks the store) ──▶ layers ──▶ path ──▶ user
//!   [`cookie`]       [`Recipe::session_id`]  [`Recipe::lookup`]              [`unwrap`]  [`document`]
//! ```
//!
//! There is no I/O and no clock here. Everything comes from outside: cookies from strangers, values
//! from a store that a compromised application may write. So each step is bounded in memory and time,
//! nothing recurses over input, nothing is executed, and secrets are compared in constant time.

mod beaker;
mod cookie;
mod document;
mod pickle;
mod reason;
mod recipe;
mod unwrap;

pub use beaker::BeakerKeys;
pub use document::Document;
pub use reason::Reason;
pub use recipe::{IdFormat, Lookup, Recipe, Secret, SessionId, User};
pub use regex::Regex as Pattern;
pub use unwrap::Layer;

/// The pickle reader alone, for differential tests against other readers.
pub mod pickles {
    pub use crate::pickle::{Node, NodeId, Pickle, read};
}
