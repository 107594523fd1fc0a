//! What a client shows, the part of it that one recipe reads, and the secrets that it is judged by.

use core::net::IpAddr;
use std::fmt;
use std::sync::Arc;

/// What a client shows of itself; each recipe reads its own part of it.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The Cookie header; several of them joined by "; ".
    pub cookies: Option<&'a str>,
    /// The token in the client's `auth`, where the settings say that there is one ([`crate::token`]).
    pub token: Option<&'a str>,
    /// The client's address; what is known of it by trusted proxies.
    pub remote: Option<IpAddr>,
}

/// What a recipe reads of a client's [`Credentials`], not judged yet. Whoever follows a session keeps
/// it, and all checks are made again with it. It is as good as a password: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The cookie's value or the token; if the recipe binds it to an address, that behind it.
    bytes: Arc<[u8]>,
    /// Where the address begins.
    end: usize,
    remote: Option<IpAddr>,
}

/// A key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Credential {
    pub(crate) fn new(value: &str, remote: Option<IpAddr>) -> Self {
        // No address has a NUL in it, so the last one is where it begins.
        let address = remote.map(|remote| format!("\0{remote}")).unwrap_or_default();
        let bytes = [value.as_bytes(), address.as_bytes()].concat().into();
        Self { bytes, end: value.len(), remote }
    }

    /// What tells it from others of the same recipe.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn value(&self) -> &str {
        self.bytes.get(..self.end).and_then(|value| str::from_utf8(value).ok()).unwrap_or_default()
    }

    /// The address that it must come from; nothing, if any will do or none is known.
    pub(crate) fn remote(&self) -> Option<IpAddr> {
        self.remote
    }
}

impl Secret {
    /// A key of any length but nothing.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self(bytes.into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}
