//! Identity `dev`: the user is what the client says. For trying things out, hence only for direct
//! requests on this machine: through a proxy or under another name, anybody could be anyone.

use std::net::SocketAddr;

use serde::Deserialize;
use socketio::Request;

use crate::config::names_loopback;
use crate::model::UserId;

/// # Errors
/// The reason, as the client and the metrics are told.
pub(super) fn identify(request: &Request, listen: SocketAddr) -> Result<UserId, &'static str> {
    let handshake = &request.handshake;
    let forwarded = FORWARDING.iter().any(|name| handshake.headers.contains_key(*name));
    let host = handshake.header("host").unwrap_or_default();
    if !listen.ip().is_loopback() || !names_loopback(host) || forwarded {
        return Err("no_user");
    }
    let said = match &request.auth {
        Some(auth) => serde_json::from_str::<Auth>(auth).map_err(|_| "malformed")?.user,
        None => None,
    };
    let said = said.as_deref().or_else(|| handshake.parameter("user")).ok_or("no_user")?;
    UserId::new(said).map_err(|_| "bad_id")
}

#[derive(Deserialize)]
struct Auth {
    user: Option<String>,
}

/// What proxies add, so that a request through one is told from a direct one.
const FORWARDING: [&str; 10] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "x-client-ip",
    "cf-connecting-ip",
];
