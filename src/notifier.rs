//! One actor for each program that announces over ZeroMQ. It owns the program's socket, its
//! subscriptions, its counters and its backoff; it knows no user's sessions.
//!
//! ```text
//! ZeroMQ socket ─▶ codec ─▶ Batch ─▶ Sequencer     one batch in flight: while it waits, the socket
//!       ▲                     └─ refused: counted    is not read, and ZeroMQ holds the sender back
//!  subscriptions ◀─ Interest ── Registry
//! ```

mod codec;
mod counters;
mod fleet;
mod monitor;
mod pump;
mod socket;
mod subscriptions;

use std::sync::Arc;
use std::time::Instant;

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
    ResponseFuture,
};
use log::info;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::config::{NotifierConfig, Subscribe, Transport};
use crate::metrics::Metrics;
use crate::registry::{Interest, Registry, Watch};
use crate::sequencer::Sequencer;
pub use codec::Refused;
use counters::Counters;
pub use fleet::{Fleet, StartError};
use pump::{Pump, State};
pub use socket::SocketError;
use socket::Source;
use subscriptions::Subscriptions;

/// The actor.
pub struct Notifier {
    config: Arc<NotifierConfig>,
    name: Arc<str>,
    context: zmq::Context,
    registry: Addr<Registry>,
    sequencer: Addr<Sequencer>,
    counters: Counters,
    /// Of `sub` with `subscribe = "each"`: what anybody here could hear.
    subscriptions: Option<Subscriptions>,
    state: State,
    /// Asked to fall silent: told when it has.
    quiet: Option<oneshot::Sender<()>>,
}

/// What a notifier needs of the hub.
#[derive(Clone)]
pub struct Surroundings {
    /// ZeroMQ's context; shared, so that `inproc://` endpoints meet.
    pub context: zmq::Context,
    /// Who is here.
    pub registry: Addr<Registry>,
    /// Where batches go.
    pub sequencer: Addr<Sequencer>,
    /// Where counters are shown.
    pub metrics: Metrics,
}

impl Notifier {
    /// A notifier that opens its socket once it runs.
    pub fn new(config: NotifierConfig, around: Surroundings) -> Self {
        let subscribe_each =
            config.transport == Transport::Sub && config.subscribe == Subscribe::Each;
        Self {
            name: config.name.as_str().into(),
            counters: Counters::new(&config.name, &around.metrics),
            config: Arc::new(config),
            context: around.context,
            registry: around.registry,
            sequencer: around.sequencer,
            subscriptions: subscribe_each.then(Subscriptions::default),
            state: State::default(),
            quiet: None,
        }
    }

    /// As [`Notifier::new`], with its socket open already: so that an address that is taken is known
    /// before the hub says it is ready.
    ///
    /// # Errors
    /// The endpoint cannot be bound.
    pub fn open(config: NotifierConfig, around: Surroundings) -> Result<Self, SocketError> {
        let source = Source::open(&around.context, &config)?;
        let mut notifier = Self::new(config, around);
        notifier.state = State::opened(source);
        Ok(notifier)
    }

    #[expect(clippy::disallowed_methods, reason = "one message, at the start")]
    fn watch(&self, interest: Recipient<Interest>) {
        self.registry.do_send(Watch(interest));
    }

    /// Where the socket really listens; bound to port 0, it knows better than the configuration.
    pub fn endpoint(&self) -> Option<String> {
        self.state.endpoint()
    }
}

impl Actor for Notifier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.subscriptions.is_some() {
            self.watch(ctx.address().recipient());
        }
        ctx.spawn(Pump::new());
    }
}

impl Handler<Interest> for Notifier {
    type Result = ();

    fn handle(&mut self, interest: Interest, _: &mut Self::Context) {
        if let Some(subscriptions) = &mut self.subscriptions {
            subscriptions.note(interest, now());
        }
    }
}

/// Stops reading, as the hub goes down. The answer comes when nothing is on its way any more.
#[derive(Message)]
#[rtype(result = "Result<(), oneshot::error::RecvError>")]
pub struct FallSilent;

impl Handler<FallSilent> for Notifier {
    type Result = ResponseFuture<Result<(), oneshot::error::RecvError>>;

    fn handle(&mut self, FallSilent: FallSilent, _: &mut Self::Context) -> Self::Result {
        let (quiet, silent) = oneshot::channel();
        self.quiet = Some(quiet);
        Box::pin(silent)
    }
}

/// Ends the notifier: it is no longer wanted. A batch that is on its way arrives.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for Notifier {
    type Result = ();

    fn handle(&mut self, Stop: Stop, ctx: &mut Self::Context) {
        info!("notifier stopped notifier={}", self.name);
        ctx.stop();
    }
}

/// Asks for the notifier's state.
#[derive(Message)]
#[rtype(result = "Observed")]
pub struct Observe;

/// The state of a notifier.
#[derive(Clone, Debug, Serialize)]
pub struct Observed {
    /// Its name.
    pub name: String,
    /// `sub` or `pull`.
    pub r#type: &'static str,
    /// Where it connects to or is bound.
    pub endpoints: Vec<String>,
    /// `waiting` (nobody at the other end), `connected`, or `failed` (no socket; it is opened again).
    pub state: &'static str,
    /// Programs at the other end; unknown, hence 0, with `inproc://`.
    pub peers: usize,
    /// How often a program at the other end was lost.
    pub lost: u64,
    /// Why there is no socket.
    pub error: Option<String>,
    /// Subscriptions in force, with `subscribe = "each"`.
    pub subscriptions: Option<usize>,
    /// Messages received.
    pub received: u64,
    /// Notifications that somebody heard.
    pub delivered: u64,
    /// Connections that heard them, all in all.
    pub deliveries: u64,
    /// Notifications for which nobody was there.
    pub absent: u64,
    /// Notifications whose id was taken before.
    pub duplicates: u64,
    /// Orders to disconnect a user.
    pub disconnects: u64,
    /// Messages refused, by reason.
    pub refused: std::collections::BTreeMap<&'static str, u64>,
    /// Seconds since the last message; nothing if there was none.
    pub last_seen_seconds: Option<u64>,
}

impl Handler<Observe> for Notifier {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, Observe: Observe, _: &mut Self::Context) -> Self::Result {
        let mut observed = Observed {
            name: self.config.name.clone(),
            r#type: self.config.transport.as_str(),
            endpoints: match self.endpoint() {
                Some(bound) => vec![bound],
                None => self.config.endpoints(),
            },
            state: self.state.name(),
            peers: self.state.peers(),
            lost: self.state.lost(),
            error: self.state.error(),
            subscriptions: self.subscriptions.as_ref().map(Subscriptions::len),
            received: 0,
            delivered: 0,
            deliveries: 0,
            absent: 0,
            duplicates: 0,
            disconnects: 0,
            refused: Default::default(),
            last_seen_seconds: None,
        };
        self.counters.fill(&mut observed, now());
        MessageResult(observed)
    }
}

#[expect(clippy::disallowed_methods, reason = "time enters a notifier here")]
fn now() -> Instant {
    Instant::now()
}
