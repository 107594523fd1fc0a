//! The admin listener:
//!
//! | path | what |
//! |---|---|
//! | `/healthz` | the process runs |
//! | `/readyz` | it can serve: 200, or 503 with what is missing |
//! | `/metrics` | Prometheus |
//! | `/api/status` | everything an admin would ask, as JSON |
//! | `POST /api/users/{user}/disconnect` | ends a user's connections |
//!
//! On loopback nobody needs a token, so the Host must be loopback too: otherwise any web page could
//! read this by a name of its own that points to 127.0.0.1. What changes something is refused to every
//! page but its own.

mod status;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix::Addr;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{Error, HttpResponse};

use crate::clients::watch::Watch;
use crate::clients::{self, Identity};
use crate::config::names_loopback;
use crate::descriptors::Descriptors;
use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::notifier::Fleet;
use crate::registry::Registry;
use crate::sequencer::Sequencer;

/// What the admin listener looks at.
pub struct Hub {
    /// The Socket.IO server.
    pub server: socketio::Server,
    /// Connections at once.
    pub max_connections: usize,
    /// Open files.
    pub descriptors: Descriptors,
    /// Who is here.
    pub registry: Addr<Registry>,
    /// The order.
    pub sequencer: Addr<Sequencer>,
    /// The notifiers.
    pub notifiers: Fleet,
    /// Who knows of more of them, if anybody.
    pub directory: Option<Addr<Directory>>,
    /// How users are known.
    pub identities: Arc<[Identity]>,
    /// Whose session is still what it was.
    pub watch: Addr<Watch>,
    /// All metrics.
    pub metrics: Metrics,
    /// Set once the hub accepts connections.
    pub ready: Arc<AtomicBool>,
    /// Set once the hub goes down.
    pub draining: Arc<AtomicBool>,
    /// When it started.
    pub started: Instant,
}

/// Mounts the paths.
pub fn configure(hub: Data<Hub>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config
            .app_data(hub)
            .route("/healthz", web::get().to(async || text("ok\n")))
            .route("/readyz", web::get().to(ready))
            .route("/metrics", web::get().to(metrics))
            .route("/api/status", web::get().to(status::get))
            .service(
                web::resource("/api/users/{user}/disconnect")
                    .route(web::post().to(users::disconnect)),
            );
    }
}

/// Lets only this machine's own names through, and adds the headers that every answer has.
///
/// # Errors
/// None of its own.
pub async fn guard(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let refused = if !names_loopback(host) {
        Some("403: on loopback, ask for 127.0.0.1 or localhost by that name\n")
    } else if !request.method().is_safe() && users::from_a_foreign_page(request.head()) {
        Some("403: origin: a page of another origin may not do this\n")
    } else {
        None
    };
    let mut response = match refused {
        None => next.call(request).await?,
        Some(advice) => {
            request.into_response(HttpResponse::Forbidden().content_type("text/plain").body(advice))
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

async fn ready(hub: Data<Hub>) -> HttpResponse {
    let missing = if hub.draining.load(Ordering::Relaxed) {
        "draining: the hub is shutting down\n"
    } else if !hub.ready.load(Ordering::Relaxed) {
        "starting: the public listener is not up yet\n"
    } else if !(hub.registry.connected() && hub.sequencer.connected()) {
        "broken: the registry or the sequencer has stopped; restart the hub\n"
    } else if clients::nobody_can_be_known(&hub.identities) {
        "store_unavailable: the session store is away, nobody new gets in; see /api/status\n"
    } else if hub.descriptors.short() {
        "open_files: too few are left, nobody new gets in; raise LimitNOFILE or ulimit -n\n"
    } else {
        return text("ready\n");
    };
    HttpResponse::ServiceUnavailable().content_type("text/plain").body(missing)
}

async fn metrics(hub: Data<Hub>) -> HttpResponse {
    match hub.metrics.encode() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((
                CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

fn text(body: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body(body)
}
