//! Socket.IO packets.

use protocol::Packet;
use protocol::socket::{self, EventName, Kind, Received};
use serde_json::Value;
use serde_json::value::RawValue;

/// A packet: what is read is written so that it is read as the same. Its payload is what serde_json
/// takes it for.
pub fn socket_packet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_payload(text);
    let Ok(received) = socket::decode(text) else { return };
    let Received { kind, attachments, namespace, ack, payload } = received;
    assert!(namespace.starts_with('/') && !namespace.contains(','), "{received:?}");
    assert!(text.ends_with(payload) && !payload.starts_with(|c: char| c.is_ascii_digit()));
    check_payload(payload);
    // Of the root, only what is no JSON could be taken for a namespace.
    if namespace == "/" && ack.is_none() && payload.starts_with('/') {
        return;
    }
    let (digit, binary) = match kind {
        Kind::Connect => ('0', false),
        Kind::Disconnect => ('1', false),
        Kind::Event => ('2', false),
        Kind::Ack => ('3', false),
        Kind::ConnectError => ('4', false),
        Kind::BinaryEvent => ('5', true),
        Kind::BinaryAck => ('6', true),
    };
    assert!(binary || attachments == 0, "{received:?}");
    let packet = if binary {
        socket::encode_binary(digit, attachments, namespace, ack, payload)
    } else {
        socket::encode(digit, namespace, ack, payload)
    };
    assert_eq!(read(&packet), received);
    let query = namespace.split_once('?').map_or(payload, |(_, query)| query);
    assert!(socket::is_object(&socket::query_as_auth(query)), "{query:?}");
}

/// What a packet of ours says to a client.
pub(crate) fn read(packet: &Packet) -> Received<'_> {
    let text = std::str::from_utf8(packet.body()).unwrap();
    socket::decode(text.strip_prefix('4').expect("a message")).expect("a Socket.IO packet")
}

fn check_payload(payload: &str) {
    let value: Option<Value> = serde_json::from_str(payload).ok();
    if let Some(value) = &value {
        // Space before it makes it no array to us; whoever writes one by hand may.
        let start = |c| payload.starts_with(c);
        assert_eq!(socket::is_array(payload), value.is_array() && start('['), "{payload:?}");
        assert_eq!(socket::is_object(payload), value.is_object() && start('{'), "{payload:?}");
    }
    if let Ok(name) = socket::event_name(payload) {
        let all: Vec<&RawValue> = serde_json::from_str(payload).expect("an array of values");
        let first: Value = serde_json::from_str(all.first().unwrap().get()).unwrap();
        match name {
            EventName::Text(name) => assert_eq!(first, Value::String(name)),
            EventName::Number => assert!(first.is_number()),
        }
    }
}
