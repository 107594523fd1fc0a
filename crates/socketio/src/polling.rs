//! The HTTP side of long-polling: judges a request, finds its session, and waits for the answer.
//!
//! What an answer contains is the session's business; here are only HTTP and its limits.

use actix_rt::time::timeout;
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_TYPE,
    HeaderValue, RETRY_AFTER, SET_COOKIE, VARY,
};
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use log::error;
use protocol::Sid;
use protocol::engine::{Refusal, Revision};

use crate::bond::vouch;
use crate::handshake::{Handshake, parameter, query};
use crate::origin::Cors;
use crate::server::{Polled, Worker};
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
    let judged = handshake.cors(worker.config());
    let cors = judged.clone().unwrap_or(Cors::None);
    if request.method() == Method::OPTIONS {
        if judged.is_some() {
            return preflight(&request, &cors);
        }
        worker.inner.application.refused(&handshake, Denial::Forbidden("origin"));
        return refusal(Refusal::Forbidden, &cors);
    }
    match answer(&worker, &request, handshake, judged.is_some(), body).await {
        Ok((reply, opened)) => {
            let mut response = respond(reply, &cors);
            if let (Some(name), Some(sid)) = (&worker.config().cookie, opened) {
                set_cookie(&mut response, name, &sid);
            }
            response
        }
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

/// Judges in the order of Engine.IO's reference server, Node: outsiders tell versions by it. Returns the
/// session's reply and, if the request has opened the session, its id.
async fn answer<A: Application>(
    worker: &Worker<A>,
    request: &HttpRequest,
    mut handshake: Handshake,
    page_may: bool,
    body: Payload,
) -> Result<(Reply, Option<Sid>), Failure> {
    let query = query(request.head());
    let polling = match parameter(&query, "transport") {
        Some("polling") if worker.config().polling => true,
        Some("websocket") if worker.config().websocket => false,
        _ => return Err(Refusal::TransportUnknown.into()),
    };
    if handshake.origin_is_garbled() {
        return Err(Refusal::BadRequest.into());
    }
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
    if !page_may {
        let denial = Denial::Forbidden("origin");
        worker.inner.application.refused(&handshake, denial);
        return Err(Failure::Denied(denial));
    }
    let (session, opened) = match session {
        Some(session) => {
            vouch(worker, &session, &handshake).await?;
            (session, None)
        }
        None => {
            let revision = judge(worker, &mut handshake)?;
            let opened = Session::poll(worker, handshake, revision);
            let (sid, session) = opened.map_err(|why| {
                error!("no session id could be drawn error={why}");
                Failure::Denied(Denial::Unavailable("store_unavailable"))
            })?;
            (session, Some(sid))
        }
    };
    let reply = match *request.method() {
        Method::GET => session.visit(|reply| Visit::Get { reply }).await?,
        Method::POST => post(worker, &session, request, body).await?,
        _ => return Err(Refusal::BadRequest.into()),
    };
    Ok((reply, opened))
}

/// Whether a connection may begin; its handshake then has a place. Shared with the WebSocket side.
pub(crate) fn judge<A: Application>(
    worker: &Worker<A>,
    handshake: &mut Handshake,
) -> Result<Revision, Failure> {
    let application = &worker.inner.application;
    let denied = |denial| {
        application.refused(handshake, denial);
        Failure::Denied(denial)
    };
    if handshake.head_size() > MAX_HEAD {
        return Err(denied(Denial::TooLarge));
    }
    // First, since nothing else costs as little. What it takes is given back if others say no.
    let place = worker.inner.server.admit(handshake.remote).map_err(denied)?;
    application.handshake(handshake).map_err(denied)?;
    let revision = handshake.revision(worker.config()).ok_or(Refusal::UnsupportedVersion)?;
    handshake.place = Some(place);
    Ok(revision)
}

/// Bytes of a first request's headers and query: they are kept until the client has joined.
const MAX_HEAD: usize = 16 << 10;

async fn post<A: Application>(
    worker: &Worker<A>,
    session: &Polled,
    request: &HttpRequest,
    body: Payload,
) -> Result<Reply, Refusal> {
    let kind = request.headers().get(CONTENT_TYPE);
    let binary = kind.is_some_and(|kind| kind == OCTET_STREAM);
    let posting = session.post();
    // One POST at a time (Engine.IO 4, "HTTP long-polling"), and none of bytes but from Engine.IO 3.
    let Some(_posting) = posting.filter(|_| !binary || session.revision() == Revision::Three)
    else {
        return session.visit(|reply| Visit::Breach { reply }).await;
    };
    let limit = worker.config().limits.max_payload;
    match timeout(worker.config().body_timeout, body.to_bytes_limited(limit)).await {
        Ok(Ok(Ok(body))) => session.visit(|reply| Visit::Post { body, binary, reply }).await,
        Ok(Err(_limit)) => Ok(Reply::TooLarge),
        Ok(Ok(Err(_))) | Err(_) => Err(Refusal::BadRequest),
    }
}

const OCTET_STREAM: &str = "application/octet-stream";

/// What Node says, to the letter: proxies and clients are used to it.
fn respond(reply: Reply, cors: &Cors) -> HttpResponse {
    let ok = |kind, body| {
        builder(StatusCode::OK, cors).insert_header((CONTENT_TYPE, kind)).body::<Vec<u8>>(body)
    };
    match reply {
        Reply::Payload(payload) if payload.binary => ok(OCTET_STREAM, payload.body),
        Reply::Payload(payload) => ok("text/plain; charset=UTF-8", payload.body),
        Reply::Done => ok("text/html", b"ok".to_vec()),
        Reply::Refused(why) => refusal(why, cors),
        Reply::BadRequest => builder(StatusCode::BAD_REQUEST, cors).finish(),
        Reply::TooLarge => builder(StatusCode::PAYLOAD_TOO_LARGE, cors).finish(),
    }
}

fn set_cookie(response: &mut HttpResponse, name: &str, sid: &Sid) {
    let cookie = format!("{name}={sid}; Path=/; HttpOnly; SameSite=Lax");
    match HeaderValue::try_from(cookie) {
        Ok(value) => response.headers_mut().append(SET_COOKIE, value),
        Err(_) => error!("the cookie's name is none, no cookie is set name={name:?}"),
    }
}

fn refusal(why: Refusal, cors: &Cors) -> HttpResponse {
    let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::BAD_REQUEST);
    builder(status, cors).insert_header((CONTENT_TYPE, "application/json")).body(why.body())
}

fn denied(denial: Denial, cors: &Cors) -> HttpResponse {
    let reason = denial.reason();
    match denial.status() {
        (StatusCode::FORBIDDEN, _) => refusal(Refusal::Forbidden, cors),
        (status, None) => builder(status, cors).finish(),
        (status, Some(seconds)) => builder(status, cors)
            .insert_header((RETRY_AFTER, seconds))
            .insert_header((CONTENT_TYPE, "application/json"))
            .body(format!("{{\"message\":\"{reason}\"}}")),
    }
}

/// Answers a browser that asks before it sends (Fetch, "CORS-preflight request"; for a page of a public
/// network, "Private Network Access").
fn preflight(request: &HttpRequest, cors: &Cors) -> HttpResponse {
    let mut response = builder(StatusCode::NO_CONTENT, cors);
    if matches!(cors, Cors::None) {
        return response.finish();
    }
    response.insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET,HEAD,PUT,PATCH,POST,DELETE"));
    if let Some(headers) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
        response.insert_header((ACCESS_CONTROL_ALLOW_HEADERS, headers.clone()));
        response.append_header((VARY, "Access-Control-Request-Headers"));
    }
    if request.headers().contains_key("access-control-request-private-network") {
        response.insert_header(("access-control-allow-private-network", "true"));
    }
    response.finish()
}

fn builder(status: StatusCode, cors: &Cors) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store"));
    allow_origin(&mut response, cors);
    response
}

/// What the answer says to a browser about its page.
pub(crate) fn allow_origin(response: &mut HttpResponseBuilder, cors: &Cors) {
    response.append_header((VARY, "Origin"));
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
}
