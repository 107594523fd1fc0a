//! How fast a client talks: whether a packet is within the rate, and when there is no hope of that.

use std::time::{Duration, Instant};

use crate::Close;

/// So long a client may have saved up what it did not say.
const BURST: Duration = Duration::from_secs(10);

/// Told the time; without effect if the rate is 0.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When what was said will have been paid off at the rate.
    paid: Option<Instant>,
    /// Packets beyond the rate, less those within it.
    excess: u32,
}

impl Meter {
    /// One packet more; false if that is too fast.
    ///
    /// # Errors
    /// Ten seconds' worth was too fast: whoever sends at twice the rate gets there.
    pub(super) fn take(&mut self, rate: u32, now: Instant) -> Result<bool, Close> {
        let Some(each) = Duration::from_secs(1).checked_div(rate) else { return Ok(true) };
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + each;
        if paid.duration_since(now) <= BURST {
            self.paid = Some(paid);
            self.excess = self.excess.saturating_sub(1);
            return Ok(true);
        }
        self.excess += 1;
        let most = u64::from(rate) * BURST.as_secs();
        if u64::from(self.excess) > most { Err(Close::Rate) } else { Ok(false) }
    }
}

#[cfg(test)]
mod tests;
