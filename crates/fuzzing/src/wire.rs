//! What several targets share: frames of both directions, and bytes as a script. No target itself.

use protocol::Packet;

/// A server's frame must be one whole, unmasked frame (RFC 6455 §5.1) with its length as short as it
/// can be; returns its opcode.
pub(crate) fn check_frame(packet: &Packet) -> u8 {
    let framed = packet.websocket();
    let [first, second, rest @ ..] = &framed[..] else { panic!("no header in {packet:?}") };
    assert_eq!(first & 0xf0, 0x80, "not final, or with reserved bits: {packet:?}");
    let (length, body) = match second {
        126 => {
            let (length, body) = rest.split_first_chunk().expect("a length of two bytes");
            let length = u64::from(u16::from_be_bytes(*length));
            assert!(length > 125, "{packet:?}");
            (length, body)
        }
        127 => {
            let (length, body) = rest.split_first_chunk().expect("a length of eight bytes");
            let length = u64::from_be_bytes(*length);
            assert!(length > u64::from(u16::MAX), "{packet:?}");
            (length, body)
        }
        short => (u64::from(*short), rest),
    };
    assert_eq!(length, body.len() as u64, "{packet:?}");
    assert_eq!(body, packet.body());
    assert_eq!(packet.size(), framed.len());
    first & 0x0f
}

/// A client's frame: `first` is its first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [3, 141, 59, 26];
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < 126 => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The input as orders, read from the front. At its end it has nothing more to say.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A length, and as many bytes, or as there are.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte().unwrap_or_default()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}
