//! Engine.IO: packets, and the payloads of long-polling in both revisions.

use protocol::Packet;
use protocol::engine::{self, Item, Malformed, Received, three};

use crate::wire::check_frame;

/// A text packet: told by its first character alone, and carried by both transports as it is.
pub fn engine_packet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let known = text.starts_with(|c| ('0'..='6').contains(&c));
    match engine::decode(text) {
        Err(Malformed) => assert!(!known, "{text:?}"),
        Ok(received) => {
            assert!(known, "{text:?}");
            match received {
                Received::Message(rest) => {
                    assert_eq!(Packet::message(rest).body(), data);
                }
                Received::Ping(rest) => assert_eq!(text.strip_prefix('2'), Some(rest)),
                Received::Close => assert!(text.starts_with('1')),
                Received::Pong => assert!(text.starts_with('3')),
                Received::Upgrade => assert!(text.starts_with('5')),
                Received::Idle => assert!(text.starts_with(['0', '6'])),
            }
        }
    }
    for (packet, opcode) in [
        (Packet::text(text), 1),
        (Packet::binary(data), 2),
        (Packet::binary_three(data), 2),
        (Packet::pong(data), 10),
    ] {
        assert_eq!(check_frame(&packet), opcode);
    }
    if known && !text.contains('\x1e') {
        let body = engine::encode(&[Packet::text(text), Packet::binary(data)]);
        let body = std::str::from_utf8(&body).unwrap();
        let items: Vec<_> = engine::payload(body).collect();
        assert_eq!(items, [Ok(Item::Text(text)), Ok(Item::Binary(data.to_vec()))]);
    }
}

/// A payload of Engine.IO 4: what is read whole is written back byte for byte.
pub fn engine_payload(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let separators = data.iter().filter(|byte| **byte == 0x1e).count();
    let items: Vec<_> = engine::payload(body).collect();
    assert_eq!(items.len(), separators + 1, "an item too many or too few: {body:?}");
    if let Ok(items) = items.into_iter().collect::<Result<Vec<_>, _>>() {
        let packets: Vec<_> = items.iter().map(packet).collect();
        assert_eq!(engine::encode(&packets), data, "{items:?}");
    }
}

/// A payload of Engine.IO 3, as text or as bytes: reading ends at the first malformed item, and what
/// is read whole survives being written and read again, in both forms.
pub fn engine_payload_three(data: &[u8]) {
    if let Ok(body) = std::str::from_utf8(data) {
        check_three(three::decode(body).collect(), data.len());
    }
    check_three(three::decode_bytes(data).collect(), data.len());
}

fn check_three(items: Vec<Result<Item<'_>, Malformed>>, length: usize) {
    assert!(!items.is_empty() && items.len() <= length.max(1), "{items:?}");
    let (_, before) = items.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok), "read on behind a malformed item: {items:?}");
    let Ok(items) = items.into_iter().collect::<Result<Vec<_>, _>>() else { return };
    let packets: Vec<_> = items.iter().map(packet).collect();
    for base64 in [false, true] {
        // Written, a binary packet begins with its type; one of another type is no message, and as
        // text it could not be told from one.
        let messages = items.iter().all(|item| match item {
            Item::Text(_) => true,
            Item::Binary(data) => data.first() == Some(&three::MESSAGE),
        });
        // Text that begins so is read as base64.
        let plain = items.iter().all(|item| !matches!(item, Item::Text(t) if t.starts_with('b')));
        let payload = three::encode(&packets, base64);
        let tellable = payload.binary || messages && plain;
        if !tellable {
            continue;
        }
        let again: Result<Vec<_>, _> = if payload.binary {
            three::decode_bytes(&payload.body).collect()
        } else {
            three::decode(std::str::from_utf8(&payload.body).unwrap()).collect()
        };
        assert_eq!(again.as_ref(), Ok(&items), "{payload:?}");
    }
}

fn packet(item: &Item<'_>) -> Packet {
    match item {
        Item::Text(text) => Packet::text(text),
        Item::Binary(data) => Packet::binary(data),
    }
}
