//! What libzmq tells of a socket's other ends: who came, who went, who failed the handshake.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::SocketError;

/// A change at the other end. `fd` tells connections apart; libzmq gives no other name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PeerEvent {
    /// The handshake is done.
    Ready { endpoint: String },
    /// A TCP connection came up.
    Connected { fd: u32 },
    /// It is gone.
    Lost { fd: u32, endpoint: String },
    /// The other end speaks another protocol or another security.
    HandshakeFailed { endpoint: String },
    /// Nothing of interest, or something new that this code does not know.
    Other,
}

pub(super) struct Monitor {
    socket: zmq::Socket,
}

/// Numbers of `zmq.h`, "Socket transport events".
const CONNECTED: u16 = 0x0001;
const ACCEPTED: u16 = 0x0020;
const CLOSED: u16 = 0x0080;
const DISCONNECTED: u16 = 0x0200;
const HANDSHAKE_FAILED_NO_DETAIL: u16 = 0x0800;
const HANDSHAKE_SUCCEEDED: u16 = 0x1000;
const HANDSHAKE_FAILED_PROTOCOL: u16 = 0x2000;
const HANDSHAKE_FAILED_AUTH: u16 = 0x4000;

impl Monitor {
    pub(super) fn open(context: &zmq::Context, of: &zmq::Socket) -> Result<Self, SocketError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let endpoint = format!("inproc://pregon.monitor.{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let events = CONNECTED
            | ACCEPTED
            | CLOSED
            | DISCONNECTED
            | HANDSHAKE_FAILED_NO_DETAIL
            | HANDSHAKE_SUCCEEDED
            | HANDSHAKE_FAILED_PROTOCOL
            | HANDSHAKE_FAILED_AUTH;
        of.monitor(&endpoint, i32::from(events))?;
        let socket = context.socket(zmq::PAIR)?;
        socket.set_linger(0)?;
        socket.connect(&endpoint)?;
        Ok(Self { socket })
    }

    pub(super) fn descriptor(&self) -> Result<RawFd, SocketError> {
        Ok(self.socket.get_fd()?)
    }

    /// The next event, if there is one.
    pub(super) fn receive(&self) -> Result<Option<PeerEvent>, SocketError> {
        loop {
            return match self.socket.recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => Ok(Some(parse(&frames))),
                Err(zmq::Error::EAGAIN) => Ok(None),
                Err(zmq::Error::EINTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }
}

/// Frame 0 is a u16 and a u32 in the machine's byte order, frame 1 the endpoint. The crate's own
/// reader panics on numbers it does not know, so this does not use it.
fn parse(frames: &[Vec<u8>]) -> PeerEvent {
    let Some(([first, rest @ ..], endpoint)) = frames.first().map(Vec::as_slice).zip(frames.get(1))
    else {
        return PeerEvent::Other;
    };
    let [second, value @ ..] = rest else { return PeerEvent::Other };
    let event = u16::from_ne_bytes([*first, *second]);
    let fd = value.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes)).unwrap_or_default();
    let endpoint = String::from_utf8_lossy(endpoint).into_owned();
    match event {
        CONNECTED | ACCEPTED => PeerEvent::Connected { fd },
        CLOSED | DISCONNECTED => PeerEvent::Lost { fd, endpoint },
        HANDSHAKE_SUCCEEDED => PeerEvent::Ready { endpoint },
        HANDSHAKE_FAILED_NO_DETAIL | HANDSHAKE_FAILED_PROTOCOL | HANDSHAKE_FAILED_AUTH => {
            PeerEvent::HandshakeFailed { endpoint }
        }
        _ => PeerEvent::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_unknown_ones_ignored() {
        let frames = |event: u16, value: u32| {
            let mut first = event.to_ne_bytes().to_vec();
            first.extend_from_slice(&value.to_ne_bytes());
            vec![first, b"tcp://x:1".to_vec()]
        };
        assert_eq!(parse(&frames(CONNECTED, 7)), PeerEvent::Connected { fd: 7 });
        let lost = PeerEvent::Lost { fd: 7, endpoint: "tcp://x:1".to_owned() };
        assert_eq!(parse(&frames(DISCONNECTED, 7)), lost);
        assert_eq!(parse(&frames(0x8000, 7)), PeerEvent::Other);
        assert_eq!(parse(&[]), PeerEvent::Other);
        assert_eq!(parse(&[vec![1], Vec::new()]), PeerEvent::Other);
    }
}
