//! Values of settings: how a duration, a size or an address is written, and what to say if it is not.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use ipnet::IpNet;

use super::tree::{Node, Value};

/// A setting's type.
pub(super) trait Setting: Sized {
    /// # Errors
    /// What would be right.
    fn read(node: &Node) -> Result<Self, String>;
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) usize);

impl Setting for String {
    fn read(node: &Node) -> Result<Self, String> {
        match &node.value {
            Value::Text(text) => Ok(text.clone()),
            other => Err(expected("a string", other)),
        }
    }
}

impl Setting for bool {
    fn read(node: &Node) -> Result<Self, String> {
        match &node.value {
            Value::Boolean(value) => Ok(*value),
            other => Err(expected("true or false", other)),
        }
    }
}

impl Setting for usize {
    fn read(node: &Node) -> Result<Self, String> {
        match &node.value {
            Value::Integer(number) => {
                Self::try_from(*number).map_err(|_| format!("{number} is negative"))
            }
            other => Err(expected("a number", other)),
        }
    }
}

impl Setting for Duration {
    fn read(node: &Node) -> Result<Self, String> {
        let hint = "write a duration like \"25s\", \"10m\", \"24h\", or whole seconds";
        match &node.value {
            Value::Integer(seconds) => {
                u64::try_from(*seconds).map(Self::from_secs).map_err(|_| hint.to_owned())
            }
            Value::Text(text) => scaled(text, &DURATIONS)
                .map(Self::from_millis)
                .ok_or_else(|| format!("{text:?} is no duration; {hint}")),
            other => Err(expected(hint, other)),
        }
    }
}

impl Setting for Size {
    fn read(node: &Node) -> Result<Self, String> {
        let hint = "write bytes, or \"64KiB\", \"1MiB\"";
        let size = match &node.value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::Text(text) => scaled(text, &SIZES),
            other => return Err(expected(hint, other)),
        };
        let size = size.and_then(|bytes| usize::try_from(bytes).ok());
        size.map(Self).ok_or_else(|| format!("no size; {hint}"))
    }
}

impl Setting for SocketAddr {
    fn read(node: &Node) -> Result<Self, String> {
        let text = String::read(node)?;
        let mut found = text.to_socket_addrs().map_err(|_| {
            format!("{text:?} is no address to listen on; write host:port, as \"127.0.0.1:8080\"")
        })?;
        found.next().ok_or_else(|| format!("{text:?} names no address"))
    }
}

impl Setting for IpNet {
    fn read(node: &Node) -> Result<Self, String> {
        let text = String::read(node)?;
        let net = text.parse().or_else(|_| text.parse().map(|ip: std::net::IpAddr| ip.into()));
        net.map_err(|_| format!("{text:?} is no IP address or network, as \"10.0.0.0/8\""))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(node: &Node) -> Result<Self, String> {
        match &node.value {
            Value::Array(items) => items.iter().map(T::read).collect(),
            other => Err(expected("an array", other)),
        }
    }
}

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find_map(|(unit, scale)| {
        let number = text.strip_suffix(unit)?.trim_end();
        number.parse::<u64>().ok()?.checked_mul(*scale)
    })
}

fn expected(what: &str, found: &Value) -> String {
    format!("expected {what}, found {}", found.kind())
}
