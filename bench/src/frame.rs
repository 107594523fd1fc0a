//! WebSocket frames as a client reads and writes them (RFC 6455 §5), for the little that a Socket.IO server sends.
//!
//! Not a WebSocket library: no extensions, and a fragmented message is an error, since no server under test
//! fragments and silently joining pieces would hide it if one began to.

use anyhow::{Result, bail};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// More than any frame of ours by far; a length above it means that we lost the frame boundary.
const MAX_PAYLOAD: u64 = 16 << 20;

#[derive(Debug, PartialEq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
}

/// The first frame of `bytes` and what follows it; `None` if it is not complete yet.
pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let opcode = first & 0x0F;
    if first & 0xF0 != 0x80 || opcode == 0 {
        bail!("a fragmented frame, or one with an extension's bits: first byte {first:#04x}");
    }
    if second & 0x80 != 0 {
        bail!("a masked frame from a server");
    }
    let Some((length, rest)) = length(*second, rest) else {
        return Ok(None);
    };
    if length > MAX_PAYLOAD {
        bail!("a frame of {length} bytes");
    }
    let Ok(length) = usize::try_from(length) else {
        bail!("a frame of {length} bytes");
    };
    Ok(rest.split_at_checked(length).map(|(payload, rest)| (Frame { opcode, payload }, rest)))
}

/// Appends one final frame, masked with `key` as every client must.
pub(crate) fn push_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8], key: [u8; 4]) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | u8::try_from(short).unwrap_or(0)),
        medium => match u16::try_from(medium) {
            Ok(length) => {
                out.push(0x80 | 126);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(medium as u64).to_be_bytes());
            }
        },
    }
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

fn length(second: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    match second & 0x7F {
        126 => rest
            .split_first_chunk::<2>()
            .map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest)),
        127 => {
            rest.split_first_chunk::<8>().map(|(length, rest)| (u64::from_be_bytes(*length), rest))
        }
        short => Some((short.into(), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match payload.len() {
            short @ 0..126 => bytes.push(short as u8),
            medium @ 126..65536 => {
                bytes.push(126);
                bytes.extend((medium as u16).to_be_bytes());
            }
            long => {
                bytes.push(127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn every_length_form_is_read_and_every_cut_is_partial() {
        for size in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'x'; size];
            let bytes = server_frame(&payload);
            let (frame, rest) = next(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.payload.len(), rest.len()), (TEXT, size, 0));
            for cut in (0..bytes.len()).step_by(1 + size / 50) {
                assert_eq!(next(&bytes[..cut]).unwrap(), None, "{size} cut at {cut}");
            }
        }
    }

    #[test]
    fn fragments_masks_extensions_and_absurd_lengths_are_errors() {
        for bytes in [
            &[0x01, 0x00][..],
            &[0x80, 0x00],
            &[0xC1, 0x00],
            &[0x81, 0x80, 0, 0, 0, 0],
            &[0x81, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(next(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_masked_frame_unmasks_to_its_payload() {
        for size in [0, 5, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let mut out = Vec::new();
            push_masked(&mut out, TEXT, &payload, [1, 2, 3, 4]);
            assert_eq!(out[1] & 0x80, 0x80);
            let header = out.len() - size - 4;
            let unmasked: Vec<u8> = out[header + 4..]
                .iter()
                .enumerate()
                .map(|(i, byte)| byte ^ out[header + i % 4])
                .collect();
            assert_eq!(unmasked, payload);
        }
    }
}
