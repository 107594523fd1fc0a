//! The HTTP side of WebSocket: judges an upgrade request and gives its stream to a session, a new
//! one or the one that polls under the request's `sid`.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY};
use actix_http::{Request, RequestHead, Version, h1, ws};
use actix_rt::time::{sleep, timeout};
use actix_service::{IntoServiceFactory, ServiceFactory, fn_service};
use actix_web::web::ServiceConfig;
use bytes::{Bytes, BytesMut};
use log::debug;
use protocol::Sid;
use protocol::engine::{Refusal, Revision};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bond::vouch;
use crate::doorway::Attended;
use crate::handshake::{Handshake, parameter, query};
use crate::polling::{Failure, judge as judge_handshake};
use crate::server::{Polled, Worker};
use crate::session::{Session, Visit};
use crate::transport::Socket;
use crate::{Application, Denial, Io};

impl<A: Application> Worker<A> {
    /// The service for `HttpServiceBuilder::upgrade`, if this is all that is mounted there.
    pub fn upgrade<T: Into<Io> + 'static>(
        &self,
    ) -> impl ServiceFactory<
        (Request, Framed<T, h1::Codec>),
        Config = (),
        Response = (),
        Error = Infallible,
        InitError = (),
    > + use<A, T> {
        upgrade(vec![Rc::new(self.clone())])
    }
}

/// The service for `HttpServiceBuilder::upgrade` that serves several servers, each at its path.
pub fn upgrade<T: Into<Io> + 'static>(
    mounts: Vec<Rc<dyn Mount>>,
) -> impl ServiceFactory<
    (Request, Framed<T, h1::Codec>),
    Config = (),
    Response = (),
    Error = Infallible,
    InitError = (),
> {
    let mounts = Rc::new(mounts);
    fn_service(move |(request, framed): (Request, Framed<T, h1::Codec>)| {
        let parts = framed.into_parts();
        let stream =
            Stream { io: parts.io.into(), first: parts.write_buf.to_vec(), early: parts.read_buf };
        let path = request.path();
        let mount = mounts.iter().find(|mount| mount.path() == path).cloned();
        let attended = Attended::new();
        async move {
            let served = match mount {
                Some(mount) => mount.serve(request, stream).await,
                None => reject(stream.io, stream.first, not_found()).await,
            };
            if let Err(error) = served {
                debug!("upgrade abandoned error={error}");
            }
            drop(attended);
            Ok(())
        }
    })
    .into_factory()
}

/// What HTTP leaves behind.
pub struct Stream {
    io: Io,
    /// What is left of an earlier, pipelined response goes first.
    first: Vec<u8>,
    /// What came behind the request.
    early: BytesMut,
}

/// A [`Worker`], whatever its application.
pub trait Mount: sealed::Serve {}

mod sealed {
    use super::{Request, ServiceConfig, Stream, io};
    use std::future::Future;
    use std::pin::Pin;

    pub trait Serve {
        fn path(&self) -> &str;

        fn configure(&self, config: &mut ServiceConfig);

        fn serve(
            &self,
            request: Request,
            stream: Stream,
        ) -> Pin<Box<dyn Future<Output = io::Result<()>>>>;
    }
}

impl<A: Application> Mount for Worker<A> {}

impl<A: Application> sealed::Serve for Worker<A> {
    fn path(&self) -> &str {
        &self.config().path
    }

    fn configure(&self, config: &mut ServiceConfig) {
        Worker::configure(self, config);
    }

    fn serve(
        &self,
        request: Request,
        stream: Stream,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>>>> {
        Box::pin(serve(self.clone(), request, stream))
    }
}

/// An HTTP answer instead of a WebSocket.
struct Rejection {
    status: String,
    message: String,
}

fn not_found() -> Rejection {
    Rejection { status: "404 Not Found".to_owned(), message: "Not found".to_owned() }
}

async fn serve<A: Application>(
    worker: Worker<A>,
    request: Request,
    stream: Stream,
) -> io::Result<()> {
    let Stream { io, mut first, early } = stream;
    match judge(&worker, request.head()).await {
        Ok(target) => {
            first.extend_from_slice(&switching_protocols(request.head()));
            io.set_nodelay()?;
            give(&worker, target, io, first.into(), &early).await
        }
        Err(rejection) => {
            debug!("upgrade rejected message={:?}", rejection.message);
            reject(io, first, rejection).await
        }
    }
}

/// Whom the stream is for.
enum Target {
    New(Box<Handshake>, Revision),
    Polling(Polled),
}

async fn judge<A: Application>(
    worker: &Worker<A>,
    head: &RequestHead,
) -> Result<Target, Rejection> {
    let config = worker.config();
    let query = query(head);
    if parameter(&query, "transport") != Some("websocket") || !config.websocket {
        return Err(Refusal::TransportUnknown.into());
    }
    let mut handshake = Handshake::new(head, config, true);
    if handshake.origin_is_garbled() {
        return Err(Refusal::BadRequest.into());
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
    if handshake.cors(config).is_none() {
        worker.inner.application.refused(&handshake, Denial::Forbidden("origin"));
        return Err(Denial::Forbidden("origin").into());
    }
    match session {
        Some(session) => {
            vouch(worker, &session, &handshake).await?;
            Ok(Target::Polling(session))
        }
        None => {
            let revision = judge_handshake(worker, &mut handshake)?;
            Ok(Target::New(Box::new(handshake), revision))
        }
    }
}

async fn give<A: Application>(
    worker: &Worker<A>,
    target: Target,
    stream: Io,
    first: Bytes,
    early: &[u8],
) -> io::Result<()> {
    match target {
        Target::New(handshake, revision) => {
            let mut socket = Socket::new(stream, early, worker.config().limits.max_payload);
            socket.push(first);
            if revision == Revision::Three {
                // Clients of that age listen to the WebSocket only after they have seen it open: an
                // open packet in the same segment as the 101 would be lost on them.
                let flush = poll_fn(|cx| socket.poll_flush(cx, &mut 0));
                timeout(worker.config().upgrade_timeout, flush).await??;
                sleep(Duration::from_millis(1)).await;
            }
            Session::websocket(worker, *handshake, revision, socket)
        }
        Target::Polling(session) => {
            // The session may live on another worker: there the stream is registered anew.
            let stream = stream.park()?;
            let attach = Visit::Attach { stream, first, early: Bytes::copy_from_slice(early) };
            session.attach(attach).await
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
        Self { status: "400 Bad Request".to_owned(), message: refusal.to_string() }
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
        let (status, retry_after) = denial.status();
        let message = match denial {
            Denial::Forbidden(_) => Refusal::Forbidden.to_string(),
            _ => denial.reason().to_owned(),
        };
        let retry_after =
            retry_after.map(|seconds| format!("\r\nRetry-After: {seconds}")).unwrap_or_default();
        Self { status: format!("{status}{retry_after}"), message }
    }
}

/// Answers, and then reads on for a moment: closing a socket with unread bytes would reset the
/// connection and take the answer with it.
async fn reject(mut stream: Io, mut response: Vec<u8>, why: Rejection) -> io::Result<()> {
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
