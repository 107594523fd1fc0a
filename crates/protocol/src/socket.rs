//! Socket.IO 5 packets: `<type>[<n>-][/nsp,][ack id][JSON]`, inside an Engine.IO message.
//!
//! Only the wire format: which packet is legal when is in [`crate::Connection`].

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use thiserror::Error;

use crate::Packet;

/// The seven packet types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `0`: join a namespace.
    Connect,
    /// `1`: leave it.
    Disconnect,
    /// `2`
    Event,
    /// `3`: the answer to an event that asked for one.
    Ack,
    /// `4`: a refused join; only a server says so.
    ConnectError,
    /// `5`: an event with attachments.
    BinaryEvent,
    /// `6`: an answer with attachments.
    BinaryAck,
}

/// A received packet, split but not yet judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// What it is.
    pub kind: Kind,
    /// How many attachments follow; 0 unless the type is binary.
    pub attachments: usize,
    /// The namespace, `/` if none is named.
    pub namespace: &'a str,
    /// The acknowledgement id.
    pub ack: Option<u64>,
    /// JSON, or nothing. Not yet checked.
    pub payload: &'a str,
}

/// Text that is no Socket.IO packet.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a Socket.IO packet")]
pub struct Malformed;

/// Splits a packet. The payload is checked by [`event_name`], [`is_array`] or [`is_object`].
pub fn decode(text: &str) -> Result<Received<'_>, Malformed> {
    let mut rest = text.chars();
    let kind = match rest.next() {
        Some('0') => Kind::Connect,
        Some('1') => Kind::Disconnect,
        Some('2') => Kind::Event,
        Some('3') => Kind::Ack,
        Some('4') => Kind::ConnectError,
        Some('5') => Kind::BinaryEvent,
        Some('6') => Kind::BinaryAck,
        _ => return Err(Malformed),
    };
    let rest = rest.as_str();
    let (attachments, rest) = match kind {
        Kind::BinaryEvent | Kind::BinaryAck => {
            let (digits, rest) = rest.split_once('-').ok_or(Malformed)?;
            (number(digits)?, rest)
        }
        _ => (0, rest),
    };
    let (namespace, rest) = if rest.starts_with('/') {
        // The comma may be missing if nothing follows.
        rest.split_once(',').unwrap_or((rest, ""))
    } else {
        ("/", rest)
    };
    let payload = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let ack = match rest.strip_suffix(payload) {
        None | Some("") => None,
        Some(digits) => Some(number(digits)?),
    };
    Ok(Received {
        kind,
        attachments: usize::try_from(attachments).map_err(|_| Malformed)?,
        namespace,
        ack,
        payload,
    })
}

/// The name of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventName {
    /// The ordinary case.
    Text(String),
    /// A number: legal on the wire, but nobody can listen to it.
    Number,
}

/// Checks an event's payload (one JSON array, a name first) and returns the name.
pub fn event_name(payload: &str) -> Result<EventName, Malformed> {
    let mut json = serde_json::Deserializer::from_str(payload);
    let name = json.deserialize_seq(NameFirst).map_err(|_| Malformed)?;
    json.end().map_err(|_| Malformed)?;
    Ok(name)
}

/// Whether it is one JSON array and nothing else.
pub fn is_array(payload: &str) -> bool {
    payload.starts_with('[') && serde_json::from_str::<IgnoredAny>(payload).is_ok()
}

/// Whether it is one JSON object and nothing else.
pub fn is_object(payload: &str) -> bool {
    payload.starts_with('{') && serde_json::from_str::<IgnoredAny>(payload).is_ok()
}

/// What a client of Socket.IO 2 says along with a namespace, `a=1&b=2`, as the JSON object that later
/// ones send. The last of a name counts.
pub fn query_as_auth(query: &str) -> Box<str> {
    let fields = form_urlencoded::parse(query.as_bytes());
    let object: serde_json::Map<String, Value> =
        fields.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    Value::from(object).to_string().into()
}

/// Writes a packet. `payload` is JSON already.
pub fn encode(kind: char, namespace: &str, ack: Option<u64>, payload: &str) -> Packet {
    write(kind, None, namespace, ack, payload)
}

/// Writes a packet that `count` attachments will follow.
pub fn encode_binary(
    kind: char,
    count: usize,
    namespace: &str,
    ack: Option<u64>,
    payload: &str,
) -> Packet {
    write(kind, Some(count), namespace, ack, payload)
}

fn write(
    kind: char,
    count: Option<usize>,
    namespace: &str,
    ack: Option<u64>,
    payload: &str,
) -> Packet {
    let mut text = String::with_capacity(payload.len() + namespace.len() + 24);
    text.push(kind);
    if let Some(count) = count {
        text.push_str(&count.to_string());
        text.push('-');
    }
    if namespace != "/" {
        text.push_str(namespace);
        text.push(',');
    }
    if let Some(id) = ack {
        text.push_str(&id.to_string());
    }
    text.push_str(payload);
    Packet::message(&text)
}

/// Decimal digits, of a number within 64 bits.
fn number(digits: &str) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed);
    }
    digits.parse().map_err(|_| Malformed)
}

struct NameFirst;

impl<'de> Visitor<'de> for NameFirst {
    type Value = EventName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array that starts with an event name")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<EventName, A::Error> {
        let name = match seq.next_element::<Value>()? {
            Some(Value::String(name)) => EventName::Text(name),
            Some(Value::Number(_)) => EventName::Number,
            _ => return Err(serde::de::Error::custom("no event name")),
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn received<'a>(
        kind: Kind,
        attachments: usize,
        namespace: &'a str,
        ack: Option<u64>,
        payload: &'a str,
    ) -> Result<Received<'a>, Malformed> {
        Ok(Received { kind, attachments, namespace, ack, payload })
    }

    #[test]
    fn decode_splits_every_form() {
        let cases = [
            ("0", received(Kind::Connect, 0, "/", None, "")),
            ("0{\"a\":1}", received(Kind::Connect, 0, "/", None, "{\"a\":1}")),
            ("0/adm", received(Kind::Connect, 0, "/adm", None, "")),
            ("0/adm,{}", received(Kind::Connect, 0, "/adm", None, "{}")),
            ("1/adm,", received(Kind::Disconnect, 0, "/adm", None, "")),
            ("2[\"a\"]", received(Kind::Event, 0, "/", None, "[\"a\"]")),
            ("2/adm,12[\"a\"]", received(Kind::Event, 0, "/adm", Some(12), "[\"a\"]")),
            ("2007[\"a\"]", received(Kind::Event, 0, "/", Some(7), "[\"a\"]")),
            ("31[]", received(Kind::Ack, 0, "/", Some(1), "[]")),
            ("52-/adm,3[\"a\"]", received(Kind::BinaryEvent, 2, "/adm", Some(3), "[\"a\"]")),
            ("61-4[]", received(Kind::BinaryAck, 1, "/", Some(4), "[]")),
            ("", Err(Malformed)),
            ("7", Err(Malformed)),
            ("5[\"a\"]", Err(Malformed)),
            ("5-[\"a\"]", Err(Malformed)),
            ("5x-[\"a\"]", Err(Malformed)),
            ("299999999999999999999[\"a\"]", Err(Malformed)),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn event_needs_an_array_with_a_name() {
        assert_eq!(event_name("[\"a\",{}]"), Ok(EventName::Text("a".to_owned())));
        assert_eq!(event_name("[1]"), Ok(EventName::Number));
        for payload in
            ["", "{}", "[]", "[null]", "[[]]", "[\"a\"", "[\"a\"]x", "abc[\"a\"]", "[\"a\",]"]
        {
            assert_eq!(event_name(payload), Err(Malformed), "{payload}");
        }
    }

    #[test]
    fn deep_nesting_is_read_without_recursion() {
        let deep = format!("[\"a\",{}{}]", "[".repeat(400_000), "]".repeat(400_000));
        assert_eq!(event_name(&deep), Ok(EventName::Text("a".to_owned())));
    }

    #[test]
    fn encode_omits_the_root_namespace() {
        assert_eq!(encode('2', "/", None, "[\"a\"]").body(), b"42[\"a\"]");
        assert_eq!(encode('3', "/adm", Some(7), "[]").body(), b"43/adm,7[]");
    }

    proptest! {
        #[test]
        fn packets_decode_to_what_was_encoded(
            digit in 0..7_usize,
            count in 0..20_usize,
            namespace in "(/|/[^,]{0,12})",
            ack in proptest::option::of(any::<u64>()),
            text in proptest::option::of(".{0,20}"),
        ) {
            let (kind, digit) = [
                (Kind::Connect, '0'),
                (Kind::Disconnect, '1'),
                (Kind::Event, '2'),
                (Kind::Ack, '3'),
                (Kind::ConnectError, '4'),
                (Kind::BinaryEvent, '5'),
                (Kind::BinaryAck, '6'),
            ][digit];
            let payload = text.map(|text| Value::from(vec![text]).to_string()).unwrap_or_default();
            let binary = matches!(kind, Kind::BinaryEvent | Kind::BinaryAck);
            let packet = if binary {
                encode_binary(digit, count, &namespace, ack, &payload)
            } else {
                encode(digit, &namespace, ack, &payload)
            };
            let attachments = if binary { count } else { 0 };
            let body = std::str::from_utf8(packet.body()).unwrap();
            let decoded = decode(body.strip_prefix('4').unwrap());
            prop_assert_eq!(decoded, received(kind, attachments, &namespace, ack, &payload));
        }

        #[test]
        fn any_text_returns(text in "[0-7]?[0-9/,\\-\\[\\]{}\":a-zé ]{0,40}") {
            if let Ok(received) = decode(&text) {
                let _ = std::hint::black_box(event_name(received.payload));
                prop_assert!(text.ends_with(received.payload));
            }
        }
    }
}
