//! A listener for programs that serve nothing but Socket.IO.
//!
//! A program with an HTTP server of its own mounts [`crate::Worker::configure`] and
//! [`crate::Worker::upgrade`] there instead.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use actix_http::HttpService;
use actix_server::Server as HttpServer;
use actix_service::map_config;
use actix_web::App;
use actix_web::dev::AppConfig;

use crate::upgrade::{Mount, upgrade};

/// Serves what `mounts` makes for each of so many HTTP workers (threads), each server at its path, until
/// the process is told to end by a signal.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    workers: usize,
    mounts: impl Fn() -> Vec<Rc<dyn Mount>> + Clone + Send + 'static,
) -> io::Result<()> {
    let http = move || {
        let mounts = mounts();
        let app =
            App::new().configure(|config| mounts.iter().for_each(|mount| mount.configure(config)));
        HttpService::build()
            .tcp_nodelay(true)
            .h1_allow_half_closed(false)
            .upgrade(upgrade(mounts.clone()))
            .finish(map_config(app, |()| AppConfig::default()))
            .tcp()
    };
    HttpServer::build().workers(workers).listen("socket.io", listener, http)?.run().await
}
