//! Engine.IO 3: its polling payloads, as text and as bytes.
//!
//! Packets are those of Engine.IO 4 but for binary ones, which begin with their type; who pings and
//! who joins by itself is in [`crate::Connection`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Item, Malformed};
use crate::Packet;

/// The first byte of a binary message.
pub const MESSAGE: u8 = 4;

/// A polling payload, and whether it is bytes rather than text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The body.
    pub body: Vec<u8>,
    /// Whether it must be sent as `application/octet-stream`.
    pub binary: bool,
}

/// Writes a payload. If attachments are among the packets, it is bytes unless the client wants
/// base64.
pub fn encode(packets: &[Packet], base64: bool) -> Payload {
    let binary = !base64 && packets.iter().any(Packet::is_binary);
    let mut body = Vec::new();
    for packet in packets {
        if binary {
            write_bytes(packet, &mut body);
        } else {
            write_text(packet, &mut body);
        }
    }
    Payload { body, binary }
}

/// `<length in UTF-16 code units>:<packet>`
fn write_text(packet: &Packet, body: &mut Vec<u8>) {
    if packet.is_binary() {
        let data = packet.body().strip_prefix(&[MESSAGE]).unwrap_or_default();
        let text = STANDARD.encode(data);
        body.extend_from_slice(format!("{}:b4{text}", text.len() + 2).as_bytes());
    } else {
        let text = String::from_utf8_lossy(packet.body());
        let units: usize = text.chars().map(char::len_utf16).sum();
        body.extend_from_slice(format!("{units}:{text}").as_bytes());
    }
}

/// Text or binary as 0 or 1, the length's decimal digits as a byte each, 255, and the packet.
fn write_bytes(packet: &Packet, body: &mut Vec<u8>) {
    body.push(packet.is_binary().into());
    let length = packet.body().len().to_string();
    body.extend(length.bytes().map(|digit| digit - b'0'));
    body.push(END);
    body.extend_from_slice(packet.body());
}

const END: u8 = 0xff;

/// Decimal digits of a length; what a body may hold is far below.
const MAX_DIGITS: usize = 10;

/// Reads a payload of text, item by item. An empty body or item is malformed, and ends it.
pub fn decode(body: &str) -> impl Iterator<Item = Result<Item<'_>, Malformed>> {
    items(body, |rest: &str| {
        let (length, text) = rest.split_once(':')?;
        if length.len() > MAX_DIGITS || !length.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (item, rest) = text.split_at_checked(utf16_prefix(text, length.parse().ok()?)?)?;
        let item = match item.strip_prefix('b') {
            Some(base64) => binary(&STANDARD.decode(base64.strip_prefix('4')?).ok()?),
            None if item.is_empty() => return None,
            None => Item::Text(item),
        };
        Some((item, rest))
    })
}

/// Reads a payload of bytes, item by item.
pub fn decode_bytes(body: &[u8]) -> impl Iterator<Item = Result<Item<'_>, Malformed>> {
    items(body, |rest: &[u8]| {
        let (kind, rest) = rest.split_first()?;
        let digits = rest.iter().take(MAX_DIGITS + 1).position(|byte| *byte == END)?;
        let (digits, rest) = rest.split_at_checked(digits)?;
        let length = digits.iter().try_fold(0_usize, |length, digit| match digit {
            0..=9 => length.checked_mul(10)?.checked_add(usize::from(*digit)),
            _ => None,
        })?;
        let (item, rest) = rest.get(1..)?.split_at_checked(length)?;
        let item = match kind {
            _ if item.is_empty() => return None,
            0 => Item::Text(std::str::from_utf8(item).ok()?),
            1 => Item::Binary(item.to_vec()),
            _ => return None,
        };
        Some((item, rest))
    })
}

/// Takes items off the front until nothing is left, or until the first that cannot be read.
fn items<'a, T: AsRef<[u8]>>(
    body: T,
    next: impl Fn(T) -> Option<(Item<'a>, T)>,
) -> impl Iterator<Item = Result<Item<'a>, Malformed>> {
    let mut rest = Some(body);
    std::iter::from_fn(move || match next(rest.take()?) {
        None => Some(Err(Malformed)),
        Some((item, left)) => {
            rest = (!left.as_ref().is_empty()).then_some(left);
            Some(Ok(item))
        }
    })
}

fn binary(data: &[u8]) -> Item<'static> {
    Item::Binary([&[MESSAGE], data].concat())
}

/// How many bytes the first `units` UTF-16 code units take; `None` if there are fewer, or if they end
/// within a character.
fn utf16_prefix(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (at, c) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(c.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_lengths_count_utf16_code_units() {
        let payload = encode(&[Packet::message("2[\"hi\",\"é€\"]"), Packet::text("2😀")], false);
        let expected = Payload { body: "13:42[\"hi\",\"é€\"]3:2😀".into(), binary: false };
        assert_eq!(payload, expected);
        let body = String::from_utf8(payload.body).unwrap();
        let items: Vec<_> = decode(&body).collect();
        assert_eq!(items, [Ok(Item::Text("42[\"hi\",\"é€\"]")), Ok(Item::Text("2😀"))]);
    }

    #[test]
    fn attachments_are_base64_or_turn_the_payload_into_bytes() {
        let packets = [Packet::text("2é"), Packet::binary_three(&[1, 2, 3])];
        let text = encode(&packets, true);
        assert_eq!(text, Payload { body: "2:2é6:b4AQID".into(), binary: false });
        let items: Vec<_> = decode("2:2é6:b4AQID").collect();
        assert_eq!(items, [Ok(Item::Text("2é")), Ok(Item::Binary(vec![4, 1, 2, 3]))]);

        let bytes = encode(&packets, false);
        let expected = [0, 3, 255, b'2', 0xc3, 0xa9, 1, 4, 255, 4, 1, 2, 3];
        assert_eq!(bytes, Payload { body: expected.to_vec(), binary: true });
        let items: Vec<_> = decode_bytes(&expected).collect();
        assert_eq!(items, [Ok(Item::Text("2é")), Ok(Item::Binary(vec![4, 1, 2, 3]))]);
    }

    #[test]
    fn malformed_payloads_end_at_the_first_bad_item() {
        let texts = [
            "",
            ":",
            "1",
            "1:",
            "2:4",
            "0:",
            "-1:4",
            "x:4",
            "1:😀",
            "2:b5",
            "5:b4AQ!",
            "1:1x",
            "99999999999:1",
        ];
        for body in texts {
            let items: Vec<_> = decode(body).collect();
            assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1, "{body:?}");
            assert!(items.last().is_some_and(Result::is_err), "{body:?}");
        }
        let bytes: [&[u8]; 9] = [
            &[],
            &[0],
            &[0, 1],
            &[0, 1, 255],
            &[0, 0, 255],
            &[2, 1, 255, 4],
            &[0, 10, 255, 4],
            &[0, 1, 255, 0xff],
            &[1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 255],
        ];
        for body in bytes {
            assert!(decode_bytes(body).any(|item| item.is_err()), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn payloads_decode_to_what_was_encoded(
            contents in proptest::collection::vec(
                prop_oneof![
                    "[0-6].{0,20}".prop_map(Ok),
                    proptest::collection::vec(any::<u8>(), 0..40).prop_map(Err),
                ],
                1..8,
            ),
            base64 in any::<bool>(),
        ) {
            let packets: Vec<_> = contents.iter().map(|content| match content {
                Ok(text) => Packet::text(text),
                Err(data) => Packet::binary_three(data),
            }).collect();
            let items: Vec<_> = contents.iter().map(|content| match content {
                Ok(text) => Ok(Item::Text(text)),
                Err(data) => Ok(binary(data)),
            }).collect();
            let payload = encode(&packets, base64);
            let decoded: Vec<_> = if payload.binary {
                decode_bytes(&payload.body).collect()
            } else {
                decode(std::str::from_utf8(&payload.body).unwrap()).collect()
            };
            prop_assert_eq!(decoded, items);
        }

        #[test]
        fn any_bytes_return(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = std::hint::black_box(decode_bytes(&body).count());
            let _ = std::hint::black_box(decode(&String::from_utf8_lossy(&body)).count());
        }
    }
}
