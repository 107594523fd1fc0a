//! How one kind of session is read, step by step; the caller does what lies between: it asks the store.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use regex::Regex;

use crate::auth_tkt::{self, Tickets};
use crate::credential::{Credential, Credentials, Secret};
use crate::document::Document;
use crate::jwt::{self, Tokens};
use crate::unwrap::{self, Layer};
use crate::{Reason, beaker, cookie, express, itsdangerous};

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
    /// A session is over that long after its last use, a ticket after its time; zero: never.
    pub timeout: Duration,
    /// The path to the time when the session is over; empty: it has none.
    pub expires: Vec<String>,
    /// The largest value that is looked at, packed or unpacked.
    pub max_bytes: usize,
}

/// How the cookie holds the session id, or the session.
#[derive(Clone, Debug)]
pub enum IdFormat {
    /// The cookie is the id.
    Raw,
    /// Beaker's signed form.
    Beaker,
    /// The same form around the session itself: there is no store, and no way to revoke it.
    BeakerCookie,
    /// The signed form of express-session.
    Express,
    /// The signed form of Flask-Session.
    Itsdangerous {
        /// What the secret is mixed with.
        salt: String,
    },
    /// A ticket that names the user itself.
    AuthTkt(Tickets),
    /// A token that names the user itself.
    Jwt(Box<Tokens>),
}

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

    /// What the client shows that this recipe reads: its token if it shows one, and then no cookie,
    /// whatever becomes of the token; else the cookie.
    ///
    /// # Errors
    /// There is none, or there are two.
    pub fn credential(&self, shown: &Credentials<'_>) -> Result<Credential, Reason> {
        let value = match shown.token {
            Some(token) => token,
            // An identity may know tokens alone.
            None if self.cookie.is_empty() => return Err(Reason::NoCookie),
            None => cookie::value(shown.cookies, &self.cookie)?,
        };
        Ok(Credential::new(value, if self.binds_address() { shown.remote } else { None }))
    }

    /// Whether a credential is good from one address alone.
    fn binds_address(&self) -> bool {
        matches!(self.id, IdFormat::AuthTkt(Tickets { include_ip: true, .. }))
    }

    /// Judges a credential at `now`, since 1970: its signature first, then the id that it holds.
    ///
    /// # Errors
    /// It is not the application's, or no longer good.
    pub fn lookup(&self, credential: &Credential, now: Duration) -> Result<Lookup, Reason> {
        let value = credential.value();
        let id = match &self.id {
            IdFormat::Raw => Cow::from(value),
            IdFormat::Beaker if self.secrets.is_empty() && self.allow_unsigned => value.into(),
            IdFormat::Beaker => beaker::verify(value, &self.secrets)?.into(),
            IdFormat::Express => express::verify(value, &self.secrets)?,
            IdFormat::Itsdangerous { salt } => {
                itsdangerous::verify(value, &self.secrets, salt)?.into()
            }
            IdFormat::BeakerCookie => {
                let session = beaker::verify(value, &self.secrets)?;
                self.check(session, MAX_SESSION)?;
                return self.user(Some(session.as_bytes()), now).map(Lookup::User);
            }
            IdFormat::AuthTkt(tickets) => {
                let from = credential.remote();
                let ticket = auth_tkt::verify(value, &self.secrets, tickets, from, now)?;
                let expires =
                    (!self.timeout.is_zero()).then(|| ticket.at.saturating_add(self.timeout));
                if expires.is_some_and(|expires| expires < now) {
                    return Err(Reason::Expired);
                }
                return self.pick(&Document::Json(ticket.content), expires).map(Lookup::User);
            }
            IdFormat::Jwt(tokens) => {
                let claims = jwt::verify(value, &self.secrets, tokens, now)?;
                let document = Document::Json(claims.content);
                return self.pick(&document, claims.expires).map(Lookup::User);
            }
        };
        self.check(&id, MAX_ID)?;
        Ok(Lookup::Key(self.key.replace("{id}", &id)))
    }

    /// A signature proves who wrote an id, not that it is harmless in a key.
    fn check(&self, id: &str, longest: usize) -> Result<(), Reason> {
        let plain =
            !id.is_empty() && id.len() <= longest && id.bytes().all(|byte| byte.is_ascii_graphic());
        let matches = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
        if plain && matches { Ok(()) } else { Err(Reason::BadId) }
    }

    /// Whether the sessions are in a store, and not in the credentials themselves.
    pub fn has_store(&self) -> bool {
        match self.id {
            IdFormat::Raw
            | IdFormat::Beaker
            | IdFormat::Express
            | IdFormat::Itsdangerous { .. } => true,
            IdFormat::BeakerCookie | IdFormat::AuthTkt(_) | IdFormat::Jwt(_) => false,
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
        self.name(&document)?;
        let mut ends: Option<f64> = None;
        if !self.timeout.is_zero() {
            let accessed = document.number(&self.accessed).ok_or(Reason::Corrupt)?;
            // Not a number is never recent; neither is infinity a time.
            let idle = now.as_secs_f64() - accessed;
            if !idle.is_finite() || idle > self.timeout.as_secs_f64() {
                return Err(Reason::Expired);
            }
            ends = Some(accessed + self.timeout.as_secs_f64());
        }
        if !self.expires.is_empty()
            && let Some(over) = document.time(&self.expires)?
        {
            if over <= now.as_secs_f64() {
                return Err(Reason::Expired);
            }
            ends = Some(ends.map_or(over, |ends| ends.min(over)));
        }
        let expires = ends.and_then(|ends| Duration::try_from_secs_f64(ends).ok());
        self.pick(&document, expires)
    }

    /// The user and the groups of a session that is good.
    fn pick(&self, document: &Document, expires: Option<Duration>) -> Result<User, Reason> {
        let id = self.name(document)?;
        let groups = if self.groups.is_empty() { Vec::new() } else { self.groups(document)? };
        Ok(User { id, groups, expires })
    }

    fn name(&self, document: &Document) -> Result<String, Reason> {
        document.name(&self.user).filter(|id| User::may_be_called(id)).ok_or(Reason::NoUser)
    }

    /// How far the value of a session can be followed, in words, without what it says.
    pub fn explain(&self, value: &[u8]) -> Vec<String> {
        let peeled = unwrap::peelable(value, &self.unwrap, self.max_bytes);
        let mut said: Vec<String> = Vec::new();
        for (place, layer) in self.unwrap.iter().take(peeled + 1).enumerate() {
            let outcome = if place < peeled { "can be read" } else { "cannot be read" };
            said.push(format!("layer {} of {}, {layer}: {outcome}", place + 1, self.unwrap.len()));
        }
        if let Ok(document) = unwrap::unwrap(value, &self.unwrap, self.max_bytes) {
            for (what, path) in
                [("user", &self.user), ("groups", &self.groups), ("expires", &self.expires)]
            {
                let reach = document.reach(path);
                let missing = path.get(reach).map(|key| format!("nothing at {key:?}"));
                if !path.is_empty() {
                    let outcome = missing.unwrap_or_else(|| "there".to_owned());
                    said.push(format!("{what} at {path:?}: {outcome}"));
                }
            }
        }
        said
    }

    fn groups(&self, document: &Document) -> Result<Vec<String>, Reason> {
        let mut groups = BTreeSet::new();
        for group in document.names(&self.groups).filter(|group| User::may_be_called(group)) {
            if groups.contains(&*group) {
                continue;
            }
            if groups.len() == User::MAX_GROUPS {
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

impl User {
    /// Every connection joins all its groups.
    pub const MAX_GROUPS: usize = 1_000;

    /// Whether a user, or a group, can have that name.
    pub fn may_be_called(name: &str) -> bool {
        (1..=256).contains(&name.len()) && !name.chars().any(char::is_control)
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
            expires: Vec::new(),
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
        let credential =
            recipe.credential(&Credentials { cookies: Some(cookies), ..Credentials::default() })?;
        recipe.lookup(&credential, Duration::ZERO)
    }

    #[test]
    fn session_in_its_cookie_needs_no_store() {
        let recipe = in_cookies();
        let cookies = cookie(b"old", &STANDARD.encode(r#"{"user": 77}"#));
        let user = User { id: "77".to_owned(), groups: Vec::new(), expires: None };
        assert_eq!(judge(&recipe, &cookies), Ok(Lookup::User(user)));
        let credential = recipe
            .credential(&Credentials { cookies: Some(&cookies), ..Credentials::default() })
            .unwrap();
        assert_eq!(
            format!("{credential:?} {:?}", Lookup::Key("x".to_owned())),
            "Credential(…) Key(…)"
        );
    }

    #[test]
    fn token_that_is_shown_counts_and_no_cookie_with_it() {
        let recipe = in_cookies();
        let cookies = cookie(b"new", &STANDARD.encode(r#"{"user": 77}"#));
        let (_, token) = cookies.split_once('=').unwrap();
        let judge = |cookies, token| {
            let shown = Credentials { cookies, token, remote: None };
            recipe.credential(&shown).and_then(|shown| recipe.lookup(&shown, Duration::ZERO))
        };
        assert!(judge(None, Some(token)).is_ok());
        assert_eq!(judge(Some("sid=1; sid=2"), Some(token)), judge(Some(&cookies), None));
        for bad in ["", "x", "\0", token.split_at(1).1] {
            assert!(judge(Some(&cookies), Some(bad)).is_err(), "{bad}");
        }
        let shown = Credentials { token: Some(token), ..Credentials::default() };
        assert_eq!(format!("{shown:?}"), "Credentials(…)");
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
