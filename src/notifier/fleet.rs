//! The notifiers that run: started, stopped, found by name. It decides nothing: which ones there should
//! be is said by whoever calls it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Addr, AsyncContext, Context};
use actix_rt::ArbiterHandle;
use log::error;
use parking_lot::Mutex;
use thiserror::Error;

use super::{Notifier, Refused, SocketError, Stop, Surroundings};
use crate::config::NotifierConfig;

/// Starts and stops notifiers, and knows their addresses. Cloning shares it: the table is shared state,
/// since a notifier that is started anew has a new address.
#[derive(Clone)]
pub struct Fleet {
    /// Where they run: where messages come in.
    on: ArbiterHandle,
    around: Surroundings,
    table: Arc<Mutex<BTreeMap<String, Running>>>,
}

struct Running {
    /// Tells a notifier from an earlier one of the same name.
    life: u64,
    /// Nothing until its arbiter has come to it.
    address: Option<Addr<Notifier>>,
}

/// Why a notifier does not run.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is one of that name.
    #[error("another notifier has this name; rename one of them")]
    Taken,
    /// Its socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

impl Fleet {
    /// Nobody runs yet.
    pub fn new(on: ArbiterHandle, around: Surroundings) -> Self {
        Self { on, around, table: Arc::default() }
    }

    /// Opens a notifier's socket here, so that an address that is taken is known at once, and starts it
    /// on its arbiter. Returns where it is really bound or connected.
    ///
    /// # Errors
    /// Its name is taken, or its socket cannot be opened.
    pub fn start(&self, config: NotifierConfig) -> Result<String, StartError> {
        static LIVES: AtomicU64 = AtomicU64::new(0);
        let life = LIVES.fetch_add(1, Ordering::Relaxed);
        let name = config.name.clone();
        match self.table.lock().entry(name.clone()) {
            Entry::Occupied(_) => return Err(StartError::Taken),
            Entry::Vacant(place) => {
                place.insert(Running { life, address: None });
            }
        }
        let notifier = match Notifier::open(config.clone(), self.around.clone()) {
            Ok(notifier) => notifier,
            Err(error) => {
                self.forget(&name);
                return Err(error.into());
            }
        };
        let endpoint = notifier.endpoint().unwrap_or_default();
        let fleet = self.clone();
        self.on.spawn_fn(move || {
            actix::spawn(fleet.watch(life, config, notifier));
        });
        Ok(endpoint)
    }

    /// Stops a notifier, and closes its socket. What it has read is still delivered.
    pub fn stop(&self, name: &str) {
        if let Some(Running { address: Some(address), .. }) = self.forget(name) {
            bid_stop(&address);
        }
    }

    /// Those that run.
    pub fn addresses(&self) -> Vec<Addr<Notifier>> {
        self.table.lock().values().filter_map(|running| running.address.clone()).collect()
    }

    /// Takes it out of the table and the metrics.
    fn forget(&self, name: &str) -> Option<Running> {
        let running = self.table.lock().remove(name);
        self.around.metrics.forget(name, &Refused::ALL.map(Refused::as_str));
        running
    }

    /// Runs a notifier, and starts it anew should it panic, unless it was stopped meanwhile: its message
    /// is lost, the others are not.
    async fn watch(self, life: u64, config: NotifierConfig, mut notifier: Notifier) {
        loop {
            let context = Context::new();
            if !self.enter(&config.name, life, context.address()) {
                return;
            }
            if actix::spawn(context.into_future(notifier)).await.is_ok() {
                return;
            }
            let name = &config.name;
            error!("notifier panicked notifier={name} next=\"started anew in a second\"");
            tokio::time::sleep(Duration::from_secs(1)).await;
            if !self.has(name, life) {
                return;
            }
            notifier = Notifier::new(config.clone(), self.around.clone());
        }
    }

    /// Puts an address into the table; false if that notifier was stopped.
    fn enter(&self, name: &str, life: u64, address: Addr<Notifier>) -> bool {
        let mut table = self.table.lock();
        let Some(running) = table.get_mut(name).filter(|running| running.life == life) else {
            return false;
        };
        running.address = Some(address);
        true
    }

    fn has(&self, name: &str, life: u64) -> bool {
        self.table.lock().get(name).is_some_and(|running| running.life == life)
    }
}

#[expect(clippy::disallowed_methods, reason = "one message to each notifier, its last")]
fn bid_stop(notifier: &Addr<Notifier>) {
    notifier.do_send(Stop);
}
