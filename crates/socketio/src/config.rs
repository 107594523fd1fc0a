//! What a server is told at its start.

use std::time::Duration;

use ipnet::IpNet;

use crate::{Limits, Origins};

/// A server's settings; all of them hold for its whole life.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it is mounted, with the slash at its end: `/socket.io/`.
    pub path: String,
    /// Whether clients may long-poll.
    pub polling: bool,
    /// Whether clients may use WebSocket, at once or after polling.
    pub websocket: bool,
    /// How long the move from polling to WebSocket may take.
    pub upgrade_timeout: Duration,
    /// How long a polling request's body may take to arrive.
    pub body_timeout: Duration,
    /// Bytes that may wait for one connection before it is cut as [`crate::Close::Slow`].
    pub outbox: usize,
    /// Which pages' scripts may connect.
    pub origins: Origins,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What a connection may cost.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            polling: true,
            websocket: true,
            upgrade_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            outbox: 1 << 20,
            origins: Origins::Own,
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
        }
    }
}
