//! How one kind of session is read, step by step; the caller does what lies between: it asks the store.

use std::fmt;
use std::time::Duration;

use regex::Regex;

use crate::document::Document;
use crate::unwrap::{self, Layer};
use crate::{Reason, beaker, cookie};

/// The steps for one kind of session.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// How the cookie holds the session id.
    pub id: IdFormat,
    /// The cookie's name.
    pub cookie: String,
    /// What signs it: several during a rotation, the newest first.
    pub secrets: Vec<Secret>,
    /// Whether a cookie without a signature is taken at its word.
    pub allow_unsigned: bool,
    /// What the id must match, before the store is asked; made by [`Recipe::pattern`].
    pub pattern: Option<Regex>,
    /// The store's key; `{id}` stands for the id.
    pub key: String,
    /// How the value is packed, the outermost first.
    pub unwrap: Vec<Layer>,
    /// The path to the user.
    pub user: Vec<String>,
    /// The path to a list of the user's groups; empty: none.
    pub groups: Vec<String>,
    /// The path to the time of last use, in seconds since 1970; counts with `timeout`.
    pub accessed: Vec<String>,
    /// A session is over that long after its last use; zero: never.
    pub timeout: Duration,
    /// The largest value that is looked at, packed or unpacked.
    pub max_bytes: usize,
}

/// How the cookie holds the session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFormat {
    /// The cookie is the id.
    Raw,
    /// Beaker's signed form.
    Beaker,
}

/// A key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// A session id that passed all checks. It is as good as a password: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

/// Whom a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// 1 to 256 bytes, no control characters.
    pub id: String,
    /// Names of groups, each 1 to 256 bytes.
    pub groups: Vec<String>,
}

impl Recipe {
    /// A pattern that the whole id must match.
    ///
    /// # Errors
    /// It is no regular expression.
    pub fn pattern(pattern: &str) -> Result<Regex, regex::Error> {
        Regex::new(&format!("^(?:{pattern})$"))
    }

    /// The session id that a request's Cookie header names.
    ///
    /// # Errors
    /// It names none that could be the application's.
    pub fn session_id(&self, header: Option<&str>) -> Result<SessionId, Reason> {
        let value = cookie::value(header, &self.cookie)?;
        let id = match self.id {
            IdFormat::Raw => value,
            IdFormat::Beaker if self.secrets.is_empty() && self.allow_unsigned => value,
            IdFormat::Beaker => beaker::verify(value, &self.secrets)?,
        };
        // A signature proves who wrote it, not that it is harmless in a key.
        let plain =
            !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        let matches = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
        if plain && matches { Ok(SessionId(id.to_owned())) } else { Err(Reason::BadId) }
    }

    /// Where the store keeps that session.
    pub fn store_key(&self, id: &SessionId) -> String {
        self.key.replace("{id}", &id.0)
    }

    /// The user of a stored value, or of its absence, at `now`, since 1970.
    ///
    /// # Errors
    /// It names none.
    pub fn user(&self, value: Option<&[u8]>, now: Duration) -> Result<User, Reason> {
        let value = value.ok_or(Reason::NoSession)?;
        let document = unwrap::unwrap(value, &self.unwrap, self.max_bytes)?;
        if !self.timeout.is_zero() {
            let accessed = document.number(&self.accessed).ok_or(Reason::Corrupt)?;
            // Not a number is never recent; neither is infinity a time.
            let idle = now.as_secs_f64() - accessed;
            if !idle.is_finite() || idle > self.timeout.as_secs_f64() {
                return Err(Reason::Expired);
            }
        }
        let id = document.name(&self.user).filter(|id| valid(id)).ok_or(Reason::NoUser)?;
        let mut groups = Vec::new();
        if !self.groups.is_empty() {
            groups = document.names(&self.groups);
            groups.retain(|group| valid(group));
        }
        Ok(User { id, groups })
    }

    /// The stored value as far as it can be read; for showing what is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn document(&self, value: &[u8]) -> Result<Document, Reason> {
        unwrap::unwrap(value, &self.unwrap, self.max_bytes)
    }
}

/// Bytes; what no application's ids reach.
const MAX_ID: usize = 256;

fn valid(name: &str) -> bool {
    (1..=256).contains(&name.len()) && !name.chars().any(char::is_control)
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

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}
