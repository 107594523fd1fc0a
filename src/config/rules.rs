//! What must hold of settings, one by one and between them; each with the sentence for whoever broke it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Mistake;
use super::identity::Identity;
use super::section::Placed;
use super::tables::{NotifierConfig, Server};
use super::value::Size;
use crate::model::GroupPattern;

pub(super) fn path(path: &str) -> Result<(), String> {
    if path.starts_with('/') && path.ends_with('/') && !path.contains(['{', '}', '?', '#', ' ']) {
        Ok(())
    } else {
        Err(format!("{path:?} must begin and end with a slash, as \"/socket.io/\""))
    }
}

pub(super) fn origins(origins: &[String]) -> Result<(), String> {
    let valid = |origin: &str| {
        origin.split_once("://").is_some_and(|(scheme, host)| {
            matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains('/')
        })
    };
    match origins.iter().find(|origin| !valid(origin)) {
        // Whoever is known by a cookie, or by a word, would be known to any page.
        Some(any) if any == "*" => {
            let danger = "would let any page on the web act for whoever looks at it";
            Err(format!("{any:?} {danger}; name the origins"))
        }
        Some(bad) => {
            Err(format!("{bad:?} is no origin; write scheme://host, as \"https://app.example\""))
        }
        None => Ok(()),
    }
}

pub(super) fn transports(transports: &[String]) -> Result<(), String> {
    let unknown = transports.iter().find(|one| !matches!(one.as_str(), "polling" | "websocket"));
    match unknown {
        Some(other) => Err(format!("{other:?} is none of polling, websocket")),
        None if transports.is_empty() => Err("name at least one of polling, websocket".to_owned()),
        None => Ok(()),
    }
}

pub(super) fn positive(duration: &Duration) -> Result<(), String> {
    if duration.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(()) }
}

/// How long an answer may take.
pub(super) fn a_moment(duration: &Duration) -> Result<(), String> {
    if (Duration::from_millis(50)..=Duration::from_secs(60)).contains(duration) {
        Ok(())
    } else {
        Err("must be between 50ms and 60s".to_owned())
    }
}

/// actix's clock moves every half a second: less would be no time at all, now and then.
pub(super) fn a_second(duration: &Duration) -> Result<(), String> {
    if *duration < Duration::from_secs(1) { Err("at least a second".to_owned()) } else { Ok(()) }
}

pub(super) fn some(number: &usize) -> Result<(), String> {
    if *number == 0 { Err("0 would be none at all; at least 1".to_owned()) } else { Ok(()) }
}

/// How often something is asked for each session.
pub(super) fn interval(interval: &Duration) -> Result<(), String> {
    if (Duration::from_millis(100)..=Duration::from_secs(30 * 24 * 3600)).contains(interval) {
        Ok(())
    } else {
        Err("must be between 100ms and 30d".to_owned())
    }
}

/// What clocks may differ by; more would prolong tokens.
pub(super) fn leeway(leeway: &Duration) -> Result<(), String> {
    if *leeway <= Duration::from_secs(600) { Ok(()) } else { Err("at most 10m".to_owned()) }
}

pub(super) fn some_bytes(Size(bytes): &Size) -> Result<(), String> {
    if *bytes < 128 { Err(format!("{bytes} bytes hold no message; at least 128")) } else { Ok(()) }
}

pub(super) fn outbox(Size(bytes): &Size) -> Result<(), String> {
    if *bytes < 16 << 10 {
        Err(format!("{bytes} bytes cut everyone; at least 16KiB"))
    } else {
        Ok(())
    }
}

/// What a notifier may be called.
///
/// # Errors
/// What is wrong with it.
pub fn name(name: &str) -> Result<(), String> {
    let valid = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if valid { Ok(()) } else { Err(format!("{name:?} must be 1 to 64 letters, digits, - _ or .")) }
}

pub(super) fn endpoints(endpoints: &[String]) -> Result<(), String> {
    endpoints.iter().try_for_each(|one| endpoint(one))
}

/// Where a ZeroMQ socket may connect to or be bound.
///
/// # Errors
/// What is wrong with it.
pub fn endpoint(endpoint: &str) -> Result<(), String> {
    match endpoint.split_once("://") {
        Some(("tcp", rest))
            if rest.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && (port == "*" || port.parse::<u16>().is_ok())
            }) =>
        {
            Ok(())
        }
        Some(("ipc", rest)) if !rest.is_empty() => Ok(()),
        _ => Err(format!("{endpoint:?} is no endpoint; write tcp://host:port or ipc:///path")),
    }
}

/// What a notifier may send to.
///
/// # Errors
/// What is wrong with it.
pub fn prefixes(prefixes: &[String]) -> Result<(), String> {
    let valid = |one: &String| {
        one.starts_with("u/") || one.starts_with("g/") || one == "all/" || one == "_ctl/"
    };
    match prefixes.iter().find(|one| !valid(one)) {
        Some(bad) => Err(format!(
            "{bad:?} begins no address; write u/…, g/… or all/, or _ctl/ for who may disconnect users"
        )),
        None => Ok(()),
    }
}

/// A bind that others can reach takes messages from anyone, unless CURVE says from whom.
pub(super) fn secure(bind: &str, insecure: bool) -> Result<(), String> {
    let Some(host) = bind.strip_prefix("tcp://") else { return Ok(()) };
    if names_loopback(host) || insecure {
        Ok(())
    } else {
        Err("anyone who reaches it could notify anyone: bind to 127.0.0.1, or say insecure = true"
            .to_owned())
    }
}

pub(super) fn some_text(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(()) }
}

pub(super) fn key(key: &str) -> Result<(), String> {
    if key.contains("{id}") {
        Ok(())
    } else {
        Err(format!("{key:?} does not say where the {{id}} goes"))
    }
}

pub(super) fn group_patterns(patterns: &[String]) -> Result<(), String> {
    match patterns.iter().find(|pattern| GroupPattern::new(pattern).is_err()) {
        Some(bad) => Err(format!("{bad:?} is no pattern; 1 to 256 bytes, * for any text")),
        None => Ok(()),
    }
}

pub(super) fn path_of_keys(path: &[String]) -> Result<(), String> {
    if path.is_empty() { Err("must name at least one key".to_owned()) } else { Ok(()) }
}

pub(super) fn layers(layers: &[String]) -> Result<(), String> {
    const LAYERS: [&str; 6] = ["pickle", "base64", "zlib", "json", "msgpack", "beaker_aes_gcm"];
    const LAST: [&str; 3] = ["pickle", "json", "msgpack"];
    match layers.iter().find(|layer| !LAYERS.contains(&layer.as_str())) {
        Some(other) => Err(format!("{other:?} is none of {}", LAYERS.join(", "))),
        None => {
            match layers.iter().rev().skip(1).find(|layer| matches!(&***layer, "json" | "msgpack"))
            {
                Some(inner) => {
                    Err(format!("nothing can be inside {inner}; it must be the last layer"))
                }
                None if !layers.last().is_some_and(|last| LAST.contains(&last.as_str())) => {
                    Err("the last layer must be pickle, json or msgpack".to_owned())
                }
                None => Ok(()),
            }
        }
    }
}

pub(super) fn redis(url: &str) -> Result<(), String> {
    if url.ends_with("#insecure") {
        return Err("\"#insecure\" would trust anybody's certificate; name its signer in ca_file"
            .to_owned());
    }
    // The error may repeat the password.
    ::redis::Client::open(url).map(drop).map_err(|_| {
        "no Redis URL; write redis://user:password@host:6379/0, rediss:// for TLS, or redis+unix:///path"
            .to_owned()
    })
}

/// The database that a Redis URL names.
pub(super) fn database(url: &str) -> Option<i64> {
    let client = ::redis::Client::open(url).ok()?;
    Some(client.get_connection_info().redis_settings().db())
}

/// Servers, as `host:port`.
pub(super) fn hosts(hosts: &[String]) -> Result<(), String> {
    match hosts.iter().find(|host| host_and_port(host).is_none()) {
        Some(bad) => Err(format!("{bad:?} is no server; write host:port")),
        None => Ok(()),
    }
}

/// The same, or whole URLs.
pub(super) fn sentinels(sentinels: &[String]) -> Result<(), String> {
    sentinels.iter().try_for_each(|one| {
        if one.contains("://") { redis(one) } else { hosts(std::slice::from_ref(one)) }
    })
}

/// What `host:port` says; IPv6 in brackets, or as Redis writes it, without.
pub fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty() && !host.contains(['/', '@', ' '])).then(|| (host.to_owned(), port))
}

pub(super) fn redis_or_empty(url: &str) -> Result<(), String> {
    if url.is_empty() { Ok(()) } else { redis(url) }
}

/// Whether `host` or `host:port` names this machine alone.
pub fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(super) fn filter(level: &str) -> Result<(), String> {
    env_filter::Builder::new()
        .try_parse(level)
        .map(|_| ())
        .map_err(|error| format!("no log filter: {error}; write error, warn, info, debug or trace"))
}

pub(super) fn identities(
    identities: &[Placed<Identity>],
    server: &Server,
    demo: bool,
    mistakes: &mut Vec<Mistake>,
) {
    // An [identity] that could not be read is a mistake already.
    let unread = mistakes.iter().any(|mistake| mistake.key.starts_with("identity"));
    if identities.is_empty() && !demo && !unread {
        let source = super::tree::Source::Default;
        mistakes.push(source.mistake(
            "identity",
            "none; say who a browser belongs to, as [[identity]] with preset = \"dev\"",
        ));
    }
    let dev = demo || identities.iter().any(|one| matches!(one.value, Identity::Dev));
    if dev && !server.config.listen.ip().is_loopback() {
        mistakes.push(server.listen.mistake(
            "server.listen",
            "identity \"dev\" believes everyone, so the hub must listen on loopback (127.0.0.1)",
        ));
    }
}

pub(super) fn listeners(
    server: &Server,
    admin: &Placed<std::net::SocketAddr>,
    mistakes: &mut Vec<Mistake>,
) {
    if !admin.value.ip().is_loopback() {
        let message =
            "outside loopback it needs a token, which is not available yet; listen on 127.0.0.1";
        mistakes.push(admin.source.mistake("admin.listen", message));
    }
    if admin.value == server.config.listen && admin.value.port() != 0 {
        mistakes.push(
            admin.source.mistake("admin.listen", "the same as server.listen; choose another port"),
        );
    }
}

/// The largest message that fits an empty outbox, with what the hub adds to it.
pub fn fitting(outbox: usize) -> usize {
    outbox.saturating_sub(2048)
}

pub(super) fn notifiers(
    notifiers: &[Placed<NotifierConfig>],
    outbox: usize,
    mistakes: &mut Vec<Mistake>,
) {
    let mut names = HashSet::new();
    for Placed { value: notifier, source } in notifiers {
        if !notifier.name.is_empty() && !names.insert(&notifier.name) {
            let message = format!("{:?} is taken by another notifier", notifier.name);
            mistakes.push(source.mistake("notifier.name", message));
        }
        if notifier.max_message > fitting(outbox) {
            let message = format!(
                "{} bytes do not fit socketio.outbox, {outbox} bytes",
                notifier.max_message
            );
            mistakes.push(source.mistake("notifier.max_message", message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_told_from_others() {
        let loopback =
            ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:80", "[::1]:8080", "[::1]"];
        for host in loopback {
            assert!(names_loopback(host), "{host}");
        }
        let others = [
            "",
            "example.org",
            "localhost.evil.example",
            "10.0.0.1:80",
            "[fe80::1]:80",
            "*:5555",
            "127.0.0.1.evil.example",
        ];
        for host in others {
            assert!(!names_loopback(host), "{host}");
        }
    }
}
