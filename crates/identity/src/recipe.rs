//! How one kind of session is read, step by step; the caller does what lies between: it asks the store.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::document::Document;
use crate::unwrap::{self, Layer};
use crate::{Reason, beaker, cookie};

/// The steps for one kind of session.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// How the cookie holds the session id, or the session.
    pub id: IdFormat,
    /// The cookie's name.
    pub cookie: String,
    /// What signs it: several during a rotation, the newest first.
    pub secrets: Vec<Secret>,
    /// Whether a session id without a signature is taken at its word.
    pub allow_unsigned: bool,
    /// What the id must match, before the store is asked; made by [`Recipe::pattern`].
    pub pattern: Option<Regex>,
    /// The store's key; `{id}` stands for the id. A session in its cookie needs none.
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

/// How the cookie holds the session id, or the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFormat {
    /// The cookie is the id.
    Raw,
    /// Beaker's signed form.
    Beaker,
    /// The same form around the session itself: there is no store, and no way to revoke it.
    BeakerCookie,
}

/// A key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// A session id that passed all checks, or a session that was its own cookie. It is as good as a
/// password: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(Arc<str>);

/// Where the value of a session is. As good as a password, too.
#[derive(PartialEq, Eq)]
pub enum Lookup<'a> {
    /// In the store, under this key.
    Key(String),
    /// Here: nobody needs to be asked.
    Value(&'a [u8]),
}

/// Whom a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// 1 to 256 bytes, no control characters.
    pub id: String,
    /// Names of groups, each once and of 1 to 256 bytes; at most 1000.
    pub groups: Vec<String>,
}

impl Recipe {
    /// A pattern that the whole id must match.
    ///
    /// # Errors
    /// It is no regular expression.
    pub fn pattern(pattern: &str) -> Result<Regex, regex::Error> {
        // It must be one by itself: "a)|(b" would be two within the brackets, each half anchored.
        Regex::new(pattern)?;
        Regex::new(&format!("^(?:{pattern})$"))
    }

    /// The session id, or the session, that a request's Cookie header names.
    ///
    /// # Errors
    /// It names none that could be the application's.
    pub fn session_id(&self, header: Option<&str>) -> Result<SessionId, Reason> {
        let value = cookie::value(header, &self.cookie)?;
        let id = match self.id {
            IdFormat::Raw => value,
            IdFormat::Beaker if self.secrets.is_empty() && self.allow_unsigned => value,
            IdFormat::Beaker | IdFormat::BeakerCookie => beaker::verify(value, &self.secrets)?,
        };
        let longest = if self.id == IdFormat::BeakerCookie { MAX_SESSION } else { MAX_ID };
        // A signature proves who wrote it, not that it is harmless in a key.
        let plain =
            !id.is_empty() && id.len() <= longest && id.bytes().all(|byte| byte.is_ascii_graphic());
        let matches = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
        if plain && matches { Ok(SessionId(id.into())) } else { Err(Reason::BadId) }
    }

    /// Where that session is.
    pub fn lookup<'a>(&self, id: &'a SessionId) -> Lookup<'a> {
        match self.id {
            IdFormat::Raw | IdFormat::Beaker => Lookup::Key(self.key.replace("{id}", &id.0)),
            IdFormat::BeakerCookie => Lookup::Value(id.0.as_bytes()),
        }
    }

    /// A key like those of sessions, of nobody's: whether it can be read shows whether they can. A
    /// session in its cookie has none.
    pub fn probe_key(&self) -> Option<String> {
        (self.id != IdFormat::BeakerCookie).then(|| self.key.replace("{id}", "pregon-probe"))
    }

    /// The user of a session's value, or of its absence, at `now`, since 1970.
    ///
    /// # Errors
    /// It names none.
    pub fn user(&self, value: Option<&[u8]>, now: Duration) -> Result<User, Reason> {
        let value = value.ok_or(Reason::NoSession)?;
        let document = unwrap::unwrap(value, &self.unwrap, self.max_bytes)?;
        // First, since a logout in Beaker takes the user and the time of last use away.
        let id = document.name(&self.user).filter(|id| valid(id)).ok_or(Reason::NoUser)?;
        if !self.timeout.is_zero() {
            let accessed = document.number(&self.accessed).ok_or(Reason::Corrupt)?;
            // Not a number is never recent; neither is infinity a time.
            let idle = now.as_secs_f64() - accessed;
            if !idle.is_finite() || idle > self.timeout.as_secs_f64() {
                return Err(Reason::Expired);
            }
        }
        let groups = if self.groups.is_empty() { Vec::new() } else { self.groups(&document)? };
        Ok(User { id, groups })
    }

    fn groups(&self, document: &Document) -> Result<Vec<String>, Reason> {
        let mut groups = BTreeSet::new();
        for group in document.names(&self.groups).filter(|group| valid(group)) {
            if groups.contains(&*group) {
                continue;
            }
            if groups.len() == GROUPS {
                return Err(Reason::TooLarge);
            }
            groups.insert(group.into_owned());
        }
        Ok(groups.into_iter().collect())
    }
}

/// Bytes; what no application's ids reach.
const MAX_ID: usize = 256;

/// Bytes; Beaker makes no cookie of more than 4064, nor would browsers keep it.
const MAX_SESSION: usize = 4_096;

/// Every connection joins all its groups.
const GROUPS: usize = 1_000;

fn valid(name: &str) -> bool {
    (1..=256).contains(&name.len()) && !name.chars().any(char::is_control)
}

impl Lookup<'_> {
    /// What tells this session from others of the same recipe.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Key(key) => key.as_bytes(),
            Self::Value(value) => value,
        }
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

impl fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Value(_) => "Value(…)",
        })
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hmac::{Hmac, Mac as _};

    use super::*;

    fn in_cookies() -> Recipe {
        Recipe {
            id: IdFormat::BeakerCookie,
            cookie: "sid".to_owned(),
            secrets: vec![Secret::new(b"new").unwrap(), Secret::new(b"old").unwrap()],
            allow_unsigned: false,
            pattern: None,
            key: String::new(),
            unwrap: vec![Layer::Base64, Layer::Json],
            user: vec!["user".to_owned()],
            groups: Vec::new(),
            accessed: Vec::new(),
            timeout: Duration::ZERO,
            max_bytes: 256 << 10,
        }
    }

    fn cookie(secret: &[u8], session: &str) -> String {
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret).unwrap();
        mac.update(session.as_bytes());
        format!("sid={}{session}", hex::encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn pattern_matches_the_whole_id() {
        let pattern = Recipe::pattern("a|b").unwrap();
        for (id, matches) in [("a", true), ("b", true), ("ab", false), ("a\n", false), ("", false)]
        {
            assert_eq!(pattern.is_match(id), matches, "{id:?}");
        }
        for broken in ["a)|(b", "(", "[0-9"] {
            assert!(Recipe::pattern(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn groups_are_names_each_once_and_not_too_many() {
        let recipe = Recipe { groups: vec!["groups".to_owned()], ..in_cookies() };
        let groups = |list: &str| {
            let session = STANDARD.encode(format!(r#"{{"user": 77, "groups": {list}}}"#));
            recipe.user(Some(session.as_bytes()), Duration::ZERO).map(|user| user.groups)
        };
        assert_eq!(
            groups(r#"["b", 7, "a", "7", "b", null, "", 1.5, ["c"]]"#).unwrap(),
            ["7", "a", "b"]
        );
        assert_eq!(groups(r#""a""#).unwrap(), Vec::<String>::new());
        let list = |n| format!("{:?}", (0..n).collect::<Vec<_>>());
        assert_eq!(groups(&list(1_000)).unwrap().len(), 1_000);
        assert_eq!(groups(&list(1_001)), Err(Reason::TooLarge));
    }

    #[test]
    fn one_long_text_many_times_is_little() {
        let mut recipe = in_cookies();
        recipe.unwrap = vec![Layer::Pickle];
        recipe.groups = vec!["groups".to_owned()];
        // A list of 60000 references to one text of 128 KiB: eight gigabytes, if each became a text.
        let text = [&b"X\x00\x00\x02\x00"[..], &[b'g'; 128 << 10], b"\x940"].concat();
        let list =
            [&b"}(U\x04userK\x07U\x06groups]("[..], &b"h\x00".repeat(60_000), b"eu."].concat();
        let user = recipe.user(Some(&[text, list].concat()), Duration::ZERO).unwrap();
        assert_eq!(user, User { id: "7".to_owned(), groups: Vec::new() });
    }

    #[test]
    fn session_in_its_cookie_needs_no_store() {
        let recipe = in_cookies();
        let session = STANDARD.encode(r#"{"user": 77}"#);
        let id = recipe.session_id(Some(&cookie(b"old", &session))).unwrap();
        assert_eq!(recipe.lookup(&id), Lookup::Value(session.as_bytes()));
        assert_eq!(recipe.user(Some(session.as_bytes()), Duration::ZERO).unwrap().id, "77");
        assert_eq!(format!("{id:?} {:?}", recipe.lookup(&id)), "SessionId(…) Value(…)");
    }

    #[test]
    fn session_in_its_cookie_is_signed_and_short() {
        let mut recipe = in_cookies();
        let session = STANDARD.encode(r#"{"user": 77}"#);
        let long = "A".repeat(4_096);
        let longer = "A".repeat(4_097);
        let cases = [
            (cookie(b"new", &long), None),
            (cookie(b"new", &longer), Some(Reason::BadId)),
            (cookie(b"new", ""), Some(Reason::BadId)),
            (cookie(b"other", &session), Some(Reason::BadSignature)),
            (format!("sid={session}"), Some(Reason::Malformed)),
            (format!("sid={}{session}", "0".repeat(40)), Some(Reason::BadSignature)),
        ];
        for (cookie, refused) in &cases {
            assert_eq!(recipe.session_id(Some(cookie)).err(), *refused, "{cookie}");
        }
        // Whoever could leave the signature out could be anybody.
        recipe.secrets.clear();
        recipe.allow_unsigned = true;
        for (cookie, _) in &cases {
            assert!(recipe.session_id(Some(cookie)).is_err(), "{cookie}");
        }
    }
}
