//! The public listener: Socket.IO, the client's script, health, and the demo's page.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_http::HttpService;
use actix_server::{Server as HttpServer, ServerHandle};
use actix_service::map_config;
use actix_web::dev::AppConfig;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse};
use socketio::{Limits, Origins};

use crate::bundle;
use crate::clients::{Clients, Gate};
use crate::config::Config;
use crate::demo::{self, Running};

/// How long a connection may take to send its first request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The Socket.IO server's settings.
pub(super) fn socketio(config: &Config) -> socketio::Config {
    let server = &config.server;
    let terms = &config.socketio;
    socketio::Config {
        path: server.path.clone(),
        polling: terms.polling,
        websocket: terms.websocket,
        upgrade_timeout: terms.upgrade_timeout,
        outbox: terms.outbox,
        origins: match server.origins.as_slice() {
            [] => Origins::Own,
            list => Origins::List(list.to_vec()),
        },
        trusted_proxies: server.trusted_proxies.clone(),
        limits: Limits {
            ping_interval: terms.ping_interval,
            ping_timeout: terms.ping_timeout,
            connect_timeout: terms.connect_timeout,
            max_payload: terms.max_payload,
            ..Limits::default()
        },
        ..socketio::Config::default()
    }
}

/// Starts listening.
pub(super) fn serve(
    config: &Config,
    listener: TcpListener,
    gate: Gate,
    demo: Option<Running>,
) -> io::Result<ServerHandle> {
    let path = config.server.path.clone();
    let server = gate.server.clone();
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
            .configure(|routes| bundle::configure(routes, &path))
            .route("/healthz", web::get().to(async || HttpResponse::Ok().body("ok\n")));
        if let Some(demo) = &demo {
            app = app.configure(|routes| demo::configure(routes, Data::new(demo.clone())));
        }
        let signal = signal.clone();
        HttpService::build()
            .client_request_timeout(REQUEST_TIMEOUT)
            .client_disconnect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            // A polling client that goes away is noticed at once, not when there is something to say.
            .h1_allow_half_closed(false)
            .graceful_shutdown_signal(move || {
                let signal = signal.clone();
                async move { signal.notified().await }
            })
            .upgrade(worker.upgrade())
            .finish(map_config(app, |()| AppConfig::default()))
            .tcp()
    };
    let server = builder.listen("public", listener, http)?.run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}
