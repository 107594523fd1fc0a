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

/// What a client shows of itself; each recipe reads its own part of it.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The Cookie header; several of them joined by "; ".
    pub cookies: Option<&'a str>,
}

/// What a recipe reads of a client's [`Credentials`], not judged yet. Whoever follows a session keeps
/// it, and all checks are made again with it. It is as good as a password: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Arc<str>);

/// Where the session of a good credential is.
#[derive(PartialEq, Eq)]
pub enum Lookup {
    /// In the store, under this key; as good as a password, too.
    Key(String),
    /// In the credential itself: nobody needs to be asked.
    User(User),
}

/// Whom a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// 1 to 256 bytes, no control characters.
    pub id: String,
    /// Names of groups, each once and of 1 to 256 bytes; at most 1000.
    pub groups: Vec<String>,
    /// When the session is over if nothing prolongs it, since 1970; nothing: that is not known.
    pub expires: Option<Duration>,
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

    /// What the client shows that this recipe reads.
    ///
    /// # Errors
    /// There is none, or there are two.
    pub fn credential(&self, shown: &Credentials<'_>) -> Result<Credential, Reason> {
        cookie::value(shown.cookies, &self.cookie).map(|value| Credential(value.into()))
    }

    /// Judges a credential at `now`, since 1970: its signature first, then the id that it holds.
    ///
    /// # Errors
    /// It is not the application's, or no longer good.
    pub fn lookup(&self, credential: &Credential, now: Duration) -> Result<Lookup, Reason> {
        let value = &*credential.0;
        let id = match self.id {
            IdFormat::Raw => value,
            IdFormat::Beaker if self.secrets.is_empty() && self.allow_unsigned => value,
            IdFormat::Beaker | IdFormat::BeakerCookie => beaker::verify(value, &self.secrets)?,
        };
        let longest = if self.has_store() { MAX_ID } else { MAX_SESSION };
        // A signature proves who wrote it, not that it is harmless in a key.
        let plain =
            !id.is_empty() && id.len() <= longest && id.bytes().all(|byte| byte.is_ascii_graphic());
        let matches = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
        if !(plain && matches) {
            return Err(Reason::BadId);
        }
        match self.id {
            IdFormat::Raw | IdFormat::Beaker => Ok(Lookup::Key(self.key.replace("{id}", id))),
            IdFormat::BeakerCookie => self.user(Some(id.as_bytes()), now).map(Lookup::User),
        }
    }

    /// Whether the sessions are in a store, and not in the credentials themselves.
    pub fn has_store(&self) -> bool {
        match self.id {
            IdFormat::Raw | IdFormat::Beaker => true,
            IdFormat::BeakerCookie => false,
        }
    }

    /// A key like those of sessions, of nobody's: whether it can be read shows whether they can.
    pub fn probe_key(&self) -> Option<String> {
        self.has_store().then(|| self.key.replace("{id}", "pregon-probe"))
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
        let mut expires = None;
        if !self.timeout.is_zero() {
            let accessed = document.number(&self.accessed).ok_or(Reason::Corrupt)?;
            // Not a number is never recent; neither is infinity a time.
            let idle = now.as_secs_f64() - accessed;
            if !idle.is_finite() || idle > self.timeout.as_secs_f64() {
                return Err(Reason::Expired);
            }
            let over = accessed + self.timeout.as_secs_f64();
            expires = Duration::try_from_secs_f64(over).ok();
        }
        let groups = if self.groups.is_empty() { Vec::new() } else { self.groups(&document)? };
        Ok(User { id, groups, expires })
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

impl Credential {
    /// What tells it from others of the same recipe.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
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

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => f.write_str("Key(…)"),
            Self::User(user) => user.fmt(f),
        }
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
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
        assert_eq!(user, User { id: "7".to_owned(), groups: Vec::new(), expires: None });
    }

    fn judge(recipe: &Recipe, cookies: &str) -> Result<Lookup, Reason> {
        let credential = recipe.credential(&Credentials { cookies: Some(cookies) })?;
        recipe.lookup(&credential, Duration::ZERO)
    }

    #[test]
    fn session_in_its_cookie_needs_no_store() {
        let recipe = in_cookies();
        let cookies = cookie(b"old", &STANDARD.encode(r#"{"user": 77}"#));
        let user = User { id: "77".to_owned(), groups: Vec::new(), expires: None };
        assert_eq!(judge(&recipe, &cookies), Ok(Lookup::User(user)));
        let credential = recipe.credential(&Credentials { cookies: Some(&cookies) }).unwrap();
        assert_eq!(
            format!("{credential:?} {:?}", Lookup::Key("x".to_owned())),
            "Credential(…) Key(…)"
        );
    }

    #[test]
    fn session_in_its_cookie_is_signed_and_short() {
        let mut recipe = in_cookies();
        let session = STANDARD.encode(r#"{"user": 77}"#);
        // Blanks around base64 are no harm, but make a session as long as one likes.
        let long = STANDARD.encode(format!(r#"{{"user": 77}}{}"#, " ".repeat(3_060)));
        assert_eq!(long.len(), 4_096);
        let cases = [
            (cookie(b"new", &long), None),
            (cookie(b"new", &format!("{long}A")), Some(Reason::BadId)),
            (cookie(b"new", ""), Some(Reason::BadId)),
            (cookie(b"other", &session), Some(Reason::BadSignature)),
            (format!("sid={session}"), Some(Reason::Malformed)),
            (format!("sid={}{session}", "0".repeat(40)), Some(Reason::BadSignature)),
        ];
        for (cookie, refused) in &cases {
            assert_eq!(judge(&recipe, cookie).err(), *refused, "{cookie}");
        }
        // Whoever could leave the signature out could be anybody.
        recipe.secrets.clear();
        recipe.allow_unsigned = true;
        for (cookie, _) in &cases {
            assert!(judge(&recipe, cookie).is_err(), "{cookie}");
        }
    }
}
