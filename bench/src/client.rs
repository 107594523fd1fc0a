//! One browser's connection as a value: the upgrade, WebSocket frames, Engine.IO and Socket.IO, from bytes to events.
//!
//! No I/O, no clock: [`load`](crate::load) brings the bytes and writes what [`Connection::output`] holds. It takes
//! the same steps as the stock client with `transports: ["websocket"]`, and is stricter: what that client would
//! overlook is an error here.

use anyhow::{Context as _, Result, bail};

use crate::frame;

/// Any 16 bytes do; these are the RFC's own, whose answer is known without a SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MAX_HEAD: usize = 16 << 10;

pub(crate) struct Connection {
    state: State,
    user: Box<str>,
    /// The beginning of a frame or head whose rest has not come yet.
    partial: Vec<u8>,
    output: Vec<u8>,
    mask: u32,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Incoming<'a> {
    /// The server has accepted the CONNECT packet.
    Joined,
    /// An event's JSON array, as it came.
    Event(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Upgrading,
    Opening,
    Connecting,
    Joined,
}

impl Connection {
    pub(crate) fn new(user: &str, host: &str) -> Self {
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        let seed = user
            .bytes()
            .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self {
            state: State::Upgrading,
            user: user.into(),
            partial: Vec::new(),
            output: request.into_bytes(),
            mask: seed | 1,
        }
    }

    /// What is to be written; the caller takes off what it has written.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Takes bytes from the server, however they are cut. An error is the end of the connection, and says why.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        mut sink: impl FnMut(Incoming<'_>),
    ) -> Result<()> {
        if self.partial.is_empty() {
            let rest = self.consume(bytes, &mut sink)?;
            self.partial.extend_from_slice(rest);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        let rest = self.consume(&joined, &mut sink)?.len();
        if rest > 0 {
            joined.drain(..joined.len() - rest);
            self.partial = joined;
        }
        Ok(())
    }

    /// Handles what is complete and returns what is not.
    fn consume<'a>(
        &mut self,
        mut bytes: &'a [u8],
        sink: &mut impl FnMut(Incoming<'_>),
    ) -> Result<&'a [u8]> {
        if self.state == State::Upgrading {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                if bytes.len() > MAX_HEAD {
                    bail!("the answer's head is over {MAX_HEAD} bytes");
                }
                return Ok(bytes);
            };
            let (head, rest) = bytes.split_at_checked(end + 4).unwrap_or((bytes, &[]));
            check_upgrade(&String::from_utf8_lossy(head), rest)?;
            self.state = State::Opening;
            bytes = rest;
        }
        while let Some((frame, rest)) = frame::next(bytes)? {
            bytes = rest;
            match frame.opcode {
                frame::TEXT => {
                    let packet = std::str::from_utf8(frame.payload)
                        .context("a text frame that is not UTF-8")?;
                    self.packet(packet, sink)?;
                }
                frame::PING => self.send(frame::PONG, frame.payload),
                frame::PONG => {}
                frame::CLOSE => bail!("closed by the server: {}", close_reason(frame.payload)),
                frame::BINARY => bail!("a binary frame of {} bytes", frame.payload.len()),
                other => bail!("a frame with opcode {other}"),
            }
        }
        Ok(bytes)
    }

    fn packet(&mut self, packet: &str, sink: &mut impl FnMut(Incoming<'_>)) -> Result<()> {
        match (self.state, packet.as_bytes()) {
            (State::Joined, [b'4', b'2', b'[', ..]) => {
                sink(Incoming::Event(packet.get(2..).unwrap_or_default()));
            }
            (_, b"2") => self.send(frame::TEXT, b"3"),
            (_, b"6") => {}
            (State::Opening, [b'0', b'{', ..]) => {
                let user = serde_json::Value::from(&*self.user);
                self.send(frame::TEXT, format!(r#"40{{"user":{user}}}"#).as_bytes());
                self.state = State::Connecting;
            }
            (State::Connecting, [b'4', b'0', b'{', ..]) => {
                self.state = State::Joined;
                sink(Incoming::Joined);
            }
            (_, [b'4', b'4', ..]) => bail!("refused: {packet}"),
            (_, b"41" | b"1") => bail!("disconnected by the server"),
            (state, _) => bail!("unexpected packet while {state:?}: {}", shortened(packet)),
        }
        Ok(())
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        // xorshift32: a mask has to vary, nothing more, between a client and its own server.
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 17;
        self.mask ^= self.mask << 5;
        frame::push_masked(&mut self.output, opcode, payload, self.mask.to_ne_bytes());
    }
}

fn check_upgrade(head: &str, body: &[u8]) -> Result<()> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        bail!("no upgrade: {status}: {}", shortened(&String::from_utf8_lossy(body)));
    }
    let accept = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept"))
        .map(|(_, value)| value.trim());
    if accept != Some(ACCEPT) {
        bail!("the answer's Sec-WebSocket-Accept is {accept:?}, not {ACCEPT:?}");
    }
    Ok(())
}

fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => {
            format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason))
        }
        None => "no code".to_owned(),
    }
}

pub(crate) fn shortened(text: &str) -> String {
    let mut start: String = text.chars().take(200).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn text(packet: &str) -> Vec<u8> {
        let mut bytes = vec![0x81, packet.len() as u8];
        bytes.extend(packet.bytes());
        bytes
    }

    fn unmasked(output: &[u8]) -> Vec<u8> {
        let (key, payload) = (&output[2..6], &output[6..]);
        payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    fn conversation() -> Vec<u8> {
        let mut bytes = UPGRADED.as_bytes().to_vec();
        for packet in [r#"0{"sid":"a"}"#, r#"40{"sid":"b"}"#, r#"42["x",1]"#, "2", r#"42["y","é"]"#]
        {
            bytes.extend(text(packet));
        }
        bytes
    }

    #[test]
    fn the_whole_conversation_is_understood_however_it_is_cut() {
        let bytes = conversation();
        for size in 1..=bytes.len() {
            let mut connection = Connection::new("42", "localhost");
            connection.output().clear();
            let mut got = Vec::new();
            for piece in bytes.chunks(size) {
                connection.receive(piece, |incoming| got.push(format!("{incoming:?}"))).unwrap();
            }
            let want = ["Joined", r#"Event("[\"x\",1]")"#, r#"Event("[\"y\",\"é\"]")"#];
            assert_eq!(got, want, "in pieces of {size}");
            assert!(connection.partial.is_empty());
            let output = connection.output();
            let pong = output.split_off(output.len() - 7);
            assert_eq!(unmasked(output), br#"40{"user":"42"}"#);
            assert_eq!(unmasked(&pong), b"3");
        }
    }

    #[test]
    fn every_way_to_end_is_named() {
        for (tail, reason) in [
            (text("41"), "disconnected by the server"),
            (text("1"), "disconnected by the server"),
            (text(r#"44{"message":"unauthorized"}"#), "unauthorized"),
            (vec![0x88, 6, 0x03, 0xE8, b's', b'l', b'o', b'w'], "1000 slow"),
            (vec![0x88, 0], "no code"),
            (vec![0x82, 1, 0], "binary"),
            (text("7"), "unexpected packet"),
        ] {
            let mut connection = Connection::new("42", "localhost");
            connection.receive(&conversation(), |_| ()).unwrap();
            let error = connection.receive(&tail, |_| ()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn an_event_before_joining_and_a_wrong_upgrade_are_errors() {
        let mut connection = Connection::new("42", "localhost");
        connection.receive(UPGRADED.as_bytes(), |_| ()).unwrap();
        assert!(connection.receive(&text(r#"42["x"]"#), |_| ()).is_err());
        for answer in [
            "HTTP/1.1 503 Service Unavailable\r\n\r\ntoo_many".to_owned(),
            UPGRADED.replace("s3p", "S3p"),
        ] {
            let mut connection = Connection::new("42", "localhost");
            assert!(connection.receive(answer.as_bytes(), |_| ()).is_err(), "{answer}");
        }
    }

    #[test]
    fn websocket_pings_are_answered_with_their_payload() {
        let mut connection = Connection::new("42", "localhost");
        connection.receive(&conversation(), |_| ()).unwrap();
        connection.output().clear();
        connection.receive(&[0x89, 2, b'h', b'i'], |_| ()).unwrap();
        assert_eq!(connection.output()[0], 0x8A);
        assert_eq!(unmasked(connection.output()), b"hi");
    }
}
