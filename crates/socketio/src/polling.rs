//! The HTTP side of long-polling: judges a request, finds its session, and waits for the answer.
//!
//! What an answer contains is the session's business; here are only HTTP and its limits.

use actix::Recipient;
use actix_rt::time::timeout;
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY,
};
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use log::error;
use protocol::Sid;
use protocol::engine::Refusal;
use tokio::sync::oneshot;

use crate::handshake::{Handshake, parameter, query};
use crate::origin::Cors;
use crate::server::Worker;
use crate::session::{Reply, Session, Visit};
use crate::{Application, Denial};

impl<A: Application> Worker<A> {
    /// Mounts long-polling on an actix-web application, at the configured path. The HTTP service around
    /// it should not allow half-closed connections, or a client that goes away while it polls is
    /// noticed late.
    pub fn configure(&self, config: &mut ServiceConfig) {
        let worker = self.clone();
        config.service(
            web::resource(self.config().path.clone()).to(
                move |request: HttpRequest, body: Payload| serve(worker.clone(), request, body),
            ),
        );
    }
}

async fn serve<A: Application>(
    worker: Worker<A>,
    request: HttpRequest,
    body: Payload,
) -> HttpResponse {
    let handshake = Handshake::new(request.head(), worker.config(), false);
    let Some(cors) = handshake.cors(worker.config()) else {
        worker.inner.application.refused(&handshake, Denial::Forbidden("origin"));
        return refusal(Refusal::Forbidden, &Cors::None);
    };
    if request.method() == Method::OPTIONS {
        return preflight(&cors);
    }
    match answer(&worker, &request, handshake, body).await {
        Ok(reply) => respond(request.method(), reply, &cors),
        Err(Failure::Refused(why)) => refusal(why, &cors),
        Err(Failure::Denied(denial)) => denied(denial, &cors),
    }
}

/// Why a request gets no session's answer. Shared with the WebSocket side.
pub(crate) enum Failure {
    Refused(Refusal),
    Denied(Denial),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

async fn answer<A: Application>(
    worker: &Worker<A>,
    request: &HttpRequest,
    handshake: Handshake,
    body: Payload,
) -> Result<Reply, Failure> {
    let query = query(request.head());
    let polling = match parameter(&query, "transport") {
        Some("polling") if worker.config().polling => true,
        Some("websocket") if worker.config().websocket => false,
        _ => return Err(Refusal::TransportUnknown.into()),
    };
    let session = match parameter(&query, "sid") {
        Some(sid) => {
            let session = Sid::parse(sid).and_then(|sid| worker.inner.server.find(&sid));
            Some(session.ok_or(Refusal::SessionUnknown)?)
        }
        None if request.method() != Method::GET => return Err(Refusal::BadHandshakeMethod.into()),
        None => None,
    };
    if !polling {
        // It asks for a WebSocket, but did not ask HTTP for one.
        return Err(Refusal::BadRequest.into());
    }
    let session = match session {
        Some(session) => session,
        None => {
            judge(worker, &handshake)?;
            let session = Session::poll(worker, handshake).map_err(|why| {
                error!("no session id could be drawn error={why}");
                Failure::Denied(Denial::Unavailable("store_unavailable"))
            })?;
            session.recipient()
        }
    };
    match *request.method() {
        Method::GET => Ok(visit(&session, |reply| Visit::Get { reply }).await?),
        Method::POST => {
            let Some(body) = read(worker, request, body).await? else { return Ok(Reply::TooLarge) };
            Ok(visit(&session, |reply| Visit::Post { body, reply }).await?)
        }
        _ => Err(Refusal::BadRequest.into()),
    }
}

/// Whether a connection may begin. Shared with the WebSocket side.
pub(crate) fn judge<A: Application>(
    worker: &Worker<A>,
    handshake: &Handshake,
) -> Result<(), Failure> {
    let application = &worker.inner.application;
    let denied = |denial| {
        application.refused(handshake, denial);
        Failure::Denied(denial)
    };
    if handshake.head_size() > MAX_HEAD {
        return Err(denied(Denial::TooLarge));
    }
    if !worker.inner.server.has_room_for_strangers() {
        return Err(denied(Denial::Unavailable("too_many")));
    }
    application.handshake(handshake).map_err(denied)?;
    match handshake.parameter("EIO") {
        Some("4") => Ok(()),
        _ => Err(Refusal::UnsupportedVersion.into()),
    }
}

/// Bytes of a first request's headers and query: they are kept until the client has joined.
const MAX_HEAD: usize = 16 << 10;

async fn visit(
    session: &Recipient<Visit>,
    message: impl FnOnce(oneshot::Sender<Reply>) -> Visit,
) -> Result<Reply, Refusal> {
    let (reply, answer) = oneshot::channel();
    // Either fails only when the session has ended.
    session.send(message(reply)).await.map_err(|_| Refusal::SessionUnknown)?;
    answer.await.map_err(|_| Refusal::SessionUnknown)
}

/// The body, or `None` if it is too large.
async fn read<A: Application>(
    worker: &Worker<A>,
    request: &HttpRequest,
    body: Payload,
) -> Result<Option<Bytes>, Refusal> {
    let binary =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
    if binary {
        // Engine.IO 4 has no binary payloads.
        return Err(Refusal::BadRequest);
    }
    let limit = worker.config().limits.max_payload;
    match timeout(worker.config().body_timeout, body.to_bytes_limited(limit)).await {
        Ok(Ok(Ok(body))) => Ok(Some(body)),
        Ok(Err(_limit)) => Ok(None),
        Ok(Ok(Err(_))) | Err(_) => Err(Refusal::BadRequest),
    }
}

fn respond(method: &Method, reply: Reply, cors: &Cors) -> HttpResponse {
    match reply {
        Reply::Payload(body) => {
            // What Node says, to the letter: proxies and clients are used to it.
            let kind =
                if *method == Method::POST { "text/html" } else { "text/plain; charset=UTF-8" };
            builder(StatusCode::OK, cors).insert_header((CONTENT_TYPE, kind)).body(body)
        }
        Reply::Refused(why) => refusal(why, cors),
        Reply::BadRequest => builder(StatusCode::BAD_REQUEST, cors).finish(),
        Reply::TooLarge => builder(StatusCode::PAYLOAD_TOO_LARGE, cors).finish(),
    }
}

fn refusal(why: Refusal, cors: &Cors) -> HttpResponse {
    let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::BAD_REQUEST);
    builder(status, cors).insert_header((CONTENT_TYPE, "application/json")).body(why.body())
}

fn denied(denial: Denial, cors: &Cors) -> HttpResponse {
    match denial {
        Denial::Forbidden(_) => refusal(Refusal::Forbidden, cors),
        Denial::TooLarge => builder(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, cors).finish(),
        Denial::Unavailable(reason) => builder(StatusCode::SERVICE_UNAVAILABLE, cors)
            .insert_header((RETRY_AFTER, "1"))
            .insert_header((CONTENT_TYPE, "application/json"))
            .body(format!("{{\"message\":\"{reason}\"}}")),
    }
}

fn preflight(cors: &Cors) -> HttpResponse {
    builder(StatusCode::NO_CONTENT, cors)
        .insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET,POST"))
        .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, "content-type"))
        .finish()
}

fn builder(status: StatusCode, cors: &Cors) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((VARY, "Origin"));
    match cors {
        Cors::None => {}
        Cors::Any => {
            response.insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
        }
        Cors::Origin(origin) => {
            response.insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, origin.as_str()));
            response.insert_header((ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"));
        }
    }
    response
}
