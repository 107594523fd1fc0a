//! A WebSocket on an upgraded stream: frames in, queued bytes out.
//!
//! Only the transport: what the bytes are is in `frames`, and what the messages mean it does not know.
//! An idle one owns no buffer: reading uses one buffer a thread, and what is queued is shared with all
//! other receivers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use actix_rt::time::timeout;
use bytes::Bytes;
use log::debug;
use protocol::Packet;

use crate::frames::{Frames, Input};
use crate::{Close, Io};

pub(crate) struct Socket {
    stream: Io,
    frames: Frames,
    queue: VecDeque<Bytes>,
    /// How much of the queue's front is written.
    written: usize,
    /// The answer to the newest ping; older ones need none (RFC 6455 §5.5.3).
    pong: Option<Bytes>,
}

impl Socket {
    /// Takes over a stream after its HTTP upgrade; `early` is what came behind the request.
    pub(crate) fn new(stream: Io, early: &[u8], max_payload: usize) -> Self {
        Self {
            stream,
            frames: Frames::new(early, max_payload),
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
            if let Some(input) = self.frames.next_input()? {
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
        // TLS may still hold the last of it.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    /// After the last flush: says that nothing more comes, and waits for the client to end too, so
    /// that our last bytes are not lost to a reset.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.stream).poll_shutdown(cx).is_pending() {
            return Poll::Pending;
        }
        loop {
            self.frames.clear();
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

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    self.frames.extend(buffer.filled());
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
