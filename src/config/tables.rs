//! The tables of `config.toml`: every key, its default, and its type.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::Mistake;
use super::directory::{self, DirectoryConfig};
use super::identity::{Identity, identity};
use super::redis::{self, RedisConfig};
use super::rules;
use super::section::{Placed, Section};
use super::tls::{self, TlsConfig};
use super::tree::{Node, Source, Table, Tree, Value};
use super::value::Size;

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The public listener.
    pub server: ServerConfig,
    /// The protocol's terms.
    pub socketio: SocketIoConfig,
    /// Who browsers belong to: tried in order.
    pub identities: Vec<Identity>,
    /// Where sessions live, unless an identity says otherwise.
    pub redis: RedisConfig,
    /// Programs that announce.
    pub notifiers: Vec<NotifierConfig>,
    /// Who knows of more of them.
    pub directory: DirectoryConfig,
    /// The other listener.
    pub admin: AdminConfig,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// HTTP workers; 0: one per core.
    pub workers: usize,
    /// Where Socket.IO is mounted.
    pub path: String,
    /// Browser origins that may connect; empty: the page's own.
    pub origins: Vec<String>,
    /// Proxies whose forwarding headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections at once; 0: what the file limit allows.
    pub max_connections: usize,
    /// Of those, from one address; 0: no limit.
    pub connections_per_address: usize,
    /// Handshakes a second from one address; 0: no limit.
    pub handshakes_per_address: usize,
    /// Connections that have not joined yet.
    pub max_unjoined: usize,
    /// TCP connections from one address without a request so far; 0: no limit.
    pub unfinished_per_address: usize,
    /// How long a TCP connection may take to send its first request.
    pub request_timeout: Duration,
    /// Its certificate, if it speaks TLS.
    pub tls: Option<TlsConfig>,
}

/// `[socketio]`
#[derive(Clone, Debug)]
pub struct SocketIoConfig {
    /// Whether clients may long-poll.
    pub polling: bool,
    /// Whether clients may use WebSocket.
    pub websocket: bool,
    /// Whether clients of Engine.IO 3 are let in.
    pub allow_eio3: bool,
    /// Between two pings.
    pub ping_interval: Duration,
    /// Until a ping is answered.
    pub ping_timeout: Duration,
    /// Until a namespace is joined.
    pub connect_timeout: Duration,
    /// Until a polling client has moved to its WebSocket.
    pub upgrade_timeout: Duration,
    /// The largest message from a client, in bytes.
    pub max_payload: usize,
    /// Attachments of one message from a client.
    pub max_attachments: usize,
    /// Their bytes together.
    pub max_attachment_bytes: usize,
    /// Until they have all arrived.
    pub attachment_timeout: Duration,
    /// Namespaces that one connection may be in.
    pub max_namespaces: usize,
    /// Packets a second from one connection; 0: no limit.
    pub event_rate: usize,
    /// Bytes that may wait for one connection.
    pub outbox: usize,
}

/// `[[notifier]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifierConfig {
    /// What log, metrics and browsers call it.
    pub name: String,
    /// How it speaks.
    pub transport: Transport,
    /// Endpoints to connect to.
    pub connect: Vec<String>,
    /// The endpoint to bind, instead.
    pub bind: Option<String>,
    /// What a `sub` subscribes to.
    pub subscribe: Subscribe,
    /// Address prefixes it may send to.
    pub allow: Vec<String>,
    /// The largest message, all frames together, in bytes.
    pub max_message: usize,
}

/// `type` of a notifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Their PUB.
    Sub,
    /// Their PUSH.
    Pull,
}

/// `subscribe` of a `sub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribe {
    /// A topic for each online user and group.
    Each,
    /// Everything.
    All,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// env_logger's filter.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// `format` of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

impl Transport {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::Pull => "pull",
        }
    }

    /// Whether a third frame is an id.
    pub const fn has_ids(self) -> bool {
        matches!(self, Self::Pull)
    }
}

impl NotifierConfig {
    /// A `pull` notifier with the defaults, without an endpoint.
    pub fn pull(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            transport: Transport::Pull,
            connect: Vec::new(),
            bind: None,
            subscribe: Subscribe::All,
            allow: ["u/", "g/", "all/"].map(str::to_owned).to_vec(),
            max_message: 64 << 10,
        }
    }

    /// Whether it may give the hub itself orders.
    pub fn may_control(&self) -> bool {
        self.allow.iter().any(|prefix| prefix == "_ctl/")
    }

    /// What to do with which endpoint: `bind` or `connect`.
    pub fn actions(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let bind = self.bind.iter().map(|endpoint| ("bind", endpoint.as_str()));
        bind.chain(self.connect.iter().map(|endpoint| ("connect", endpoint.as_str())))
    }

    /// All endpoints, as configured.
    pub fn endpoints(&self) -> Vec<String> {
        self.actions().map(|(_, endpoint)| endpoint.to_owned()).collect()
    }
}

/// Reads the tree as a whole. What is wrong is in `mistakes`, and has its default in the result.
pub(super) fn read(mut tree: Tree, demo: bool, mistakes: &mut Vec<Mistake>) -> Config {
    let server = server(tree.root.remove("server"), mistakes);
    let socketio = socketio(tree.root.remove("socketio"), mistakes);
    let identities = each("identity", tree.root.remove("identity"), mistakes, identity);
    let notifiers = each("notifier", tree.root.remove("notifier"), mistakes, notifier);
    let directory = directory::read(tree.root.remove("directory"), mistakes);
    let admin = admin(tree.root.remove("admin"), mistakes);
    let log = log(tree.root.remove("log"), mistakes);
    let redis = redis::read(tree.root.remove("redis"), mistakes);
    not_yet(&mut tree, mistakes);
    unknown_tables(&tree.root, mistakes);

    rules::identities(&identities, &server, demo, mistakes);
    rules::listeners(&server, &admin, mistakes);
    rules::notifiers(&notifiers, socketio.outbox.value, mistakes);
    Config {
        server: server.config,
        socketio: socketio.config,
        identities: identities.into_iter().map(|identity| identity.value).collect(),
        redis,
        notifiers: notifiers.into_iter().map(|notifier| notifier.value).collect(),
        directory,
        admin: AdminConfig { listen: admin.value },
        log,
    }
}

/// `[server]` and where the values that rules look at were written.
pub(super) struct Server {
    pub(super) config: ServerConfig,
    pub(super) listen: Source,
}

pub(super) struct SocketIo {
    config: SocketIoConfig,
    outbox: Placed<usize>,
}

fn server(node: Option<Node>, mistakes: &mut Vec<Mistake>) -> Server {
    let mut section = Section::new("server", node, mistakes);
    let listen = section.take("listen", SocketAddr::from(([127, 0, 0, 1], 8080)));
    let config = ServerConfig {
        listen: listen.value,
        workers: section.take("workers", 0).value,
        path: section.take_if("path", "/socket.io/".to_owned(), rules::path).value,
        origins: section.take_if("origins", Vec::new(), rules::origins).value,
        trusted_proxies: section.take("trusted_proxies", Vec::new()).value,
        max_connections: section.take("max_connections", 0).value,
        connections_per_address: section.take("connections_per_address", 1_000).value,
        handshakes_per_address: section.take("handshakes_per_address", 50).value,
        unfinished_per_address: section.take("unfinished_per_address", 250).value,
        request_timeout: section
            .take_if("request_timeout", Duration::from_secs(10), rules::a_second)
            .value,
        max_unjoined: section.take_if("max_unjoined", 4_096, rules::some).value,
        tls: tls::read(section.inner("tls")),
    };
    section.finish();
    Server { config, listen: listen.source }
}

fn socketio(node: Option<Node>, mistakes: &mut Vec<Mistake>) -> SocketIo {
    let mut section = Section::new("socketio", node, mistakes);
    let seconds = Duration::from_secs;
    let both = vec!["polling".to_owned(), "websocket".to_owned()];
    let transports = section.take_if("transports", both, rules::transports).value;
    let outbox = section.take_if("outbox", Size(1 << 20), rules::outbox);
    let config = SocketIoConfig {
        polling: transports.iter().any(|one| one == "polling"),
        websocket: transports.iter().any(|one| one == "websocket"),
        ping_interval: section.take_if("ping_interval", seconds(25), rules::positive).value,
        ping_timeout: section.take_if("ping_timeout", seconds(20), rules::positive).value,
        connect_timeout: section.take_if("connect_timeout", seconds(45), rules::positive).value,
        upgrade_timeout: section.take_if("upgrade_timeout", seconds(10), rules::positive).value,
        max_payload: section.take_if("max_payload", Size(1_000_000), rules::some_bytes).value.0,
        allow_eio3: section.take("allow_eio3", false).value,
        max_attachments: section.take_if("max_attachments", 10, rules::some).value,
        max_attachment_bytes: section
            .take_if("max_attachment_bytes", Size(10_000_000), rules::some_bytes)
            .value
            .0,
        attachment_timeout: section
            .take_if("attachment_timeout", seconds(30), rules::positive)
            .value,
        max_namespaces: section.take_if("max_namespaces", 8, rules::some).value,
        event_rate: section.take("event_rate", 50).value,
        outbox: outbox.value.0,
    };
    section.later("recovery", "\"30d\"");
    section.finish();
    SocketIo { config, outbox: Placed { value: outbox.value.0, source: outbox.source } }
}

fn notifier(mut section: Section<'_>) -> Placed<NotifierConfig> {
    let source = section.source();
    if !section.has("name") {
        section.mistake(
            &source,
            "name",
            "missing; give it one, as log and metrics call it by that",
        );
    }
    let name = section.take_if("name", String::new(), rules::name);
    let transport = section.choose(
        "type",
        Transport::Sub,
        &[
            ("sub", Some(Transport::Sub)),
            ("pull", Some(Transport::Pull)),
            ("router", None),
            ("http", None),
        ],
    );
    let unsaid = !section.has("connect") && !section.has("bind");
    let connect = section.take_if("connect", Vec::new(), rules::endpoints);
    let bind = section.take_if("bind", String::new(), rules::endpoint);
    let subscribe = section.choose(
        "subscribe",
        Subscribe::All,
        &[("each", Some(Subscribe::Each)), ("all", Some(Subscribe::All))],
    );
    let defaults = NotifierConfig::pull("");
    let allow = section.take_if("allow", defaults.allow, rules::prefixes);
    let max_message = section.take_if("max_message", Size(defaults.max_message), rules::some_bytes);
    section.choose("codec", (), &[("json", Some(())), ("pickle", None), ("python-socketio", None)]);
    section.later("rate", "0");
    section.later("curve", "{ secret_key_file = \"\", server_key = \"\", clients_file = \"\" }");
    section.later("token_file", "\"\"");
    let insecure = section.take("insecure", false);

    match (connect.value.is_empty(), bind.value.is_empty()) {
        (true, true) if unsaid => section.mistake(
            &source,
            "connect",
            "missing; say connect = [\"tcp://…\"] or bind = \"tcp://…\"",
        ),
        (false, false) => section.mistake(&bind.source, "bind", "either connect or bind, not both"),
        _ => {}
    }
    if let Err(message) = rules::secure(&bind.value, insecure.value) {
        section.mistake(&bind.source, "bind", message);
    }
    section.finish();
    let value = NotifierConfig {
        name: name.value,
        transport: transport.value,
        connect: connect.value,
        bind: Some(bind.value).filter(|bind| !bind.is_empty()),
        subscribe: subscribe.value,
        allow: allow.value,
        max_message: max_message.value.0,
    };
    Placed { value, source }
}

fn admin(node: Option<Node>, mistakes: &mut Vec<Mistake>) -> Placed<SocketAddr> {
    let mut section = Section::new("admin", node, mistakes);
    let listen = section.take("listen", SocketAddr::from(([127, 0, 0, 1], 8081)));
    section.later("token_file", "\"\"");
    section.later("insecure", "false");
    section.later("tls", "{ cert = \"\", key = \"\" }");
    section.finish();
    listen
}

fn log(node: Option<Node>, mistakes: &mut Vec<Mistake>) -> LogConfig {
    let mut section = Section::new("log", node, mistakes);
    let formats = [("text", Some(LogFormat::Text)), ("json", Some(LogFormat::Json))];
    let log = LogConfig {
        level: section.take_if("level", "info".to_owned(), rules::filter).value,
        format: section.choose("format", LogFormat::Text, &formats).value,
    };
    section.finish();
    log
}

/// Tables of parts that do not exist yet.
fn not_yet(tree: &mut Tree, mistakes: &mut Vec<Mistake>) {
    let mut section = Section::new("inbox", tree.root.remove("inbox"), mistakes);
    for (key, default) in [("path", "\"pregon.db\""), ("max", "1000"), ("ttl", "\"30d\"")] {
        section.later(key, default);
    }
    let stores = [("memory", Some(())), ("off", None), ("file", None), ("redis", None)];
    section.choose("store", (), &stores);
    section.finish();
}

/// Reads an array of tables.
fn each<T>(
    name: &str,
    node: Option<Node>,
    mistakes: &mut Vec<Mistake>,
    read: impl Fn(Section<'_>) -> T,
) -> Vec<T> {
    let items = match node {
        None => Vec::new(),
        Some(Node { value: Value::Array(items), .. }) => items,
        Some(Node { source, .. }) => {
            mistakes.push(source.mistake(name, format!("write [[{name}]], one for each")));
            Vec::new()
        }
    };
    items.into_iter().map(|item| read(Section::new(name, Some(item), mistakes))).collect()
}

fn unknown_tables(left: &Table, mistakes: &mut Vec<Mistake>) {
    let known: HashSet<&str> = [
        "server",
        "socketio",
        "identity",
        "notifier",
        "directory",
        "inbox",
        "redis",
        "admin",
        "log",
    ]
    .into();
    for (name, node) in left {
        let near = known.iter().find(|one| strsim::damerau_levenshtein(one, name) <= 2);
        let message = match near {
            Some(near) => format!("unknown table; did you mean [{near}]?"),
            None => "unknown table or key".to_owned(),
        };
        mistakes.push(node.source.mistake(name.as_str(), message));
    }
}
