//! A WebSocket on an upgraded TCP stream: frames in, queued bytes out.
//!
//! Only the transport: it does not know what the messages mean. An idle one owns no buffer: reading
//! uses one buffer a thread, and what is queued is shared with all other receivers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_codec::{AsyncRead, AsyncWrite, Decoder, ReadBuf};
use actix_http::ws::{Codec, Frame, Item, ProtocolError};
use actix_rt::net::TcpStream;
use actix_rt::time::timeout;
use bytes::{Bytes, BytesMut};
use log::debug;
use protocol::Packet;

use crate::Close;

/// What a client sent.
#[derive(Debug)]
pub(crate) enum Input {
    Text(Bytes),
    Binary(Bytes),
    /// To be answered with the same bytes (RFC 6455 §5.5.2).
    Ping(Bytes),
    Close,
}

impl Input {
    /// Bytes, and something for the trouble.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(data) | Self::Binary(data) | Self::Ping(data) => data.len() + 64,
            Self::Close => 64,
        }
    }
}

pub(crate) struct Socket {
    stream: TcpStream,
    codec: Codec,
    /// Bytes of a frame that has not arrived whole.
    partial: BytesMut,
    fragments: Option<Box<Fragments>>,
    max_payload: usize,
    queue: VecDeque<Bytes>,
    /// How much of the queue's front is written.
    written: usize,
    /// The answer to the newest ping; older ones need none (RFC 6455 §5.5.3).
    pong: Option<Bytes>,
}

struct Fragments {
    text: bool,
    data: BytesMut,
}

impl Socket {
    /// Takes over a stream after its HTTP upgrade; `early` is what came behind the request.
    pub(crate) fn new(stream: TcpStream, early: &[u8], max_payload: usize) -> Self {
        Self {
            stream,
            codec: Codec::new().max_size(max_payload),
            partial: BytesMut::from(early),
            fragments: None,
            max_payload,
            queue: VecDeque::new(),
            written: 0,
            pong: None,
        }
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.queue.push_back(bytes);
    }

    /// Answers a ping, once what is queued is written. Returns the bytes that adds, and those that it
    /// replaces.
    pub(crate) fn pong(&mut self, data: &[u8]) -> (usize, usize) {
        let pong = Packet::pong(data).websocket().clone();
        let added = pong.len();
        let replaced = self.pong.replace(pong).map_or(0, |old| old.len());
        (added, replaced)
    }

    /// Bytes that are queued and not yet written.
    pub(crate) fn queued(&self) -> usize {
        self.queue.iter().map(Bytes::len).sum::<usize>().saturating_sub(self.written)
    }

    /// The next message. Ends when the stream does: [`Close::Transport`].
    pub(crate) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input, Close>> {
        let mut fills = 0;
        loop {
            if let Some(input) = self.next_input()? {
                return Poll::Ready(Ok(input));
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Close::Transport)),
                Poll::Ready(Ok(_)) if fills < FILLS_PER_TURN => fills += 1,
                Poll::Ready(Ok(_)) => {
                    // Nothing but pieces and pongs: others want their turn too.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Writes what is queued, many messages a call; returns the bytes written. Not ready until all
    /// is written.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.queue.is_empty() {
                match self.pong.take() {
                    Some(pong) => self.queue.push_back(pong),
                    None => break,
                }
            }
            let mut slices = [IoSlice::new(&[]); 64];
            let mut skip = self.written;
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(bytes.get(skip..).unwrap_or_default());
                skip = 0;
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            let n = match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            *written += n;
            self.advance(n);
        }
        if self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    /// After the last flush: says that nothing more comes, and waits for the client to end too, so
    /// that our last bytes are not lost to a reset.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.stream).poll_shutdown(cx).is_pending() {
            return Poll::Pending;
        }
        loop {
            self.partial.clear();
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Sends what is queued and ends, in bounded time; for a stream that no session wants.
    pub(crate) async fn dismiss(mut self) {
        let farewell = poll_fn(|cx| match self.poll_flush(cx, &mut 0) {
            Poll::Ready(Ok(())) => self.poll_end(cx),
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        });
        if timeout(Duration::from_secs(5), farewell).await.is_err() {
            debug!("a surplus websocket did not end by itself");
        }
    }

    fn advance(&mut self, mut n: usize) {
        n += self.written;
        while let Some(front) = self.queue.front() {
            if n < front.len() {
                break;
            }
            n -= front.len();
            self.queue.pop_front();
        }
        self.written = n;
    }

    fn next_input(&mut self) -> Result<Option<Input>, Close> {
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

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    self.partial.extend_from_slice(buffer.filled());
                    Poll::Ready(Ok(buffer.filled().len()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
    }
}

thread_local! {
    /// Borrowed only while one read lasts.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 * 1024].into_boxed_slice());
}

/// Reads without a whole message before others get their turn.
const FILLS_PER_TURN: usize = 16;

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
