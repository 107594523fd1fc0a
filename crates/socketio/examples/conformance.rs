//! What the official protocol suites expect of a server: at `/engine.io/` an echo without Socket.IO;
//! at `/socket.io/`, in the namespaces `/` and `/custom`, `auth` after each connect, `message` echoed
//! as `message-back`, and `message-with-ack` answered with its arguments. Beyond the suites: `ask` makes
//! it ask the client a `question`, and tell what was `answered`.
//!
//! ```sh
//! cargo run --release -p socketio --example conformance -- --listen 127.0.0.1:3000 \
//!     --ping-interval 300 --ping-timeout 200 --max-payload 1000000 --connect-timeout 1000
//! ```
//!
//! `--eio3` lets clients of Socket.IO 2 in; with `--recovery SECONDS`, clients that come back find what
//! they have missed. Times are in milliseconds, sizes in bytes.

#![expect(clippy::print_stdout, reason = "it tells whoever started it where it listens")]

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use socketio::{
    Admission, Application, Close, Config, Data, Event, Handle, Memory, Message, Request, Rooms,
    Seat, Server, serve,
};

/// Each namespace has its rooms.
#[derive(Clone)]
struct Conformance {
    namespaces: [(&'static str, Rooms); 2],
}

impl Application for Conformance {
    type Member = Seat;

    fn namespaces(&self) -> &'static [&'static str] {
        &["/", "/custom"]
    }

    async fn connect(&self, request: Request) -> Admission<Seat> {
        let namespace = self.namespaces.iter().find(|(name, _)| **name == *request.namespace);
        let Some((_, rooms)) = namespace else { return Admission::Unavailable };
        let admission = rooms.enter(&request, "");
        let auth = request.auth.as_deref().unwrap_or("{}");
        // To whoever is connected now, not to be repeated: so not through the rooms.
        request.session.emit(&request.namespace, format!("[\"auth\",{auth}]"), Vec::new());
        admission
    }

    fn event(&self, session: &Handle, seat: &mut Seat, event: Event) {
        match event {
            Event::Event(message) => match (message.name.as_deref(), message.ack) {
                (Some("message"), _) => {
                    seat.emit(&array(Some("\"message-back\""), &message), message.attachments);
                }
                (Some("message-with-ack"), Some(id)) => {
                    let payload = array(None, &message);
                    session.acknowledge(&message.namespace, id, payload, message.attachments);
                }
                (Some("ask"), _) => {
                    let question = array(Some("\"question\""), &message);
                    session.ask(&message.namespace, 1, question, message.attachments);
                }
                _ => {}
            },
            Event::Ack(answer) => {
                let payload = array(Some("\"answered\""), &answer);
                session.emit(&answer.namespace, payload, answer.attachments);
            }
            Event::Left { .. } => seat.forget(),
            Event::Connect { .. } | Event::Excess { .. } | Event::Data(_) => {}
        }
    }

    fn left(&self, seat: Seat, reason: Close) {
        seat.end(reason);
    }
}

/// The message's arguments as a JSON array, behind a name if one is given.
fn array(name: Option<&str>, message: &Message) -> String {
    let args = message.args();
    let items: Vec<&str> = name.into_iter().chain(args.iter().map(|arg| arg.get())).collect();
    format!("[{}]", items.join(","))
}

/// Without Socket.IO.
struct Echo;

impl Application for Echo {
    type Member = ();

    async fn connect(&self, _: Request) -> Admission<()> {
        Admission::Unavailable
    }

    fn event(&self, _: &Handle, (): &mut (), _: Event) {}

    fn message(&self, session: &Handle, data: &Data) {
        session.message(data.clone());
    }
}

fn main() -> io::Result<()> {
    let mut listen = "127.0.0.1:3000".to_owned();
    let mut config = Config::default();
    let mut recovery = Duration::ZERO;
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        if flag == "--eio3" {
            config.eio3 = true;
            continue;
        }
        let value = args.next().unwrap_or_default();
        let number = || value.parse::<u64>().map_err(|_| wrong(&flag, &value));
        match flag.as_str() {
            "--listen" => listen = value,
            "--ping-interval" => config.limits.ping_interval = Duration::from_millis(number()?),
            "--ping-timeout" => config.limits.ping_timeout = Duration::from_millis(number()?),
            "--connect-timeout" => config.limits.connect_timeout = Duration::from_millis(number()?),
            "--max-payload" => {
                config.limits.max_payload = value.parse().map_err(|_| wrong(&flag, &value))?;
            }
            "--recovery" => recovery = Duration::from_secs(number()?),
            _ => return Err(wrong(&flag, &value)),
        }
    }
    let rooms = |namespace| {
        Ok::<_, io::Error>(match recovery {
            Duration::ZERO => (namespace, Rooms::new(namespace)),
            window => (namespace, Rooms::recoverable(namespace, Memory::new(window)?)),
        })
    };
    let conformance = Conformance { namespaces: [rooms("/")?, rooms("/custom")?] };
    let bare = Config { path: "/engine.io/".to_owned(), engine_only: true, ..config.clone() };
    let (bare, server) = (Server::new(bare), Server::new(config));
    let listener = TcpListener::bind(listen)?;
    println!("listening on http://{}", listener.local_addr()?);
    // The suites send requests at the same moment and count on the order in which they connected.
    actix::System::new().block_on(serve(listener, 1, move || {
        vec![Rc::new(server.worker(conformance.clone())), Rc::new(bare.worker(Echo))]
    }))
}

fn wrong(flag: &str, value: &str) -> io::Error {
    io::Error::other(format!("cannot use {flag} {value}: see the head of this file"))
}
