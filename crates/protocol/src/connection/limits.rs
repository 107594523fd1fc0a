//! What a connection may cost: every number that bounds it, and its default.

use std::time::Duration;

/// What a connection may cost; the same for all connections of a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How often the server asks whether the client is there.
    pub ping_interval: Duration,
    /// How long the client may take to answer.
    pub ping_timeout: Duration,
    /// How long a client may be connected without having joined a namespace.
    pub connect_timeout: Duration,
    /// The largest message, in bytes, in either transport.
    pub max_payload: usize,
    /// Attachments of one packet.
    pub max_attachments: usize,
    /// Bytes of one packet's attachments while they are awaited.
    pub max_attachment_bytes: usize,
    /// How long the attachments of a packet may take to arrive.
    pub attachment_timeout: Duration,
    /// Events whose answer is awaited; beyond, the oldest answer would come too late and is ignored.
    pub max_unanswered: usize,
    /// Namespaces joined or being joined at once.
    pub max_namespaces: usize,
    /// Socket.IO packets a second, and ten seconds' worth of them at once; 0: no limit. An event beyond it
    /// is an [`crate::Event::Excess`]; ten seconds' worth of packets beyond it are the end.
    pub packet_rate: u32,
}

impl Default for Limits {
    /// Node's defaults, and bounds where Node has none.
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            max_payload: 1_000_000,
            max_attachments: 10,
            max_attachment_bytes: 10_000_000,
            attachment_timeout: Duration::from_secs(30),
            max_unanswered: 100,
            max_namespaces: 8,
            packet_rate: 0,
        }
    }
}
