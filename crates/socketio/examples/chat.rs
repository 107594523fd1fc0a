//! A chat with rooms, whose clients miss nothing when their network fails for a moment.
//!
//! ```sh
//! cargo run -p socketio --example chat -- 127.0.0.1:3000
//! ```
//!
//! A client connects with `auth: {name: "ana"}`, joins by `emit("join", "kitchen")`, leaves by
//! `emit("leave", "kitchen")`, and speaks by `emit("say", "kitchen", "hello")`: everybody in the room
//! hears `said` with the room, the name and what was said.

#![expect(clippy::print_stdout, reason = "it tells whoever started it where it listens")]

use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::json;
use socketio::{
    Admission, Application, Close, Config, Event, Handle, Memory, Message, Request, Rooms, Seat,
    Server, serve,
};

#[derive(Clone)]
struct Chat {
    rooms: Rooms,
}

struct Guest {
    name: String,
    seat: Seat,
}

#[derive(Deserialize)]
struct Auth {
    name: String,
}

impl Application for Chat {
    type Member = Guest;

    async fn connect(&self, request: Request) -> Admission<Guest> {
        let auth = request.auth.as_deref().and_then(|auth| serde_json::from_str(auth).ok());
        let Some(Auth { name }) = auth else {
            let message = "say who you are: auth {name}".to_owned();
            return Admission::Refuse { message, data: None };
        };
        // Who comes back under another name is somebody else.
        self.rooms.enter(&request, &name).map(|seat| Guest { name, seat })
    }

    fn event(&self, session: &Handle, guest: &mut Guest, event: Event) {
        match event {
            Event::Event(message) => self.heard(session, guest, &message),
            Event::Left { .. } => guest.seat.forget(),
            Event::Ack(_) | Event::Connect { .. } | Event::Excess { .. } | Event::Data(_) => {}
        }
    }

    fn left(&self, guest: Guest, reason: Close) {
        guest.seat.end(reason);
    }
}

impl Chat {
    fn heard(&self, session: &Handle, guest: &Guest, message: &Message) {
        let args: Vec<String> =
            message.args().iter().filter_map(|arg| serde_json::from_str(arg.get()).ok()).collect();
        match (message.name.as_deref(), args.as_slice()) {
            (Some("join"), [room]) => guest.seat.join(room),
            (Some("leave"), [room]) => guest.seat.leave(room),
            (Some("say"), [room, text]) => {
                let said = json!(["said", room, guest.name, text]).to_string();
                self.rooms.emit(Some(room), &said, message.attachments.clone());
            }
            _ => {}
        }
        if let Some(id) = message.ack {
            session.acknowledge("/", id, "[]".to_owned(), Vec::new());
        }
    }
}

fn main() -> io::Result<()> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(listen)?;
    println!("listening on http://{}", listener.local_addr()?);
    let server = Server::new(Config::default());
    let chat = Chat { rooms: Rooms::recoverable("/", Memory::new(Memory::WINDOW)?) };
    actix::System::new()
        .block_on(serve(listener, 2, move || vec![Rc::new(server.worker(chat.clone()))]))
}
