//! The web application's answer to "who is this?": status, `Cache-Control` and body in, a user, nobody
//! or a complaint out. Pure: it asks nobody and reads no clock.

use std::collections::BTreeSet;
use std::time::Duration;

use identity::{Reason, User};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A user, and how long that is good for the next connection, if the answer says so.
    User(User, Option<Duration>),
    /// Nobody.
    Nobody(Reason),
}

/// An answer that is none: nobody is let in or thrown out for it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Complaint {
    /// What stands before the application says that it is away.
    #[error("status {0}")]
    Away(u16),
    /// The application could not answer.
    #[error("status {0}")]
    Failed(u16),
    /// It sends the hub elsewhere, as it does with who is not logged in.
    #[error("status {0}, a redirect")]
    Redirect(u16),
    /// Another status than those that are agreed on.
    #[error("status {0}, which is no answer")]
    Status(u16),
    /// Not the JSON that is agreed on.
    #[error("{0}")]
    Garbled(String),
}

impl Complaint {
    /// What to do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Away(_) => "is the application behind its proxy up?",
            Self::Failed(_) => "see the application's log",
            Self::Redirect(_) => {
                "answer 401 to who is not logged in, and let `url` be the last of all redirects"
            }
            Self::Status(_) => "is `url` right? it answers 200 with {\"user\":\"42\"}, or 401",
            Self::Garbled(_) => "answer 200 with {\"user\":\"42\"} or {\"user\":null}, as JSON",
        }
    }
}

/// What the status alone says; nothing: read the body.
///
/// # Errors
/// It is no answer.
pub fn judge(status: u16) -> Result<Option<Verdict>, Complaint> {
    match status {
        200 => Ok(None),
        204 | 401 | 403 => Ok(Some(Verdict::Nobody(Reason::NoUser))),
        300..=399 => Err(Complaint::Redirect(status)),
        502..=504 => Err(Complaint::Away(status)),
        500.. => Err(Complaint::Failed(status)),
        _ => Err(Complaint::Status(status)),
    }
}

#[derive(Deserialize)]
struct Body {
    /// Needed: an object without it is of some other page.
    user: Value,
    #[serde(default)]
    groups: Option<Vec<Value>>,
    #[serde(default)]
    expires_in: Option<f64>,
    #[serde(default)]
    reason: Option<String>,
}

/// Reads the body of a 200 that came at `now`, since 1970.
///
/// # Errors
/// It is not what is agreed on.
pub fn read(body: &[u8], caching: Option<Duration>, now: Duration) -> Result<Verdict, Complaint> {
    // serde takes a list for an object whose names are left out.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Complaint::Garbled("not a JSON object".to_owned()));
    }
    let Body { user, groups, expires_in, reason } = serde_json::from_slice(body)
        // Where, and not what: the error itself may repeat what was read.
        .map_err(|error| {
            Complaint::Garbled(format!(
                "not the JSON expected at line {}, column {}: user is needed, groups is a list, \
                 expires_in a number, reason text",
                error.line(),
                error.column()
            ))
        })?;
    if user.is_null() {
        let given = |reason: &String| Reason::ALL.into_iter().find(|one| one.as_str() == reason);
        return Ok(Verdict::Nobody(reason.as_ref().and_then(given).unwrap_or(Reason::NoUser)));
    }
    let garbled = |what: &str| Complaint::Garbled(what.to_owned());
    let id = name(&user).ok_or_else(|| {
        garbled("user is no text of 1 to 256 bytes without control characters, and no whole number")
    })?;
    let mut members = BTreeSet::new();
    members.extend(groups.unwrap_or_default().iter().filter_map(name));
    if members.len() > User::MAX_GROUPS {
        return Err(garbled("more than 1000 groups"));
    }
    let left = match expires_in {
        None => None,
        Some(seconds) if seconds <= 0.0 => return Ok(Verdict::Nobody(Reason::Expired)),
        Some(seconds) => Some(
            Duration::try_from_secs_f64(seconds).map_err(|_| garbled("expires_in is no time"))?,
        ),
    };
    let user = User {
        id,
        groups: members.into_iter().collect(),
        expires: left.and_then(|left| now.checked_add(left)),
    };
    Ok(Verdict::User(user, caching))
}

fn name(value: &Value) -> Option<String> {
    let name = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    User::may_be_called(&name).then_some(name)
}

/// How long the answer may be kept, if its `Cache-Control` says so. `private` is no hindrance: it is
/// kept for who shows the very same, and for nobody else.
pub fn caching<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Duration> {
    let mut longest = None;
    for directive in headers.flat_map(|header| header.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        let at_most = match directive.split_once('=') {
            // With "no-cache=\"set-cookie\"" only that header is not to be kept; to be strict is no harm.
            Some(("no-cache" | "no-store", _)) => Duration::ZERO,
            Some(("max-age", seconds)) => {
                // What is no number is no permission.
                Duration::from_secs(seconds.trim_matches('"').parse().unwrap_or(0))
            }
            None if matches!(&*directive, "no-store" | "no-cache") => Duration::ZERO,
            _ => continue,
        };
        longest = Some(longest.map_or(at_most, |other: Duration| other.min(at_most)));
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn user(body: &str) -> Option<User> {
        match read(body.as_bytes(), None, NOW) {
            Ok(Verdict::User(user, None)) => Some(user),
            _ => None,
        }
    }

    #[test]
    fn user_is_text_or_a_whole_number() {
        let just = |id: &str| User { id: id.to_owned(), groups: Vec::new(), expires: None };
        assert_eq!(user(r#"{"user":"42"}"#), Some(just("42")));
        assert_eq!(user(r#"{"user":42,"groups":null,"more":{}}"#), Some(just("42")));
        let groups = User { groups: vec!["7".to_owned(), "a".to_owned()], ..just("42") };
        assert_eq!(user(r#"{"user":"42","groups":["a",7,"a",null,"","\u0000"]}"#), Some(groups));
        let ends = User { expires: Some(Duration::from_millis(1_001_500)), ..just("42") };
        assert_eq!(user(r#"{"user":"42","expires_in":1.5}"#), Some(ends));
    }

    #[test]
    fn nobody_is_said_with_or_without_a_reason() {
        let cases = [
            (r#"{"user":null}"#, Reason::NoUser),
            (r#"{"user":null,"reason":"expired"}"#, Reason::Expired),
            (r#"{"user":null,"reason":"of its own"}"#, Reason::NoUser),
            (r#"{"user":"42","expires_in":0}"#, Reason::Expired),
            (r#"{"user":"42","expires_in":-1}"#, Reason::Expired),
        ];
        for (body, reason) in cases {
            let verdict = read(body.as_bytes(), None, NOW);
            assert_eq!(verdict, Ok(Verdict::Nobody(reason)), "{body}");
        }
        for status in [204, 401, 403] {
            assert_eq!(judge(status), Ok(Some(Verdict::Nobody(Reason::NoUser))), "{status}");
        }
    }

    #[test]
    fn what_is_no_answer_is_neither_yes_nor_no() {
        let deep = format!("{{\"user\":{}", "[".repeat(100_000));
        let long = format!("{{\"user\":{:?}}}", "x".repeat(257));
        let many = format!("{{\"user\":1,\"groups\":{:?}}}", (0..1_001).collect::<Vec<_>>());
        let bodies = [
            "",
            "null",
            "[]",
            "[\"42\"]",
            "{}",
            "\"42\"",
            "42",
            "<html>",
            "{\"user\":\"42\"",
            "{\"user\":true}",
            "{\"user\":1.5}",
            "{\"user\":[]}",
            "{\"user\":{}}",
            "{\"user\":\"\"}",
            "{\"user\":\"a\\u0000b\"}",
            "{\"user\":\"a\\nb\"}",
            "{\"user\":\"\\ud800\"}",
            "{\"user\":\"42\",\"groups\":\"a\"}",
            "{\"user\":\"42\",\"expires_in\":\"soon\"}",
            "{\"user\":\"42\",\"expires_in\":1e300}",
            "{\"user\":\"42\"}{\"user\":\"43\"}",
            "{\"user\":\"42\",\"user\":\"43\"}",
            &deep,
            &long,
            &many,
        ];
        for body in bodies {
            let verdict = read(body.as_bytes(), None, NOW);
            assert!(matches!(verdict, Err(Complaint::Garbled(_))), "{verdict:?} {body:.60}");
        }
        for status in [100, 101, 201, 206, 301, 302, 304, 307, 400, 404, 429, 500, 503, 599] {
            assert!(judge(status).is_err(), "{status}");
        }
        assert_eq!(judge(503), Err(Complaint::Away(503)));
        assert_eq!(judge(500), Err(Complaint::Failed(500)));
    }

    #[test]
    fn answer_says_how_long_it_is_good() {
        let cases: [(&[&str], Option<u64>); 9] = [
            (&[], None),
            (&["private"], None),
            (&["max-age=30"], Some(30)),
            (&["private, Max-Age=30"], Some(30)),
            (&["max-age=30", "no-store"], Some(0)),
            (&["no-cache"], Some(0)),
            (&["max-age=soon"], Some(0)),
            (&["max-age=\"7\""], Some(7)),
            (&["max-age=60, max-age=5, s-maxage=900"], Some(5)),
        ];
        for (headers, seconds) in cases {
            let found = caching(headers.iter().copied());
            assert_eq!(found, seconds.map(Duration::from_secs), "{headers:?}");
        }
    }
}
