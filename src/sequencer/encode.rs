//! A notification's frame: built once, shared by every browser that hears it.

use std::fmt::Write as _;

use protocol::Packet;

use crate::model::Notification;

/// `42["notification",{"id":…,"at":…,"to":…,"from":…,"data":…},"<epoch>-<position>"]`.
///
/// The last argument is the client's recovery offset: the stock client remembers the last argument of
/// every event if it is a string, so every event must end with one.
pub(super) fn packet(
    notification: &Notification,
    from: &str,
    at: u64,
    position: u64,
    epoch: &str,
) -> Packet {
    let data = notification.data.get();
    let mut text = String::with_capacity(data.len() + 192);
    text.push_str("2[");
    quote(&mut text, notification.event.as_str());
    // An address is ASCII without quotes, by its own rules. Writing to a string cannot fail.
    let _ = write!(
        text,
        ",{{\"id\":\"{position}\",\"at\":{at},\"to\":\"{}\",\"from\":",
        notification.to
    );
    quote(&mut text, from);
    text.push_str(",\"data\":");
    text.push_str(data);
    let _ = write!(text, "}},\"{epoch}-{position}\"]");
    Packet::message(&text)
}

fn quote(text: &mut String, value: &str) {
    let _ = write!(text, "{}", serde_json::Value::from(value));
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{Address, EventName};

    #[test]
    fn data_passes_byte_for_byte() {
        let data = "{ \"b\":1.0e2,\"a\":[ \"\\u00e9\" ] }";
        let notification = Notification {
            to: Address::parse("u/Jos%C3%A9/").unwrap(),
            event: EventName::new("or\"der").unwrap(),
            data: RawValue::from_string(data.to_owned()).unwrap().into(),
            id: None,
        };
        let packet = packet(&notification, "shop", 12, 34, "e");
        let expected = format!(
            "42[\"or\\\"der\",{{\"id\":\"34\",\"at\":12,\"to\":\"u/Jos%C3%A9/\",\"from\":\"shop\",\"data\":{data}}},\"e-34\"]"
        );
        assert_eq!(packet.body(), expected.as_bytes());
    }
}
