//! The end: nobody new, a word to everyone, a bounded wait, and out.
//!
//! actix's server forgets connections once they are upgraded, so they are ours to count.

use std::io;
use std::time::Duration;

use actix::Addr;
use actix_server::ServerHandle;
use futures_util::future::join_all;
use log::{info, warn};
use protocol::Close;
use tokio::signal::unix::{Signal, SignalKind, signal as on};
use tokio::time::{interval, timeout};

use crate::directory::{self, Directory};
use crate::notifier::{FallSilent, Fleet};
use crate::registry::{EndAll, Registry};

/// How long everyone together may take.
const PATIENCE: Duration = Duration::from_secs(7);

/// How long the notifiers may take to finish the batches in their hands.
const SILENCE: Duration = Duration::from_secs(1);

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes them over, from now on.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    /// Waits for either.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

pub(super) async fn drain(
    server: &socketio::Server,
    registry: &Addr<Registry>,
    notifiers: &Fleet,
    directory: Option<&Addr<Directory>>,
    [public, admin]: [&ServerHandle; 2],
) {
    public.pause().await;
    if let Some(directory) = directory {
        // It starts nobody any more.
        if timeout(SILENCE, directory.send(directory::Stop)).await.is_err() {
            warn!("the directory did not stop in time");
        }
    }
    // What has been read still reaches its browsers; what has not stays with its sender.
    let notifiers = notifiers.addresses();
    let silent = join_all(notifiers.iter().map(|notifier| notifier.send(FallSilent)));
    if timeout(SILENCE, silent).await.is_err() {
        warn!("not all notifiers fell silent in time");
    }
    let connections = server.live();
    let gone = timeout(PATIENCE, async {
        let mut every = interval(Duration::from_millis(50));
        while server.live() > 0 {
            every.tick().await;
            // Each time anew: somebody may have been on the way in.
            if registry.send(EndAll(Close::Draining)).await.is_err() {
                warn!("the registry is gone; its sessions are cut");
                break;
            }
            server.end_strangers(Close::Draining);
        }
    });
    match gone.await {
        Ok(()) => info!("drained connections={connections}"),
        Err(_) => warn!("drained connections={connections} cut={}", server.live()),
    }
    public.stop(false).await;
    admin.stop(false).await;
}
