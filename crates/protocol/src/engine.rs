//! Engine.IO 4: packets, polling payloads, the open packet, and the answers to a bad request. What is
//! different in Engine.IO 3 is in [`three`].
//!
//! Only the wire format: what a packet means for a connection is in [`crate::Connection`].

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::{Packet, Sid};

pub mod three;

/// Which Engine.IO a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// Engine.IO 3, of Socket.IO 1 and 2.
    Three,
    /// Engine.IO 4, of Socket.IO 3 and later.
    Four,
}

/// Between the items of a polling payload.
const SEPARATOR: u8 = 0x1e;

/// A received Engine.IO packet. Binary ones have no type and never get here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// `1`: the client closes.
    Close,
    /// `2`, with what followed: only a probe may carry something.
    Ping(&'a str),
    /// `3`
    Pong,
    /// `4`: a Socket.IO packet.
    Message(&'a str),
    /// `5`: the client has moved to this transport.
    Upgrade,
    /// `0` or `6`: nothing that a client needs to say, and harmless.
    Idle,
}

/// Bytes that are no Engine.IO.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an Engine.IO packet")]
pub struct Malformed;

/// Reads one text packet.
pub fn decode(packet: &str) -> Result<Received<'_>, Malformed> {
    let mut rest = packet.chars();
    let kind = rest.next().ok_or(Malformed)?;
    let rest = rest.as_str();
    Ok(match kind {
        '1' => Received::Close,
        '2' => Received::Ping(rest),
        '3' => Received::Pong,
        '4' => Received::Message(rest),
        '5' => Received::Upgrade,
        '0' | '6' => Received::Idle,
        _ => return Err(Malformed),
    })
}

/// One item of a polling payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A text packet, to be read with [`decode`].
    Text(&'a str),
    /// An attachment.
    Binary(Vec<u8>),
}

/// Reads a polling payload, item by item. An empty body or an empty item is malformed.
pub fn payload(body: &str) -> impl Iterator<Item = Result<Item<'_>, Malformed>> {
    body.split(char::from(SEPARATOR)).map(|item| match item.strip_prefix('b') {
        Some(base64) => STANDARD.decode(base64).map(Item::Binary).map_err(|_| Malformed),
        None if item.is_empty() => Err(Malformed),
        None => Ok(Item::Text(item)),
    })
}

/// Writes a polling payload.
pub fn encode(packets: &[Packet]) -> Vec<u8> {
    let mut payload = Vec::new();
    for packet in packets {
        if !payload.is_empty() {
            payload.push(SEPARATOR);
        }
        packet.write_polling(&mut payload);
    }
    payload
}

/// The first packet of a connection: its id, what it may upgrade to, and the server's terms.
pub fn open(
    sid: &Sid,
    upgrade: bool,
    ping_interval: Duration,
    ping_timeout: Duration,
    max_payload: usize,
) -> Packet {
    let upgrades = if upgrade { "[\"websocket\"]" } else { "[]" };
    Packet::text(&format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":{upgrades},\"pingInterval\":{},\"pingTimeout\":{},\"maxPayload\":{max_payload}}}",
        ping_interval.as_millis(),
        ping_timeout.as_millis(),
    ))
}

/// Why a request is not served, in the order in which it is checked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The `transport` parameter is missing, unknown or switched off.
    #[error("Transport unknown")]
    TransportUnknown,
    /// No session has this `sid`, or no longer.
    #[error("Session ID unknown")]
    SessionUnknown,
    /// A handshake with another method than GET.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// The request contradicts the session's transport, or itself.
    #[error("Bad request")]
    BadRequest,
    /// The server does not let this browser in.
    #[error("Forbidden")]
    Forbidden,
    /// The `EIO` parameter is missing or not a supported revision.
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
}

impl Refusal {
    /// The code in the JSON body of the answer.
    pub const fn code(self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::SessionUnknown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The JSON body of the answer.
    pub fn body(self) -> String {
        format!("{{\"code\":{},\"message\":\"{self}\"}}", self.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_told_by_their_first_character() {
        let cases = [
            ("1", Ok(Received::Close)),
            ("2", Ok(Received::Ping(""))),
            ("2probe", Ok(Received::Ping("probe"))),
            ("3", Ok(Received::Pong)),
            ("42[\"é\"]", Ok(Received::Message("2[\"é\"]"))),
            ("5", Ok(Received::Upgrade)),
            ("0", Ok(Received::Idle)),
            ("6", Ok(Received::Idle)),
            ("7", Err(Malformed)),
            ("éabcd", Err(Malformed)),
            ("", Err(Malformed)),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text), expected, "{text:?}");
        }
    }

    #[test]
    fn payload_items_are_separated_and_never_empty() {
        let items: Vec<_> = payload("4hello\u{1e}bAQID\u{1e}2").collect();
        assert_eq!(
            items,
            [Ok(Item::Text("4hello")), Ok(Item::Binary(vec![1, 2, 3])), Ok(Item::Text("2"))]
        );
        for body in ["", "4a\u{1e}", "\u{1e}4a", "b!"] {
            assert!(payload(body).any(|item| item.is_err()), "{body:?}");
        }
    }

    #[test]
    fn open_packet_has_the_five_keys() {
        let second = Duration::from_secs(1);
        let packet = open(&Sid::new([0; 15]), true, 25 * second, 20 * second, 1_000_000);
        assert_eq!(
            packet.body(),
            br#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
    }

    /// Texts and attachments. JSON holds no separator, nor does anything else that we send.
    fn contents() -> impl Strategy<Value = Vec<Result<String, Vec<u8>>>> {
        let text = "[0-6][^\u{1e}]{0,20}".prop_map(Ok);
        let binary = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Err);
        proptest::collection::vec(prop_oneof![text, binary], 1..8)
    }

    proptest! {
        #[test]
        fn packets_decode_to_what_was_encoded(text in ".{0,40}") {
            let message = Packet::message(&text);
            let body = std::str::from_utf8(message.body()).unwrap();
            prop_assert_eq!(decode(body), Ok(Received::Message(&text)));
        }

        #[test]
        fn payloads_decode_to_what_was_encoded(contents in contents()) {
            let packets = contents.iter().map(|content| match content {
                Ok(text) => Packet::text(text),
                Err(data) => Packet::binary(data),
            });
            let items: Vec<_> = contents.iter().map(|content| match content {
                Ok(text) => Ok(Item::Text(text)),
                Err(data) => Ok(Item::Binary(data.clone())),
            }).collect();
            let body = encode(&packets.collect::<Vec<_>>());
            let body = std::str::from_utf8(&body).unwrap();
            prop_assert_eq!(payload(body).collect::<Vec<_>>(), items);
        }

        #[test]
        fn any_payload_returns(body in "[b0-9A-Za-z+/=\u{1e}\"\\[\\]é]{0,60}") {
            let items: Result<Vec<_>, _> = payload(&body).collect();
            for text in items.iter().flatten().filter_map(|item| match item {
                Item::Text(text) => Some(*text),
                Item::Binary(_) => None,
            }) {
                let _ = std::hint::black_box(decode(text));
            }
        }
    }
}
