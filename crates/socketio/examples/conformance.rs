//! What the official protocol suites expect of a server: `auth` after each connect, echoes of
//! `message` and `message-with-ack`, the namespaces `/` and `/custom`, at `/socket.io/`.
//!
//! ```sh
//! cargo run --release -p socketio --example conformance -- --listen 127.0.0.1:3000 \
//!     --ping-interval 300 --ping-timeout 200 --max-payload 1000000 --connect-timeout 1000
//! ```

#![expect(clippy::print_stdout, reason = "it tells whoever started it where it listens")]

use std::net::TcpListener;
use std::time::Duration;

use actix_http::HttpService;
use actix_server::Server as HttpServer;
use actix_service::map_config;
use actix_web::App;
use actix_web::dev::AppConfig;
use socketio::{Admission, Application, Config, Event, Handle, Message, Request, Server};

struct Conformance;

impl Application for Conformance {
    type Member = ();

    fn namespaces(&self) -> &'static [&'static str] {
        &["/", "/custom"]
    }

    async fn connect(&self, request: Request) -> Admission<()> {
        let auth = request.auth.as_deref().unwrap_or("{}");
        request.session.emit(&request.namespace, format!("[\"auth\",{auth}]"), Vec::new());
        Admission::Accept(())
    }

    fn event(&self, session: &Handle, (): &mut (), event: Event) {
        let Event::Event(message) = event else { return };
        match (message.name.as_deref(), message.ack) {
            (Some("message"), _) => {
                let payload = array(Some("\"message-back\""), &message);
                session.emit(&message.namespace, payload, message.attachments);
            }
            (Some("message-with-ack"), Some(id)) => {
                let payload = array(None, &message);
                session.acknowledge(&message.namespace, id, payload, message.attachments);
            }
            _ => {}
        }
    }
}

/// The message's arguments as a JSON array, behind a name if one is given.
fn array(name: Option<&str>, message: &Message) -> String {
    let args = message.args();
    let items: Vec<&str> = name.into_iter().chain(args.iter().map(|arg| arg.get())).collect();
    format!("[{}]", items.join(","))
}

fn main() -> std::io::Result<()> {
    let mut listen = "127.0.0.1:3000".to_owned();
    let mut config = Config::default();
    let mut args = std::env::args().skip(1);
    while let (Some(flag), Some(value)) = (args.next(), args.next()) {
        let number = || value.parse::<u64>().map_err(std::io::Error::other);
        match flag.as_str() {
            "--listen" => listen = value,
            "--ping-interval" => config.limits.ping_interval = Duration::from_millis(number()?),
            "--ping-timeout" => config.limits.ping_timeout = Duration::from_millis(number()?),
            "--connect-timeout" => config.limits.connect_timeout = Duration::from_millis(number()?),
            "--max-payload" => config.limits.max_payload = number()? as usize,
            _ => return Err(std::io::Error::other(format!("unknown option {flag}"))),
        }
    }
    let listener = TcpListener::bind(listen)?;
    println!("listening on http://{}", listener.local_addr()?);
    let server = Server::new(config);
    let serve = move || {
        let worker = server.worker(Conformance);
        let app = App::new().configure(|config| worker.configure(config));
        HttpService::build()
            .upgrade(worker.upgrade())
            .finish(map_config(app, |()| AppConfig::default()))
            .tcp()
    };
    actix::System::new().block_on(async move {
        HttpServer::build().workers(1).listen("conformance", listener, serve)?.run().await
    })
}
