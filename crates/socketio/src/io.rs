//! The byte stream under HTTP and WebSocket: TCP, or TLS on it.
//!
//! The handshake is not done here: whoever listens brings a stream that is through with it. TLS is
//! driven here and not by tokio-rustls since its stream cannot be put together again on another
//! worker, where a polling session's WebSocket may have to go.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use actix_rt::net::TcpStream;
use rustls::ServerConnection;

/// A client's stream.
#[derive(Debug)]
pub enum Io {
    /// TCP.
    Plain(TcpStream),
    /// TLS, after its handshake. Boxed, so that connections without it do not pay for it.
    Tls(TcpStream, Box<ServerConnection>),
}

/// A stream on its way to another worker: off one reactor, and not yet on the next. What rustls has
/// read and not yet given away travels with it.
#[derive(Debug)]
pub(crate) struct Parked {
    stream: std::net::TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl Io {
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        let (Self::Plain(stream) | Self::Tls(stream, _)) = self;
        stream.set_nodelay(true)
    }

    pub(crate) fn park(self) -> io::Result<Parked> {
        Ok(match self {
            Self::Plain(stream) => Parked { stream: stream.into_std()?, tls: None },
            Self::Tls(stream, tls) => Parked { stream: stream.into_std()?, tls: Some(tls) },
        })
    }
}

impl Parked {
    /// Registers it with this thread's reactor.
    pub(crate) fn resume(self) -> io::Result<Io> {
        let stream = TcpStream::from_std(self.stream)?;
        Ok(match self.tls {
            None => Io::Plain(stream),
            Some(tls) => Io::Tls(stream, tls),
        })
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream, tls) => poll_read(stream, tls, cx, buf),
        }
    }
}

/// As rustls buffers, what was written is on its way only after a flush.
impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream, tls) => poll_write(stream, tls, cx, &[IoSlice::new(data)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream, tls) => poll_write(stream, tls, cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream, tls) => poll_send(stream, tls, cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream, tls) => {
                // Said once, however often this is polled.
                tls.send_close_notify();
                ready!(poll_send(stream, tls, cx))?;
                Pin::new(stream).poll_shutdown(cx)
            }
        }
    }
}

fn poll_read(
    stream: &mut TcpStream,
    tls: &mut ServerConnection,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    loop {
        // First what is decrypted already: for that, the socket will not become readable again.
        match tls.reader().read(buf.initialize_unfilled()) {
            Ok(n) => {
                buf.advance(n);
                return Poll::Ready(Ok(()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The end without a goodbye. HTTP and WebSocket know by themselves what is cut off.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Poll::Ready(Ok(()));
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
        match tls.read_tls(&mut Blocking { stream, cx }) {
            Ok(_) => {
                if let Err(error) = tls.process_new_packets() {
                    // The client is told why, if that can be done at once.
                    let _told = poll_send(stream, tls, cx);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Ready once rustls has taken something; it takes at most 64 KiB more than it could send.
fn poll_write(
    stream: &mut TcpStream,
    tls: &mut ServerConnection,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if slices.iter().all(|slice| slice.is_empty()) {
        return Poll::Ready(Ok(0));
    }
    loop {
        let taken = tls.writer().write_vectored(slices)?;
        match poll_send(stream, tls, cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            _ if taken > 0 => return Poll::Ready(Ok(taken)),
            Poll::Ready(Ok(())) => {}
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Ready when rustls has nothing more to send.
fn poll_send(
    stream: &mut TcpStream,
    tls: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        match tls.write_tls(&mut Blocking { stream, cx }) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// The stream as rustls wants it: pending is `WouldBlock`, and whoever waits is woken.
struct Blocking<'a, 'b> {
    stream: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl io::Read for Blocking<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buf) {
            Poll::Ready(outcome) => outcome.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl io::Write for Blocking<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write(self.cx, data) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write_vectored(self.cx, slices) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// TCP has nothing to flush.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
