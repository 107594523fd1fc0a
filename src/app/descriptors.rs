//! The limit on open files: raised as far as the system allows, and turned into a number of
//! connections.

use std::io;

use log::{info, warn};

/// Descriptors for everything but connections: listeners, notifiers, logs, libraries.
const RESERVED: u64 = 128;

/// How many connections to admit. `configured` 0 means: what the limit allows.
///
/// # Errors
/// The limit cannot be read.
pub(super) fn connections(configured: usize) -> io::Result<usize> {
    let (_, hard) = rlimit::Resource::NOFILE.get()?;
    if let Err(error) = rlimit::Resource::NOFILE.set(hard, hard) {
        warn!("open files not raised error={error}");
    }
    let (soft, _) = rlimit::Resource::NOFILE.get()?;
    let allowed = usize::try_from(soft.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
    info!("open files limit={soft} connections={allowed}");
    if configured > allowed {
        warn!(
            "server.max_connections={configured} is beyond the open files limit={soft} \
             connections={allowed} advice=\"raise LimitNOFILE or ulimit -n\""
        );
    }
    Ok(if configured == 0 { allowed } else { configured.min(allowed) })
}
