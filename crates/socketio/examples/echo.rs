//! The smallest server: it sends every event back to whoever sent it.
//!
//! ```sh
//! cargo run -p socketio --example echo
//! ```

use std::net::TcpListener;
use std::rc::Rc;

use socketio::{Admission, Application, Config, Event, Handle, Request, Server, serve};

struct Echo;

impl Application for Echo {
    type Member = ();

    async fn connect(&self, _: Request) -> Admission<()> {
        Admission::Accept(())
    }

    fn event(&self, session: &Handle, (): &mut (), event: Event) {
        if let Event::Event(message) = event {
            session.emit("/", message.payload.into(), message.attachments);
        }
    }
}

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:3000")?;
    let server = Server::new(Config::default());
    actix::System::new().block_on(serve(listener, 1, move || vec![Rc::new(server.worker(Echo))]))
}
