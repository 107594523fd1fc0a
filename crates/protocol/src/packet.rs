//! An outgoing Engine.IO packet, framed once.
//!
//! A notification for ten thousand connections is one `Packet`: its bytes already carry the
//! WebSocket header (a server's frames are not masked, so they are the same for everyone), and a
//! polling transport takes the same bytes without that header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::engine::three;

/// Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    framed: Bytes,
    head: u8,
    binary: bool,
}

impl Packet {
    /// An Engine.IO packet as text, its type digit first.
    pub fn text(packet: &str) -> Self {
        Self::frame(OPCODE_TEXT, &[packet.as_bytes()])
    }

    /// A Socket.IO packet, wrapped into an Engine.IO `message`.
    pub fn message(packet: &str) -> Self {
        Self::frame(OPCODE_TEXT, &[b"4", packet.as_bytes()])
    }

    /// An attachment.
    pub fn binary(data: &[u8]) -> Self {
        Self::frame(OPCODE_BINARY, &[data])
    }

    /// An attachment for a client of Engine.IO 3, whose binary packets begin with their type.
    pub fn binary_three(data: &[u8]) -> Self {
        Self::frame(OPCODE_BINARY, &[&[three::MESSAGE], data])
    }

    /// A WebSocket's answer to a ping; only for that transport.
    pub fn pong(data: &[u8]) -> Self {
        Self::frame(OPCODE_PONG, &[data])
    }

    /// A WebSocket's last frame; only for that transport.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::frame(OPCODE_CLOSE, &[&code.to_be_bytes(), reason.as_bytes()])
    }

    /// The bytes for a WebSocket: one unfragmented frame (RFC 6455 §5.2).
    pub const fn websocket(&self) -> &Bytes {
        &self.framed
    }

    /// Appends the packet as an item of a polling payload: text as it is, binary as `b` and base64.
    pub fn write_polling(&self, payload: &mut Vec<u8>) {
        let body = self.body();
        if self.binary {
            payload.push(b'b');
            payload.extend_from_slice(STANDARD.encode(body).as_bytes());
        } else {
            payload.extend_from_slice(body);
        }
    }

    /// Whether it is an attachment.
    pub const fn is_binary(&self) -> bool {
        self.binary
    }

    /// How many bytes of an outbox it takes.
    pub fn size(&self) -> usize {
        self.framed.len()
    }

    /// The packet without any framing.
    pub fn body(&self) -> &[u8] {
        self.framed.get(usize::from(self.head)..).unwrap_or_default()
    }

    fn frame(opcode: u8, parts: &[&[u8]]) -> Self {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut framed = Vec::with_capacity(length + 10);
        framed.push(FIN | opcode);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => framed.push(short),
            (_, Ok(medium)) => {
                framed.push(126);
                framed.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                framed.push(127);
                framed.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let head = u8::try_from(framed.len()).unwrap_or_default();
        for part in parts {
            framed.extend_from_slice(part);
        }
        Self { framed: framed.into(), head, binary: opcode == OPCODE_BINARY }
    }
}

const FIN: u8 = 0x80;
const OPCODE_TEXT: u8 = 1;
const OPCODE_BINARY: u8 = 2;
const OPCODE_CLOSE: u8 = 8;
const OPCODE_PONG: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_grows_with_the_length() {
        for (length, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let packet = Packet::binary(&vec![7; length]);
            assert_eq!(packet.size(), length + head, "{length}");
            assert_eq!(packet.body().len(), length);
        }
    }

    #[test]
    fn polling_takes_text_as_it_is_and_binary_as_base64() {
        let mut payload = Vec::new();
        Packet::message("2[\"a\"]").write_polling(&mut payload);
        payload.push(0x1e);
        Packet::binary(&[1, 2, 3]).write_polling(&mut payload);
        assert_eq!(payload, b"42[\"a\"]\x1ebAQID");
    }
}
