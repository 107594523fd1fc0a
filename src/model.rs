//! The words that all parts share: users, groups, addresses, notifications.
//!
//! A value that exists is valid; whoever holds one need not check again.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;
use thiserror::Error;

/// Who somebody is, as the web application calls them; 1 to 256 bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// A group's name; 1 to 256 bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

/// Names of groups that belong together: `*` stands for any text, also for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPattern(Box<[Box<str>]>);

/// Where a notification goes. Its text form is `u/<user>/`, `g/<group>/` or `all/`.
///
/// The slash at the end belongs to it: without it, ZeroMQ's subscription to `u/1` would also match
/// `u/10`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// One user, on all their connections.
    User(UserId),
    /// The members of a group.
    Group(GroupName),
    /// Everyone.
    All,
}

/// Text that is no address, user or group.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an address: write u/<user>/, g/<group>/ or all/, ids percent-encoded")]
pub struct BadAddress;

/// A notification as its notifier sent it: checked, not yet ordered.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Where it goes.
    pub to: Address,
    /// The event that the browser hears.
    pub event: EventName,
    /// The notifier's JSON, byte for byte.
    pub data: Arc<RawValue>,
    /// The notifier's own id; the same one is delivered once.
    pub id: Option<Arc<str>>,
}

/// What a notifier says, in its order.
#[derive(Clone, Debug)]
pub enum Order {
    /// Somebody is to hear this.
    Notify(Notification),
    /// A user's connections are to end.
    Disconnect {
        /// Whose.
        user: UserId,
        /// The notifier's own id; the same one counts once.
        id: Option<Arc<str>>,
    },
}

/// The name of an event that a notifier may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName(Arc<str>);

/// A name that is empty, too long, unprintable, or has a meaning of its own in the browser.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an event name: 1 to 256 bytes, none that the client library or the hub reserves")]
pub struct BadEvent;

impl UserId {
    /// # Errors
    /// It is empty or longer than 256 bytes.
    pub fn new(id: &str) -> Result<Self, BadAddress> {
        sized(id).map(|id| Self(id.into()))
    }
}

impl GroupName {
    /// # Errors
    /// It is empty or longer than 256 bytes.
    pub fn new(name: &str) -> Result<Self, BadAddress> {
        sized(name).map(|name| Self(name.into()))
    }
}

impl GroupPattern {
    /// # Errors
    /// It is empty, or longer than a name can be.
    pub fn new(pattern: &str) -> Result<Self, BadAddress> {
        sized(pattern).map(|pattern| Self(pattern.split('*').map(Box::from).collect()))
    }

    /// Takes time in proportion to the name: each piece is looked for once, behind the one before.
    pub fn matches(&self, GroupName(name): &GroupName) -> bool {
        let [first, middle @ .., last] = &*self.0 else {
            return self.0.iter().all(|whole| **whole == **name);
        };
        let inner = name.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last));
        let Some(mut rest) = inner else { return false };
        for piece in middle {
            let Some((_, behind)) = rest.split_once(&**piece) else { return false };
            rest = behind;
        }
        true
    }
}

impl Address {
    /// Reads the text form. Only the one spelling is an address: otherwise two spellings of a user
    /// would be two ZeroMQ subscriptions.
    ///
    /// # Errors
    /// It is another text.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        if text == "all/" {
            return Ok(Self::All);
        }
        let (kind, id) = text.split_once('/').ok_or(BadAddress)?;
        let id = decode(id.strip_suffix('/').ok_or(BadAddress)?)?;
        match kind {
            "u" => UserId::new(&id).map(Self::User),
            "g" => GroupName::new(&id).map(Self::Group),
            _ => Err(BadAddress),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = match self {
            Self::All => return f.write_str("all/"),
            Self::User(UserId(id)) => ("u", id),
            Self::Group(GroupName(name)) => ("g", name),
        };
        write!(f, "{kind}/")?;
        for byte in id.bytes() {
            if unreserved(byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        f.write_str("/")
    }
}

impl EventName {
    /// # Errors
    /// A notifier may not send it.
    pub fn new(name: &str) -> Result<Self, BadEvent> {
        let reserved = RESERVED_EVENTS.contains(&name)
            || name.starts_with("session:")
            || name.starts_with("inbox:");
        // It is shown in terminals and logs.
        let control = name.chars().any(char::is_control);
        if reserved || control || sized(name).is_err() {
            Err(BadEvent)
        } else {
            Ok(Self(name.into()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for EventName {
    /// What a browser hears if the notifier names no event.
    fn default() -> Self {
        static NAME: std::sync::OnceLock<Arc<str>> = std::sync::OnceLock::new();
        Self(NAME.get_or_init(|| "notification".into()).clone())
    }
}

const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

fn sized(id: &str) -> Result<&str, BadAddress> {
    if (1..=256).contains(&id.len()) { Ok(id) } else { Err(BadAddress) }
}

/// RFC 3986 §2.3.
const fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Undoes the encoding of [`Address`]'s text form, and refuses every other one.
fn decode(id: &str) -> Result<String, BadAddress> {
    let mut decoded = Vec::with_capacity(id.len());
    let mut bytes = id.bytes();
    while let Some(byte) = bytes.next() {
        if unreserved(byte) {
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else { return Err(BadAddress) };
        let value = upper_hex(high)? << 4 | upper_hex(low)?;
        if byte != b'%' || unreserved(value) {
            return Err(BadAddress);
        }
        decoded.push(value);
    }
    String::from_utf8(decoded).map_err(|_| BadAddress)
}

fn upper_hex(digit: u8) -> Result<u8, BadAddress> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(BadAddress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_spelling() {
        let long = format!("u/{}/", "a".repeat(257));
        for text in ["u/42/", "u/a-b.c_d~e/", "u/Jos%C3%A9%20%2F/", "g/news/", "all/"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        let others = [
            "",
            "/",
            "u",
            "u/",
            "u//",
            "u/42",
            "u/4/2/",
            "x/42/",
            "all",
            "g//",
            "u/%41/",
            "u/%c3%a9/",
            "u/%C3/",
            "u/%",
            "u/%4/",
            "u/a b/",
            "u/é/",
            "U/42/",
            "all//",
            &long,
        ];
        for text in others {
            assert_eq!(Address::parse(text), Err(BadAddress), "{text}");
        }
    }

    #[test]
    fn star_stands_for_any_text() {
        let matches = |pattern: &str, name: &str| {
            GroupPattern::new(pattern).unwrap().matches(&GroupName::new(name).unwrap())
        };
        for (pattern, name) in [
            ("*", "a"),
            ("a", "a"),
            ("news-*", "news-"),
            ("news-*", "news-es*"),
            ("*-es", "news-es"),
            ("a*a", "aa"),
            ("a**b", "ab"),
            ("*b*b*", "abcb"),
            ("é*", "éa"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "ab"),
            ("news-*", "news"),
            ("news-*", "old-news-es"),
            ("a*a", "a"),
            ("*b*b*", "abc"),
            ("a*b", "abc"),
            ("?", "a"),
            ("[a]", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(!matches(&"a*".repeat(100), &"a".repeat(99)));
        assert!(GroupPattern::new("").is_err() && GroupPattern::new(&"*".repeat(257)).is_err());
    }

    #[test]
    fn reserved_events_are_refused() {
        for name in
            ["", "connect", "disconnect", "newListener", "session:end", "inbox:read", "a\u{1b}[2J"]
        {
            assert_eq!(EventName::new(name), Err(BadEvent), "{name}");
        }
        assert_eq!(EventName::new("order").unwrap().as_str(), "order");
    }
}
