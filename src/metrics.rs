//! The names of all metrics, in one place. Labels have few values: never a user, never an id.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use crate::descriptors::Descriptors;

/// The hub's metrics. Cloning shares them: counters are shared state, since a message for each
/// increment would be absurd.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    families: Families,
}

#[derive(Clone, Debug, Default)]
struct Families {
    received: Family<ByNotifier, Counter>,
    refused: Family<ByNotifierAndReason, Counter>,
    notifications: Family<ByNotifierAndOutcome, Counter>,
    deliveries: Family<ByNotifier, Counter>,
    turned_away: Family<ByReason, Counter>,
    lookups: Family<ByOutcome, Counter>,
    sessions_ended: Family<ByReason, Counter>,
    events: Family<ByOutcome, Counter>,
    store_up: Family<ByStore, Gauge>,
    store_round_trip: Family<ByStore, Gauge<f64, AtomicU64>>,
    directory_up: Gauge,
}

#[derive(Clone, Debug, EncodeLabelSet, PartialEq, Eq, Hash)]
struct ByNotifier {
    notifier: String,
}

#[derive(Clone, Debug, EncodeLabelSet, PartialEq, Eq, Hash)]
struct ByNotifierAndReason {
    notifier: String,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, PartialEq, Eq, Hash)]
struct ByNotifierAndOutcome {
    notifier: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, PartialEq, Eq, Hash)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, PartialEq, Eq, Hash)]
struct ByStore {
    store: String,
    identity: usize,
}

#[derive(Clone, Debug, EncodeLabelSet, PartialEq, Eq, Hash)]
struct ByReason {
    reason: &'static str,
}

impl Metrics {
    /// All metrics; those of the Socket.IO server are read from it when they are asked for.
    /// `directory`: whether there is one.
    pub fn new(server: socketio::Server, descriptors: Descriptors, directory: bool) -> Self {
        let families = Families::default();
        let mut registry = Registry::with_prefix("pregon");
        registry.register(
            "messages_received",
            "Messages received from a notifier",
            families.received.clone(),
        );
        registry.register(
            "messages_refused",
            "Messages refused, by reason",
            families.refused.clone(),
        );
        registry.register(
            "notifications",
            "Notifications by outcome: delivered to somebody, absent (nobody there), duplicate; and disconnect, an order to disconnect a user",
            families.notifications.clone(),
        );
        registry.register(
            "deliveries",
            "Notifications times the connections that took them",
            families.deliveries.clone(),
        );
        registry.register(
            "clients_turned_away",
            "Handshakes and joins turned away, by reason",
            families.turned_away.clone(),
        );
        registry.register(
            "session_lookups",
            "Questions to a session store by outcome: user, refused, unavailable",
            families.lookups.clone(),
        );
        registry.register(
            "sessions_ended",
            "Sessions of connected users seen to end, by reason",
            families.sessions_ended.clone(),
        );
        registry.register(
            "client_events",
            "Events of clients by outcome: done, or the error",
            families.events.clone(),
        );
        registry.register(
            "session_store_up",
            "1 while the session store answers, else 0",
            families.store_up.clone(),
        );
        registry.register_with_unit(
            "session_store_round_trip",
            "How long the session store took to answer, lately",
            Unit::Seconds,
            families.store_round_trip.clone(),
        );
        if directory {
            registry.register(
                "directory_up",
                "1: the directory answers; 0: it does not",
                families.directory_up.clone(),
            );
        }
        for reason in TURNED_AWAY {
            // So that a graph begins with 0, not with the first event.
            drop(families.turned_away.get_or_create(&ByReason { reason }));
        }
        registry.register_collector(Box::new(Observer { server, descriptors }));
        Self { registry: Arc::new(registry), families }
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// Never: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Messages received from that notifier.
    pub fn received(&self, notifier: &str) -> Counter {
        self.families.received.get_or_create_owned(&by_notifier(notifier))
    }

    /// Its messages refused for that reason.
    pub fn refused(&self, notifier: &str, reason: &'static str) -> Counter {
        let labels = ByNotifierAndReason { notifier: notifier.to_owned(), reason };
        self.families.refused.get_or_create_owned(&labels)
    }

    /// Its notifications with that outcome.
    pub fn notifications(&self, notifier: &str, outcome: &'static str) -> Counter {
        let labels = ByNotifierAndOutcome { notifier: notifier.to_owned(), outcome };
        self.families.notifications.get_or_create_owned(&labels)
    }

    /// Connections that took its notifications.
    pub fn deliveries(&self, notifier: &str) -> Counter {
        self.families.deliveries.get_or_create_owned(&by_notifier(notifier))
    }

    /// Ends the series of a notifier that is gone. `reasons`: why its messages could be refused.
    pub fn forget(&self, notifier: &str, reasons: &[&'static str]) {
        let families = &self.families;
        families.received.remove(&by_notifier(notifier));
        families.deliveries.remove(&by_notifier(notifier));
        let notifier = || notifier.to_owned();
        for outcome in OUTCOMES {
            families.notifications.remove(&ByNotifierAndOutcome { notifier: notifier(), outcome });
        }
        for reason in reasons {
            families.refused.remove(&ByNotifierAndReason { notifier: notifier(), reason });
        }
    }

    /// Questions to a session store with that outcome.
    pub fn lookups(&self, outcome: &'static str) -> Counter {
        self.families.lookups.get_or_create_owned(&ByOutcome { outcome })
    }

    /// Sessions that ended for that reason while somebody was connected.
    pub fn sessions_ended(&self, reason: &'static str) -> Counter {
        self.families.sessions_ended.get_or_create_owned(&ByReason { reason })
    }

    /// Events of clients with that outcome.
    pub fn events(&self, outcome: &'static str) -> Counter {
        self.families.events.get_or_create_owned(&ByOutcome { outcome })
    }

    /// What the session store of an identity says of itself.
    pub fn store(&self, identity: usize, store: &str) -> StoreMetrics {
        let store = ByStore { store: store.to_owned(), identity };
        StoreMetrics {
            up: self.families.store_up.get_or_create_owned(&store),
            round_trip: self.families.store_round_trip.get_or_create_owned(&store),
        }
    }

    /// 1 while the directory answers.
    pub fn directory_up(&self) -> Gauge {
        self.families.directory_up.clone()
    }

    /// Clients turned away for that reason.
    pub fn turned_away(&self, reason: &'static str) -> Counter {
        self.families.turned_away.get_or_create_owned(&ByReason { reason })
    }
}

/// A session store's.
#[derive(Clone, Debug, Default)]
pub struct StoreMetrics {
    /// 1 while it answers, else 0.
    pub up: Gauge,
    /// Of its last answer to the hub itself, in seconds.
    pub round_trip: Gauge<f64, AtomicU64>,
}

/// What becomes of a notification.
const OUTCOMES: [&str; 4] = ["delivered", "absent", "duplicate", "disconnect"];

/// What the parts that exist can say to a client.
const TURNED_AWAY: [&str; 17] = [
    "origin",
    "no_cookie",
    "malformed",
    "bad_signature",
    "bad_id",
    "ambiguous",
    "no_session",
    "expired",
    "corrupt",
    "too_deep",
    "too_large",
    "no_user",
    "other_user",
    "store_unavailable",
    "too_many",
    "rate",
    "draining",
];

fn by_notifier(notifier: &str) -> ByNotifier {
    ByNotifier { notifier: notifier.to_owned() }
}

/// What others count themselves.
#[derive(Debug)]
struct Observer {
    server: socketio::Server,
    descriptors: Descriptors,
}

impl Collector for Observer {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let files = self.descriptors.observe();
        for (name, help, n) in [
            ("open_files", "Open files", files.open),
            ("open_files_limit", "Open files that the system allows", Some(files.limit)),
        ] {
            let Some(n) = n else { continue };
            let n = ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX));
            n.encode(encoder.encode_descriptor(name, help, None, n.metric_type())?)?;
        }
        let now = self.server.snapshot();
        let gauge = ConstGauge::new(0_i64);
        let mut live = encoder.encode_descriptor(
            "connections",
            "Live connections",
            None,
            gauge.metric_type(),
        )?;
        for (transport, n) in [("polling", now.polling), ("websocket", now.websocket)] {
            let n = ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX));
            n.encode(live.encode_family(&[("transport", transport)])?)?;
        }
        let opened = ConstCounter::new(now.opened);
        let encoder_opened = encoder.encode_descriptor(
            "connections_opened",
            "Connections opened",
            None,
            opened.metric_type(),
        )?;
        opened.encode(encoder_opened)?;
        let mut ended = encoder.encode_descriptor(
            "connections_ended",
            "Connections ended, by reason",
            None,
            opened.metric_type(),
        )?;
        for (reason, n) in now.ended {
            let n = ConstCounter::new(n);
            n.encode(ended.encode_family(&[("reason", reason.as_str())])?)?;
        }
        let mut limited = encoder.encode_descriptor(
            "limited",
            "Handshakes and connections turned away by a limit, by limit",
            None,
            opened.metric_type(),
        )?;
        for (limit, n) in now.limited {
            let n = ConstCounter::new(n);
            n.encode(limited.encode_family(&[("limit", limit.as_str())])?)?;
        }
        Ok(())
    }
}
