//! What a client sends over a WebSocket: bytes in, whole messages out, however the bytes were split.
//!
//! Pure, like the crate `protocol`: no stream, no clock, no task. The framing itself is actix's codec;
//! here is what it leaves open: fragments put together, a length refused before its bytes have come,
//! and no buffer held while nothing is awaited. It sits below `transport`, which reads the stream.

use actix_codec::Decoder;
use actix_http::ws::{Codec, Frame, Item, ProtocolError};
use bytes::{Bytes, BytesMut};

use crate::Close;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// Not yet known to be UTF-8.
    Text(Bytes),
    /// An attachment.
    Binary(Bytes),
    /// To be answered with the same bytes (RFC 6455 §5.5.2).
    Ping(Bytes),
    /// The client closes.
    Close,
}

impl Input {
    /// Bytes, and something for the trouble.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(data) | Self::Binary(data) | Self::Ping(data) => data.len() + 64,
            Self::Close => 64,
        }
    }
}

/// A client's bytes, as far as they are no message yet.
#[derive(Debug)]
pub struct Frames {
    codec: Codec,
    /// Bytes of a frame that has not arrived whole.
    partial: BytesMut,
    fragments: Option<Box<Fragments>>,
    max_payload: usize,
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    data: BytesMut,
}

impl Frames {
    /// Begins with what came behind the upgrade's request.
    pub fn new(early: &[u8], max_payload: usize) -> Self {
        Self {
            codec: Codec::new().max_size(max_payload),
            partial: BytesMut::from(early),
            fragments: None,
            max_payload,
        }
    }

    /// Takes bytes as they come.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
    }

    /// Forgets the bytes of a frame that has not arrived whole: the end of a stream is read unheard.
    pub fn clear(&mut self) {
        self.partial.clear();
    }

    /// The next message, if it has arrived whole.
    ///
    /// # Errors
    /// The connection is over, for the reason returned; what else came cannot be read.
    pub fn next_input(&mut self) -> Result<Option<Input>, Close> {
        while !self.partial.is_empty() {
            let frame = self.codec.decode(&mut self.partial).map_err(|error| reason(&error))?;
            let Some(frame) = frame else {
                // The codec would wait for all of it, however much that is.
                return match claim(&self.partial) {
                    Some(length) if length > self.max_payload as u64 => Err(Close::TooLarge),
                    _ => Ok(None),
                };
            };
            if self.partial.is_empty() {
                self.partial = BytesMut::new();
            }
            match frame {
                Frame::Text(data) => return Ok(Some(Input::Text(data))),
                Frame::Binary(data) => return Ok(Some(Input::Binary(data))),
                Frame::Ping(data) => return Ok(Some(Input::Ping(data))),
                Frame::Pong(_) => {}
                Frame::Close(_) => return Ok(Some(Input::Close)),
                Frame::Continuation(item) => {
                    if let Some(input) = self.fragment(item)? {
                        return Ok(Some(input));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Bytes that wait for others.
    #[cfg(feature = "fuzzing")]
    pub fn held(&self) -> usize {
        self.partial.len() + self.fragments.as_ref().map_or(0, |fragments| fragments.data.len())
    }

    fn fragment(&mut self, item: Item) -> Result<Option<Input>, Close> {
        let (data, last) = match item {
            Item::FirstText(data) => {
                self.fragments = Some(Box::new(Fragments { text: true, data: BytesMut::new() }));
                (data, false)
            }
            Item::FirstBinary(data) => {
                self.fragments = Some(Box::new(Fragments { text: false, data: BytesMut::new() }));
                (data, false)
            }
            Item::Continue(data) => (data, false),
            Item::Last(data) => (data, true),
        };
        // The codec lets a continuation pass only after a first fragment.
        let fragments = self.fragments.as_mut().ok_or(Close::Protocol)?;
        if fragments.data.len() + data.len() > self.max_payload {
            return Err(Close::TooLarge);
        }
        fragments.data.extend_from_slice(&data);
        if !last {
            return Ok(None);
        }
        let whole = self.fragments.take().ok_or(Close::Protocol)?;
        let data = whole.data.freeze();
        Ok(Some(if whole.text { Input::Text(data) } else { Input::Binary(data) }))
    }
}

/// The payload's length as a frame's first bytes claim it, once they are there (RFC 6455 §5.2).
fn claim(frame: &[u8]) -> Option<u64> {
    let [_, second, rest @ ..] = frame else { return None };
    match second & 0x7f {
        126 => rest.first_chunk().map(|length| u16::from_be_bytes(*length).into()),
        127 => rest.first_chunk().map(|length| u64::from_be_bytes(*length)),
        short => Some(short.into()),
    }
}

fn reason(error: &ProtocolError) -> Close {
    match error {
        ProtocolError::Overflow => Close::TooLarge,
        _ => Close::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIN: u8 = 0x80;
    const MAX: usize = 200;

    /// A client's frame (RFC 6455 §5.2), its length written as short as it can be.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 77, 177, 9];
        let mut frame = vec![first];
        match u8::try_from(payload.len()) {
            Ok(length) if length < 126 => frame.push(0x80 | length),
            _ => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// All inputs, and the end if there was one, of a stream that comes in these pieces.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Input>, Option<Close>) {
        let mut frames = Frames::new(&[], MAX);
        let mut inputs = Vec::new();
        for piece in pieces {
            frames.extend(piece);
            loop {
                match frames.next_input() {
                    Ok(Some(input)) => inputs.push(input),
                    Ok(None) => break,
                    Err(close) => return (inputs, Some(close)),
                }
            }
        }
        (inputs, None)
    }

    #[test]
    fn fragments_become_one_message_and_a_ping_may_come_between() {
        let stream = [
            frame(1, b"he"),
            frame(FIN | 9, b"there?"),
            frame(0, b"l"),
            frame(FIN, b"lo"),
            frame(FIN | 10, b"a pong"),
            frame(2, &[1]),
            frame(FIN, &[]),
            frame(FIN | 8, &[]),
        ];
        let expected = vec![
            Input::Ping("there?".into()),
            Input::Text("hello".into()),
            Input::Binary(vec![1].into()),
            Input::Close,
        ];
        assert_eq!(read(stream.iter().map(Vec::as_slice)), (expected, None));
    }

    #[test]
    fn too_large_is_said_before_the_bytes_have_come() {
        let long = [0x80 | 127, 0, 0, 0, 1, 0, 0, 0, 0];
        let cases: [&[u8]; 4] = [
            &frame(FIN | 2, &[0; MAX + 1]),
            &frame(FIN | 2, &[0; MAX + 1])[..4],
            &[&[FIN | 2], &long[..]].concat(),
            &[frame(2, &[0; MAX]), frame(FIN, &[0])].concat(),
        ];
        for stream in cases {
            assert_eq!(read([stream]), (Vec::new(), Some(Close::TooLarge)), "{stream:?}");
        }
        let (inputs, end) = read([&frame(FIN | 2, &[0; MAX])[..]]);
        assert_eq!((inputs.len(), end), (1, None));
    }

    #[test]
    fn breaches_end_the_connection() {
        let cases: [&[u8]; 7] = [
            &[FIN | 1, 1, b'a'],
            &frame(FIN | 0x41, b"a"),
            &frame(FIN | 3, b"a"),
            &frame(FIN, b"a"),
            &frame(9, b"a"),
            &[frame(1, b"a"), frame(FIN | 1, b"b")].concat(),
            &frame(FIN | 9, &[0; 126]),
        ];
        for stream in cases {
            assert_eq!(read([stream]), (Vec::new(), Some(Close::Protocol)), "{stream:?}");
        }
    }

    #[test]
    fn nothing_is_held_while_nothing_is_awaited() {
        let mut frames = Frames::new(&[], MAX);
        assert_eq!(frames.partial.capacity(), 0);
        frames.extend(&[frame(1, b"4"), frame(FIN, b"2"), frame(FIN | 10, b"pong")].concat());
        assert_eq!(frames.next_input(), Ok(Some(Input::Text("42".into()))));
        assert_eq!(frames.next_input(), Ok(None));
        assert_eq!((frames.partial.capacity(), frames.fragments.is_none()), (0, true));
    }

    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let opcode =
            prop_oneof![Just(0_u8), Just(1), Just(2), Just(8), Just(9), Just(10), 0..16_u8];
        let frames = (any::<bool>(), opcode, proptest::collection::vec(any::<u8>(), 0..MAX + 3))
            .prop_map(|(fin, opcode, payload)| frame(u8::from(fin) << 7 | opcode, &payload));
        let frames = proptest::collection::vec(frames, 0..8).prop_map(|frames| frames.concat());
        // Most are well-formed; the others show what a stream does that is none.
        prop_oneof![4 => frames, 1 => proptest::collection::vec(any::<u8>(), 0..64)]
    }

    proptest! {
        #[test]
        fn any_split_yields_the_same_inputs(
            stream in streams(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let whole = read([&stream[..]]);
            prop_assert_eq!(&read(cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]])), &whole);
            prop_assert_eq!(&read(stream.chunks(1)), &whole);
        }
    }
}
