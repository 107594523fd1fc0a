//! What a server is told at its start.

use std::time::Duration;

use actix_http::header::{AUTHORIZATION, COOKIE, HeaderName};
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
    /// Whether clients of Engine.IO 3 (Socket.IO 1 and 2) are let in.
    pub eio3: bool,
    /// Whether messages go to the application as they are, without Socket.IO on top.
    pub engine_only: bool,
    /// The cookie that carries a polling client's session id, for load balancers that need one.
    pub cookie: Option<String>,
    /// How long the move from polling to WebSocket may take.
    pub upgrade_timeout: Duration,
    /// How long a polling request's body may take to arrive.
    pub body_timeout: Duration,
    /// Bytes that may wait for one connection before it is cut as [`crate::Close::Slow`].
    pub outbox: usize,
    /// Connections at once; 0: no limit.
    pub max_connections: usize,
    /// Connections at once from one address (IPv6: from one network of 64 bits); 0: no limit.
    pub connections_per_address: usize,
    /// Handshakes a second from one address, ten seconds' worth of them at once; 0: no limit.
    pub handshakes_per_address: usize,
    /// Connections that have not joined yet. A client joins within milliseconds of its handshake;
    /// whoever opens connections and leaves it at that gets no further than this.
    pub max_unjoined: usize,
    /// TCP connections from one address without a request so far; 0: no limit.
    pub unfinished_per_address: usize,
    /// How long a TCP connection may go without a request that is being answered.
    pub quiet_timeout: Duration,
    /// Which pages' scripts may connect.
    pub origins: Origins,
    /// Whether its listener speaks TLS: then a page's own origin begins with `https`.
    pub tls: bool,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Headers by which the application knows who asks: a polling client's later request that brings others
    /// than its first is shown to [`crate::Application::owner`].
    pub identifying: Vec<HeaderName>,
    /// What a connection may cost.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            polling: true,
            websocket: true,
            eio3: false,
            engine_only: false,
            cookie: None,
            upgrade_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            outbox: 1 << 20,
            max_connections: 0,
            connections_per_address: 0,
            handshakes_per_address: 0,
            max_unjoined: 4096,
            unfinished_per_address: 0,
            quiet_timeout: Duration::from_secs(60),
            origins: Origins::Own,
            tls: false,
            trusted_proxies: Vec::new(),
            identifying: vec![COOKIE, AUTHORIZATION],
            limits: Limits::default(),
        }
    }
}
