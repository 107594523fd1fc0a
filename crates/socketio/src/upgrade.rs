//! The HTTP side of WebSocket: judges an upgrade request and gives its stream to a session, a new
//! one or the one that polls under the request's `sid`.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY};
use actix_http::{Request, RequestHead, Version, h1, ws};
use actix_rt::net::TcpStream;
use actix_rt::time::timeout;
use actix_service::{IntoServiceFactory, ServiceFactory, fn_service};
use bytes::Bytes;
use log::debug;
use protocol::Sid;
use protocol::engine::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::handshake::{Handshake, parameter, query};
use crate::polling::{Failure, judge as judge_handshake};
use crate::server::Worker;
use crate::session::{Session, Visit};
use crate::transport::Socket;
use crate::{Application, Denial};

impl<A: Application> Worker<A> {
    /// The service for `HttpServiceBuilder::upgrade`.
    pub fn upgrade(
        &self,
    ) -> impl ServiceFactory<
        (Request, Framed<TcpStream, h1::Codec>),
        Config = (),
        Response = (),
        Error = Infallible,
        InitError = (),
    > + use<A> {
        let worker = self.clone();
        fn_service(move |(request, framed)| {
            let worker = worker.clone();
            async move {
                if let Err(error) = serve(worker, request, framed).await {
                    debug!("upgrade abandoned error={error}");
                }
                Ok(())
            }
        })
        .into_factory()
    }
}

/// An HTTP answer instead of a WebSocket.
struct Rejection {
    status: &'static str,
    message: String,
}

async fn serve<A: Application>(
    worker: Worker<A>,
    request: Request,
    framed: Framed<TcpStream, h1::Codec>,
) -> io::Result<()> {
    let mut parts = framed.into_parts();
    // What is left of an earlier, pipelined response goes first.
    let mut first = std::mem::take(&mut parts.write_buf).to_vec();
    match judge(&worker, request.head()) {
        Ok(target) => {
            first.extend_from_slice(&switching_protocols(request.head()));
            parts.io.set_nodelay(true)?;
            give(&worker, target, parts.io, first.into(), &parts.read_buf).await
        }
        Err(rejection) => {
            debug!("upgrade rejected message={:?}", rejection.message);
            reject(parts.io, first, rejection).await
        }
    }
}

/// Whom the stream is for.
enum Target {
    New(Box<Handshake>),
    Polling(actix::Recipient<Visit>),
}

fn judge<A: Application>(worker: &Worker<A>, head: &RequestHead) -> Result<Target, Rejection> {
    let config = worker.config();
    if head.uri.path() != config.path {
        return Err(Rejection { status: "404 Not Found", message: "Not found".to_owned() });
    }
    let query = query(head);
    if parameter(&query, "transport") != Some("websocket") || !config.websocket {
        return Err(Refusal::TransportUnknown.into());
    }
    let handshake = Handshake::new(head, config, true);
    if handshake.cors(config).is_none() {
        worker.inner.application.refused(&handshake, Denial::Forbidden("origin"));
        return Err(Denial::Forbidden("origin").into());
    }
    let session = match parameter(&query, "sid") {
        None => None,
        Some(sid) => {
            let session = Sid::parse(sid).and_then(|sid| worker.inner.server.find(&sid));
            Some(session.ok_or(Refusal::SessionUnknown)?)
        }
    };
    // actix lets these pass (RFC 6455 §4.1 does not).
    let body = head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if head.version != Version::HTTP_11 || body || ws::verify_handshake(head).is_err() {
        return Err(Refusal::BadRequest.into());
    }
    match session {
        Some(session) => Ok(Target::Polling(session)),
        None => {
            judge_handshake(worker, &handshake)?;
            Ok(Target::New(Box::new(handshake)))
        }
    }
}

async fn give<A: Application>(
    worker: &Worker<A>,
    target: Target,
    stream: TcpStream,
    first: Bytes,
    early: &[u8],
) -> io::Result<()> {
    match target {
        Target::New(handshake) => {
            let mut socket = Socket::new(stream, early, worker.config().limits.max_payload);
            socket.push(first);
            Session::websocket(worker, *handshake, socket)
        }
        Target::Polling(session) => {
            // The session may live on another worker: there the stream is registered anew.
            let stream = stream.into_std()?;
            let attach = Visit::Attach { stream, first, early: Bytes::copy_from_slice(early) };
            session.send(attach).await.map_err(|_| io::ErrorKind::NotConnected.into())
        }
    }
}

/// RFC 6455 §4.2.2.
fn switching_protocols(head: &RequestHead) -> Vec<u8> {
    let key = head.headers.get(SEC_WEBSOCKET_KEY).map(|key| key.as_bytes()).unwrap_or_default();
    let mut response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: "
        .to_vec();
    response.extend_from_slice(&ws::hash_key(key));
    response.extend_from_slice(b"\r\n\r\n");
    response
}

impl From<Refusal> for Rejection {
    /// As Node does it: 400 and the bare message, whatever the code.
    fn from(refusal: Refusal) -> Self {
        Self { status: "400 Bad Request", message: refusal.to_string() }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Denied(denial) => denial.into(),
        }
    }
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Forbidden(_) => {
                Self { status: "403 Forbidden", message: Refusal::Forbidden.to_string() }
            }
            Denial::TooLarge => Self {
                status: "431 Request Header Fields Too Large",
                message: denial.reason().to_owned(),
            },
            Denial::Unavailable(reason) => Self {
                status: "503 Service Unavailable\r\nRetry-After: 1",
                message: reason.to_owned(),
            },
        }
    }
}

/// Answers, and then reads on for a moment: closing a socket with unread bytes would reset the
/// connection and take the answer with it.
async fn reject(mut stream: TcpStream, mut response: Vec<u8>, why: Rejection) -> io::Result<()> {
    let Rejection { status, message } = why;
    let length = message.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    response.extend_from_slice(head.as_bytes());
    response.extend_from_slice(message.as_bytes());
    let farewell = async {
        stream.write_all(&response).await?;
        stream.shutdown().await?;
        let mut scratch = vec![0; 4096];
        let mut unread = 1 << 20;
        while unread > 0 {
            match stream.read(&mut scratch).await? {
                0 => break,
                n => unread = usize::saturating_sub(unread, n),
            }
        }
        Ok(())
    };
    timeout(Duration::from_secs(5), farewell).await.unwrap_or(Ok(()))
}
