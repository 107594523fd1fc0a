//! The configured identities, ready to ask: each with a store of its own, kept up from the start on. So
//! what befalls one, such as a permission that is missing, is nothing to the others. And the files that
//! they name, which SIGHUP reads anew.

use std::io;
use std::time::Duration;

use actix::Addr;
use futures_util::future::join_all;
use log::{error, info};
use redis::RedisError;
use tokio::signal::unix::{SignalKind, signal};

use crate::clients::Identity;
use crate::clients::sessions::Sessions;
use crate::clients::store::Store;
use crate::clients::watch::{DoubtAll, Watch};
use crate::config::{self, Config, Written};
use crate::metrics::Metrics;

/// In the configuration's order. Returns when each store is up, or found to be away: then newcomers are
/// told so.
///
/// # Errors
/// A store's URL cannot be read, though the configuration's check passed it.
pub(super) async fn open(
    config: &Config,
    metrics: &Metrics,
    watch: &Addr<Watch>,
) -> Result<Vec<Identity>, RedisError> {
    let mut all = Vec::with_capacity(config.identities.len());
    for (place, identity) in config.identities.iter().enumerate() {
        all.push(match identity {
            config::Identity::Dev => Identity::Dev,
            config::Identity::Session(session) => {
                let store = match session.recipe.probe_key() {
                    None => None,
                    Some(probe) => {
                        let there = config.redis.place(&session.redis);
                        Some(Store::new(place + 1, &there, probe, Some(metrics))?)
                    }
                };
                Identity::Session(Sessions::new(place, (**session).clone(), store, metrics))
            }
            config::Identity::Callback(callback) => {
                Identity::Session(Sessions::by_callback(place, callback, metrics))
            }
        });
    }
    let started = all.iter().filter_map(Identity::sessions);
    join_all(started.map(|sessions| sessions.start(watch.clone().recipient()))).await;
    Ok(all)
}

/// Reads the files that identities name anew at each SIGHUP, from now on; if they name none, a SIGHUP
/// stays what it is.
///
/// # Errors
/// The handler cannot be installed.
pub(super) fn reload_on_hangup(
    config: &Config,
    identities: &[Identity],
    watch: &Addr<Watch>,
) -> io::Result<()> {
    let mut reloading = Vec::new();
    for (configured, identity) in config.identities.iter().zip(identities) {
        if let (config::Identity::Session(session), Some(sessions)) =
            (configured, identity.sessions())
            && !session.written.files().is_empty()
        {
            let (written, sessions) = (session.written.clone(), sessions.clone());
            reloading.push(Reloading { written, sessions, watch: watch.clone() });
        }
    }
    if reloading.is_empty() {
        return Ok(());
    }
    let mut hangup = signal(SignalKind::hangup())?;
    actix::spawn(async move {
        while hangup.recv().await.is_some() {
            for identity in &mut reloading {
                identity.reload();
            }
        }
    });
    Ok(())
}

struct Reloading {
    written: Written,
    sessions: Sessions,
    watch: Addr<Watch>,
}

impl Reloading {
    #[expect(clippy::disallowed_methods, reason = "one message per identity and SIGHUP")]
    fn reload(&mut self) {
        let (place, files) = (self.sessions.place(), self.written.files().join(", "));
        let identity = place + 1;
        match self.written.read_again() {
            Ok(None) => info!("identity files unchanged identity={identity} files={files:?}"),
            Ok(Some(session)) => {
                self.written = session.written;
                self.sessions.renew(session.recipe);
                self.watch.do_send(DoubtAll { place, within: SPREAD });
                info!(
                    "identity files reloaded identity={identity} files={files:?} \
                     effect=\"all of its sessions are looked at again within {SPREAD:?}\""
                );
            }
            Err(mistakes) => {
                let reasons: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
                error!(
                    "identity files not reloaded, what they said stays identity={identity} \
                     files={files:?} reason={:?} advice=\"repair the files and send SIGHUP again\"",
                    reasons.join("; ")
                );
            }
        }
    }
}

/// Within which all sessions of an identity are looked at again.
const SPREAD: Duration = Duration::from_secs(3);
