//! The public listener: Socket.IO, the client's script, health, and the demo's page.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::header::{AUTHORIZATION, COOKIE, HeaderName};
use actix_rt::net::TcpStream;
use actix_server::{Server as HttpServer, ServerHandle};
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse};
use socketio::{Limits, Origins};

use super::tls::{self, Certificate};
use crate::bundle;
use crate::clients::{Clients, Gate};
use crate::config::{Config, Identity};
use crate::demo::{self, Running};

/// As many `request_timeout`s may pass after an answer until the next request has come: a slow client may
/// still be busy with the answer.
const PATIENCE: u32 = 6;

/// The Socket.IO server's settings.
pub(super) fn socketio(config: &Config, max_connections: usize) -> socketio::Config {
    let server = &config.server;
    let terms = &config.socketio;
    socketio::Config {
        path: server.path.clone(),
        polling: terms.polling,
        websocket: terms.websocket,
        eio3: terms.allow_eio3,
        upgrade_timeout: terms.upgrade_timeout,
        outbox: terms.outbox,
        max_connections,
        connections_per_address: server.connections_per_address,
        handshakes_per_address: server.handshakes_per_address,
        max_unjoined: server.max_unjoined,
        // Where there are few, no address may take more than a quarter of them with its silence.
        unfinished_per_address: server.unfinished_per_address.min(max_connections.div_ceil(4)),
        quiet_timeout: server.request_timeout.saturating_mul(PATIENCE),
        origins: match server.origins.as_slice() {
            [] => Origins::Own,
            list => Origins::List(list.to_vec()),
        },
        tls: server.tls.is_some(),
        trusted_proxies: server.trusted_proxies.clone(),
        identifying: identifying(config),
        limits: Limits {
            ping_interval: terms.ping_interval,
            ping_timeout: terms.ping_timeout,
            connect_timeout: terms.connect_timeout,
            max_payload: terms.max_payload,
            max_attachments: terms.max_attachments,
            max_attachment_bytes: terms.max_attachment_bytes,
            attachment_timeout: terms.attachment_timeout,
            max_namespaces: terms.max_namespaces,
            packet_rate: u32::try_from(terms.event_rate).unwrap_or(u32::MAX),
            // The hub asks clients nothing.
            ..Limits::default()
        },
        ..socketio::Config::default()
    }
}

/// Starts listening.
pub(super) fn serve(
    config: &Config,
    listener: TcpListener,
    certificate: Option<Certificate>,
    gate: Gate,
    demo: Option<Running>,
) -> io::Result<ServerHandle> {
    let path = config.server.path.clone();
    let server = gate.server.clone();
    let request_timeout = config.server.request_timeout;
    let builder = HttpServer::build().disable_signals().shutdown_timeout(1);
    let builder = match config.server.workers {
        0 => builder,
        workers => builder.workers(workers),
    };
    let signal = builder.graceful_shutdown_signal();
    let http = move || {
        let worker = server.worker(Clients::new(gate.clone()));
        let mut app = App::new()
            .configure(|routes| worker.configure(routes))
            .configure(|routes| bundle::configure(routes, &path, server.clone()))
            .route("/healthz", web::get().to(async || HttpResponse::Ok().body("ok\n")));
        if let Some(demo) = &demo {
            app = app.configure(|routes| demo::configure(routes, Data::new(demo.clone())));
        }
        let signal = signal.clone();
        let certificate = certificate.clone();
        let http = HttpService::build()
            .client_request_timeout(request_timeout)
            .client_disconnect_timeout(Duration::from_secs(1))
            // A polling client that goes away is noticed at once, not when there is something to say.
            .h1_allow_half_closed(false)
            .graceful_shutdown_signal(move || {
                let signal = signal.clone();
                async move { signal.notified().await }
            })
            .upgrade(worker.upgrade())
            .finish(socketio::attend(map_config(app, |()| AppConfig::default())));
        let accept = fn_service(move |stream: TcpStream| tls::accept(stream, certificate.clone()));
        worker.doorway(accept.and_then(http))
    };
    let server = builder.listen("public", listener, http)?.run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// Cookies, and what else an application that is asked is shown.
fn identifying(config: &Config) -> Vec<HeaderName> {
    let mut names = vec![COOKIE, AUTHORIZATION];
    for identity in &config.identities {
        if let Identity::Callback(callback) = identity {
            names.extend(callback.forward.iter().cloned());
        }
    }
    names
}
