//! Why a connection ended: one vocabulary for wire, log and metric.

use std::fmt;

/// The reason of an ending. Its name ([`Close::as_str`]) is the same in the WebSocket close frame,
/// in the log and as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// The client said goodbye.
    Client,
    /// The network connection broke or was dropped without a goodbye.
    Transport,
    /// No answer to a heartbeat within the ping timeout.
    PingTimeout,
    /// The client broke the protocol, or never joined a namespace in time.
    Protocol,
    /// A message exceeded the payload limit.
    TooLarge,
    /// The client read too slowly: its outbox was full.
    Slow,
    /// The client said too much too fast.
    Rate,
    /// Another connection took this one's place.
    Replaced,
    /// The web application's session is over.
    SessionEnd,
    /// An operator or a notifier ended it.
    Kicked,
    /// The server is shutting down.
    Draining,
    /// The session store could not be asked; the client should try again.
    StoreUnavailable,
}

impl Close {
    /// Every reason, for metrics that want their series from the start.
    pub const ALL: [Self; 12] = [
        Self::Client,
        Self::Transport,
        Self::PingTimeout,
        Self::Protocol,
        Self::TooLarge,
        Self::Slow,
        Self::Rate,
        Self::Replaced,
        Self::SessionEnd,
        Self::Kicked,
        Self::Draining,
        Self::StoreUnavailable,
    ];

    /// The name on the wire, in the log and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Transport => "transport",
            Self::PingTimeout => "ping_timeout",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
            Self::Rate => "rate",
            Self::Replaced => "replaced",
            Self::SessionEnd => "session_end",
            Self::Kicked => "kicked",
            Self::Draining => "draining",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// The WebSocket close code that goes with it (RFC 6455 §7.4.1).
    pub const fn code(self) -> u16 {
        match self {
            Self::Client | Self::Transport => 1000,
            Self::Replaced | Self::Draining => 1001,
            Self::Protocol => 1002,
            Self::PingTimeout | Self::Slow | Self::Rate | Self::SessionEnd | Self::Kicked => 1008,
            Self::TooLarge => 1009,
            Self::StoreUnavailable => 1013,
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
