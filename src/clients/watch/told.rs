//! What the watch tells the log: one line a second and reason, however many sessions end.

use std::time::Duration;

use actix::{AsyncContext, Context};
use log::{info, warn};

use super::Watch;

impl Watch {
    pub(super) fn note(&mut self, reason: &'static str, connections: usize) {
        let (sessions, all) = self.untold.entry(reason).or_default();
        *sessions += 1;
        *all += connections;
    }

    pub(super) fn log(&mut self, ctx: &mut Context<Self>) {
        if !self.log_again || self.untold.is_empty() {
            return;
        }
        for (reason, (sessions, connections)) in std::mem::take(&mut self.untold) {
            if reason == "store_unavailable" {
                warn!(
                    "session unverified reason={reason} sessions={sessions} connections={connections} \
                     effect=\"they are closed, and let in again once the store is back\""
                );
            } else {
                info!("session over reason={reason} sessions={sessions} connections={connections}");
            }
        }
        self.log_again = false;
        ctx.run_later(LOG_EVERY, |watch, ctx| {
            watch.log_again = true;
            watch.log(ctx);
        });
    }
}

/// Between two lots of log lines.
const LOG_EVERY: Duration = Duration::from_secs(1);
