//! Who pings, and until when the client must have been heard.
//!
//! All deadlines are absolute, so a late timer adds no delay.

use std::time::Instant;

use super::Limits;
use crate::engine::Revision;

#[derive(Clone, Copy, Debug)]
pub(super) enum Heartbeat {
    /// Engine.IO 4: the server asks at this time,
    PingAt(Instant),
    /// and has its answer by this one.
    PongBy(Instant),
    /// Engine.IO 3: the client asks, by this time at the latest.
    PingBy(Instant),
}

impl Heartbeat {
    pub(super) fn new(revision: Revision, limits: &Limits, now: Instant) -> Self {
        match revision {
            Revision::Three => Self::PingBy(now + limits.ping_interval + limits.ping_timeout),
            Revision::Four => Self::PingAt(now + limits.ping_interval),
        }
    }

    /// The client's own ping; false if it has no right to one.
    pub(super) fn pinged(&mut self, limits: &Limits, now: Instant) -> bool {
        let may = matches!(self, Self::PingBy(_));
        if may {
            *self = Self::new(Revision::Three, limits, now);
        }
        may
    }

    /// The client's answer; a stray one is no harm.
    pub(super) fn ponged(&mut self, limits: &Limits, now: Instant) {
        if let Self::PongBy(_) = self {
            *self = Self::new(Revision::Four, limits, now);
        }
    }

    /// Whether a ping is to be sent now. Its answer is due an interval and a timeout after the last
    /// one, however late we are.
    pub(super) fn ping_due(&mut self, limits: &Limits, now: Instant) -> bool {
        match *self {
            Self::PingAt(at) if at <= now => {
                *self = Self::PongBy(at + limits.ping_timeout);
                true
            }
            _ => false,
        }
    }

    pub(super) fn expired(&self, limits: &Limits, now: Instant) -> bool {
        match *self {
            Self::PingAt(at) => at + limits.ping_timeout <= now,
            Self::PongBy(by) | Self::PingBy(by) => by <= now,
        }
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Instant {
        match *self {
            Self::PingAt(at) | Self::PongBy(at) | Self::PingBy(at) => at,
        }
    }
}
