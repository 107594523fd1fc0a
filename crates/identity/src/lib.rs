//! Who is this? Session formats as values: bytes, keys and the time in, a user or a named refusal out.
//!
//! ```text
//! cookies ──▶ credential ──▶ id, verified ──▶ key ──▶ (the caller asks the store) ──▶ layers ──▶ path ──▶ user
//!      [`Recipe::credential`]  [`Recipe::lookup`]                                     [`Recipe::user`]
//! ```
//!
//! There is no I/O and no clock here. Everything comes from outside: cookies from strangers, values
//! from a store that a compromised application may write. So each step is bounded in memory and time,
//! nothing recurses over input, nothing is executed, and secrets are compared in constant time.

mod auth_tkt;
mod beaker;
mod cookie;
mod credential;
mod document;
mod express;
mod itsdangerous;
mod jwt;
mod msgpack;
mod percent;
mod pickle;
mod reason;
mod recipe;
mod token;
mod unwrap;
mod when;

pub use auth_tkt::{Digest, Tickets};
pub use beaker::BeakerKeys;
pub use credential::{Credential, Credentials, Secret};
pub use document::Document;
pub use jwt::{Algorithm, KeyError, PublicKey, Tokens, keys_from_jwks, keys_from_pem};
pub use percent::decode as percent_decoded;
pub use reason::Reason;
pub use recipe::{IdFormat, Lookup, Recipe, User};
pub use regex::Regex as Pattern;
pub use token::token;
pub use unwrap::Layer;

/// The pickle reader alone, for differential tests against other readers.
pub mod pickles {
    pub use crate::pickle::{Node, NodeId, Pickle, read};
}
