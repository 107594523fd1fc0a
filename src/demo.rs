//! `pregon run --demo`: a page where one picks a name and notifies other tabs, and a notifier inside
//! the process that announces now and then.
//!
//! It takes the way every notifier takes: what the page sends and what the announcer says goes through
//! a ZeroMQ PUSH socket into an ordinary `pull` notifier. Anyone on this machine may push to it too.

mod announcer;
mod page;

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use log::warn;

use crate::config::NotifierConfig;
pub use page::configure;

/// Messages from the page that may wait for the demo's thread; beyond that the page is told to wait.
const WAITING: usize = 64;

/// The demo before the hub runs.
pub struct Demo {
    context: zmq::Context,
}

/// The demo of a running hub. Cloning shares it.
#[derive(Clone)]
pub struct Running {
    /// Where programs on this machine may push to.
    endpoint: String,
    outbox: SyncSender<String>,
}

impl Demo {
    /// The demo and its notifier, bound to any free port on loopback.
    pub fn new(context: zmq::Context) -> (Self, NotifierConfig) {
        let bind = Some("tcp://127.0.0.1:*".to_owned());
        (Self { context }, NotifierConfig { bind, ..NotifierConfig::pull("demo") })
    }

    /// Starts announcing to the notifier, which listens at `endpoint`.
    ///
    /// # Errors
    /// The socket cannot be opened, or no thread be started.
    pub fn start(self, endpoint: String) -> io::Result<Running> {
        let socket = self.context.socket(zmq::PUSH).map_err(io::Error::other)?;
        socket.set_linger(0).map_err(io::Error::other)?;
        socket.set_sndtimeo(1_000).map_err(io::Error::other)?;
        socket.connect(&endpoint).map_err(io::Error::other)?;
        let (outbox, inbox) = sync_channel::<String>(WAITING);
        std::thread::Builder::new().name("demo".to_owned()).spawn(move || {
            let mut announcer = announcer::Announcer::default();
            loop {
                let message = match inbox.recv_timeout(EVERY) {
                    Ok(message) => message,
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => announcer.next(),
                    Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                };
                if let Err(error) = socket.send(message.as_bytes(), 0) {
                    warn!("demo message not sent error={error}");
                }
            }
        })?;
        Ok(Running { endpoint, outbox })
    }
}

/// Between two announcements, if the page sends nothing.
const EVERY: Duration = Duration::from_secs(20);
