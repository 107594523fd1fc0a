//! Open files: how many there may be, how many connections that allows, and what happens when strangers
//! take more than that.
//!
//! A hub without a free file can accept nobody, not even its admin, nor reach its Redis again. So some
//! are held for it: when all others are taken, the public listener pauses, those are let go, and
//! newcomers wait in the system's queue until so many are free again.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{info, warn};
use parking_lot::Mutex;
use serde::Serialize;

/// For everything but connections: listeners, notifiers, stores, logs, libraries.
const RESERVED: u64 = 128;

/// The part of them that is held for when all others are taken.
const HELD: usize = 64;

/// As many more must be free before anybody is let in again.
const SLACK: usize = 16;

/// Between two looks. Opening a file costs microseconds, and a flood is quick.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The process's open files. Cloning shares it: a number that a message would only delay.
#[derive(Clone, Debug)]
pub struct Descriptors {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: u64,
    held: Mutex<Vec<File>>,
    short: AtomicBool,
}

/// The numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Observed {
    /// As many may be open.
    pub limit: u64,
    /// As many are in use; nothing where the system does not say.
    pub open: Option<u64>,
    /// Whether nobody is let in until some are closed.
    pub short: bool,
}

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// None is free, from now on: let nobody in, then [`Descriptors::let_go`].
    Short,
    /// Enough are free again.
    Enough,
}

impl Descriptors {
    /// Raises the limit as far as the system allows.
    ///
    /// # Errors
    /// It cannot be read, or leaves nothing to be held.
    pub fn raise() -> io::Result<Self> {
        let (_, hard) = rlimit::Resource::NOFILE.get()?;
        if let Err(error) = rlimit::Resource::NOFILE.set(hard, hard) {
            warn!("open files not raised error={error}");
        }
        let (limit, _) = rlimit::Resource::NOFILE.get()?;
        let (held, short) = (Mutex::new(open(HELD)?), AtomicBool::new(false));
        Ok(Self { shared: Arc::new(Shared { limit, held, short }) })
    }

    /// How many connections to admit. `configured` 0 means: what the limit allows.
    pub fn connections(&self, configured: usize) -> usize {
        let limit = self.shared.limit;
        let allowed = usize::try_from(limit.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
        info!("open files limit={limit} connections={allowed}");
        if configured > allowed {
            warn!(
                "server.max_connections={configured} is beyond the open files limit={limit} \
                 connections={allowed} advice=\"raise LimitNOFILE or ulimit -n\""
            );
        }
        if configured == 0 { allowed } else { configured.min(allowed) }
    }

    /// Looks whether there are enough; to be called every [`LOOK_EVERY`].
    pub fn look(&self) -> Option<Change> {
        let Shared { limit, held, short } = &*self.shared;
        if !short.load(Ordering::Relaxed) {
            if open(1).is_ok() {
                return None;
            }
            short.store(true, Ordering::Relaxed);
            warn!(
                "open files short limit={limit} effect=\"nobody new gets in until some are closed\" \
                 advice=\"raise LimitNOFILE or ulimit -n; who holds connections without joining?\""
            );
            return Some(Change::Short);
        }
        let mut again = open(HELD + SLACK).ok()?;
        again.truncate(HELD);
        *held.lock() = again;
        short.store(false, Ordering::Relaxed);
        info!("open files enough again limit={limit}");
        Some(Change::Enough)
    }

    /// Lets the held ones go: they are for the admin, the stores and the notifiers now.
    pub fn let_go(&self) {
        self.shared.held.lock().clear();
    }

    /// The numbers.
    pub fn observe(&self) -> Observed {
        let Shared { limit, held, short } = &*self.shared;
        let held = held.lock().len();
        // One of them is the folder that is read.
        let open =
            fs::read_dir("/proc/self/fd").map(|files| files.count().saturating_sub(held + 1));
        Observed {
            limit: *limit,
            open: open.ok().and_then(|open| u64::try_from(open).ok()),
            short: short.load(Ordering::Relaxed),
        }
    }

    /// Whether nobody is let in until some are closed.
    pub fn short(&self) -> bool {
        self.shared.short.load(Ordering::Relaxed)
    }
}

fn open(files: usize) -> io::Result<Vec<File>> {
    (0..files).map(|_| File::open("/dev/null")).collect()
}
