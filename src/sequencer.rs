//! The one order: it gives each notification its id and position, drops duplicates, frames it once,
//! and hands it to the registry. Notifiers never talk to the registry themselves, so nobody can pass.
//!
//! It delivers nothing itself. What it remembers is in [`store`]: for now only what is needed to
//! tell a duplicate; nothing is kept for users who are away.

mod encode;
pub mod store;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use actix::{
    Actor, ActorFutureExt, Addr, Context, Handler, Message, MessageResult, ResponseActFuture,
    WrapFuture,
};
use serde::Serialize;

use crate::model::{Notification, Order};
use crate::registry::{Announcement, Publish, Registry, Step};
use store::{Duplicates, Sequence};

/// The actor. There is one.
pub struct Sequencer {
    registry: Addr<Registry>,
    sequence: Sequence,
    duplicates: Duplicates,
    accepted: u64,
}

/// What one notifier says, in its order. The answer is an outcome for each.
#[derive(Message)]
#[rtype(result = "Vec<Outcome>")]
pub struct Batch {
    /// The notifier's name, as browsers hear it.
    pub from: Arc<str>,
    /// What it announces, and whom it disconnects.
    pub orders: Vec<Order>,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// That many connections took it.
    Delivered(u32),
    /// Nobody was there.
    Absent,
    /// Its id was taken before.
    Duplicate,
    /// The user is disconnected.
    Disconnected,
    /// The registry is gone: the hub is going down.
    Lost,
}

/// Asks for numbers.
#[derive(Message)]
#[rtype(result = "Observed")]
pub struct Observe;

/// The numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Observed {
    /// Which store keeps them.
    pub store: &'static str,
    /// Whether an accepted notification survives a crash.
    pub durable: bool,
    /// This start's epoch, as in the clients' offsets.
    pub epoch: String,
    /// Notifications accepted since the start.
    pub accepted: u64,
    /// Ids remembered to tell duplicates.
    pub remembered_ids: usize,
}

impl Sequencer {
    /// A sequencer in front of that registry, with a new epoch.
    pub fn new(registry: Addr<Registry>) -> Self {
        let sequence = Sequence::new(milliseconds());
        Self { registry, sequence, duplicates: Duplicates::default(), accepted: 0 }
    }

    /// Orders a batch: a step and its place in the outcomes for each that is no duplicate.
    fn order(&mut self, batch: Batch) -> (Vec<Outcome>, Vec<usize>, Vec<Step>) {
        let at = milliseconds();
        let now = now();
        let mut outcomes = Vec::with_capacity(batch.orders.len());
        let mut places = Vec::with_capacity(batch.orders.len());
        let mut steps = Vec::with_capacity(batch.orders.len());
        for order in batch.orders {
            let from = &*batch.from;
            let first = match &order {
                Order::Notify(Notification { to, id, .. }) => {
                    id.as_ref().is_none_or(|id| self.duplicates.first(from, to, id, now))
                }
                Order::Disconnect { user, id } => id
                    .as_ref()
                    .is_none_or(|id| self.duplicates.first(from, &("disconnect", user), id, now)),
            };
            if !first {
                outcomes.push(Outcome::Duplicate);
                continue;
            }
            places.push(outcomes.len());
            match order {
                Order::Notify(notification) => {
                    let position = self.sequence.next(at);
                    let epoch = self.sequence.epoch();
                    let packet = encode::packet(&notification, from, at, position, epoch);
                    outcomes.push(Outcome::Absent);
                    steps.push(Step::Announce(Announcement { to: notification.to, packet }));
                    self.accepted += 1;
                }
                Order::Disconnect { user, .. } => {
                    outcomes.push(Outcome::Disconnected);
                    steps.push(Step::Disconnect(user));
                }
            }
        }
        (outcomes, places, steps)
    }
}

impl Actor for Sequencer {
    type Context = Context<Self>;
}

impl Handler<Batch> for Sequencer {
    type Result = ResponseActFuture<Self, Vec<Outcome>>;

    fn handle(&mut self, batch: Batch, _: &mut Self::Context) -> Self::Result {
        let (mut outcomes, places, steps) = self.order(batch);
        // Sent before this returns: batches reach the registry in the order in which they came here.
        let publish = self.registry.send(Publish(steps));
        Box::pin(publish.into_actor(self).map(move |counts, _, _| {
            let counts = counts.ok();
            for (n, place) in places.into_iter().enumerate() {
                let count = counts.as_ref().and_then(|counts| counts.get(n));
                if let Some(outcome) = outcomes.get_mut(place) {
                    *outcome = match (*outcome, count) {
                        (_, None) => Outcome::Lost,
                        (Outcome::Disconnected, Some(_)) => Outcome::Disconnected,
                        (_, Some(0)) => Outcome::Absent,
                        (_, Some(count)) => Outcome::Delivered(*count),
                    };
                }
            }
            outcomes
        }))
    }
}

impl Handler<Observe> for Sequencer {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, Observe: Observe, _: &mut Self::Context) -> Self::Result {
        MessageResult(Observed {
            store: "memory",
            durable: false,
            epoch: self.sequence.epoch().to_owned(),
            accepted: self.accepted,
            remembered_ids: self.duplicates.len(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the sequencer dates notifications")]
fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "the sequencer dates ids")]
fn now() -> Instant {
    Instant::now()
}
