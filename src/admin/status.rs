//! `/api/status`: what every part says of itself, in one JSON object.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;

use super::{Hub, Ordering};
use crate::clients::{Identity, store, watch};
use crate::{descriptors, directory, notifier, registry, sequencer};

#[derive(Serialize)]
struct Status {
    version: &'static str,
    uptime_seconds: u64,
    state: &'static str,
    connections: Connections,
    open_files: descriptors::Observed,
    registry: Option<registry::Observed>,
    sequencer: Option<sequencer::Observed>,
    notifiers: Vec<notifier::Observed>,
    directory: Option<directory::Observed>,
    stores: Vec<store::Observed>,
    sessions: Option<watch::Observed>,
}

#[derive(Serialize)]
struct Connections {
    polling: usize,
    websocket: usize,
    max: usize,
    opened: u64,
    /// By reason; every reason is there.
    ended: BTreeMap<&'static str, u64>,
}

/// A part that does not answer is missing from the answer: `null`, or not in the list.
pub(super) async fn get(hub: Data<Hub>) -> HttpResponse {
    let addresses = hub.notifiers.addresses();
    let mut notifiers = Vec::with_capacity(addresses.len());
    for address in addresses {
        notifiers.extend(address.send(notifier::Observe).await.ok());
    }
    let directory = match &hub.directory {
        Some(directory) => directory.send(directory::Observe).await.ok(),
        None => None,
    };
    let sockets = hub.server.snapshot();
    let state = if hub.draining.load(Ordering::Relaxed) {
        "draining"
    } else if hub.ready.load(Ordering::Relaxed) {
        "ready"
    } else {
        "starting"
    };
    HttpResponse::Ok().json(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: hub.started.elapsed().as_secs(),
        state,
        connections: Connections {
            polling: sockets.polling,
            websocket: sockets.websocket,
            max: hub.max_connections,
            opened: sockets.opened,
            ended: sockets.ended.iter().map(|(reason, n)| (reason.as_str(), *n)).collect(),
        },
        open_files: hub.descriptors.observe(),
        registry: hub.registry.send(registry::Observe).await.ok(),
        sequencer: hub.sequencer.send(sequencer::Observe).await.ok(),
        notifiers,
        directory,
        stores: hub
            .identities
            .iter()
            .filter_map(Identity::sessions)
            .flat_map(|sessions| sessions.observe(now()))
            .collect(),
        sessions: hub.watch.send(watch::Observe).await.ok(),
    })
}

#[expect(clippy::disallowed_methods, reason = "how long a store is away")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
