//! The end: nobody new, a word to everyone, a bounded wait, and out.
//!
//! actix's server forgets connections once they are upgraded, so they are ours to count.

use std::io;
use std::time::Duration;

use actix::Addr;
use actix_server::ServerHandle;
use log::{info, warn};
use protocol::Close;
use tokio::signal::unix::{SignalKind, signal as on};
use tokio::time::{interval, timeout};

use crate::admin::Notifiers;
use crate::notifier::FallSilent;
use crate::registry::{EndAll, Registry};

/// How long everyone together may take.
const PATIENCE: Duration = Duration::from_secs(7);

/// How long a notifier may take to finish the batch in its hands.
const SILENCE: Duration = Duration::from_secs(1);

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// The handlers cannot be installed.
pub(super) async fn signal() -> io::Result<&'static str> {
    let mut terminate = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

pub(super) async fn drain(
    server: &socketio::Server,
    registry: &Addr<Registry>,
    notifiers: &Notifiers,
    [public, admin]: [&ServerHandle; 2],
) {
    public.pause().await;
    // What has been read still reaches its browsers; what has not stays with its sender.
    let notifiers: Vec<_> = notifiers.lock().values().cloned().collect();
    for notifier in notifiers {
        if !matches!(timeout(SILENCE, notifier.send(FallSilent)).await, Ok(Ok(Ok(())))) {
            warn!("a notifier did not fall silent in time");
        }
    }
    let told = registry.send(EndAll(Close::Draining)).await.unwrap_or_default();
    let gone = timeout(PATIENCE, async {
        server.end_strangers(Close::Draining);
        let mut every = interval(Duration::from_millis(20));
        while server.live() > 0 {
            every.tick().await;
        }
    });
    match gone.await {
        Ok(()) => info!("drained told={told}"),
        Err(_) => warn!("drained told={told} cut={}", server.live()),
    }
    public.stop(false).await;
    admin.stop(false).await;
}
