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

use crate::model::Notification;
use crate::registry::{Announcement, Publish, Registry};
use store::{Duplicates, Sequence};

/// The actor. There is one.
pub struct Sequencer {
    registry: Addr<Registry>,
    sequence: Sequence,
    duplicates: Duplicates,
    accepted: u64,
}

/// Notifications of one notifier, in its order. The answer is an outcome for each.
#[derive(Message)]
#[rtype(result = "Vec<Outcome>")]
pub struct Batch {
    /// The notifier's name, as browsers hear it.
    pub from: Arc<str>,
    /// What it announces.
    pub notifications: Vec<Notification>,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// That many connections took it.
    Delivered(u32),
    /// Nobody was there.
    Absent,
    /// Its id was taken before.
    Duplicate,
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

    /// Orders a batch: an announcement and its place in the outcomes for each that is no duplicate.
    fn order(&mut self, batch: Batch) -> (Vec<Outcome>, Vec<usize>, Vec<Announcement>) {
        let at = milliseconds();
        let now = now();
        let mut outcomes = Vec::with_capacity(batch.notifications.len());
        let mut places = Vec::with_capacity(batch.notifications.len());
        let mut announcements = Vec::with_capacity(batch.notifications.len());
        for notification in batch.notifications {
            if let Some(id) = &notification.id
                && !self.duplicates.first(&batch.from, &notification.to, id, now)
            {
                outcomes.push(Outcome::Duplicate);
                continue;
            }
            let position = self.sequence.next(at);
            let packet =
                encode::packet(&notification, &batch.from, at, position, self.sequence.epoch());
            places.push(outcomes.len());
            outcomes.push(Outcome::Absent);
            announcements.push(Announcement { to: notification.to, packet });
        }
        self.accepted += announcements.len() as u64;
        (outcomes, places, announcements)
    }
}

impl Actor for Sequencer {
    type Context = Context<Self>;
}

impl Handler<Batch> for Sequencer {
    type Result = ResponseActFuture<Self, Vec<Outcome>>;

    fn handle(&mut self, batch: Batch, _: &mut Self::Context) -> Self::Result {
        let (mut outcomes, places, announcements) = self.order(batch);
        // Sent before this returns: batches reach the registry in the order in which they came here.
        let publish = self.registry.send(Publish(announcements));
        Box::pin(publish.into_actor(self).map(move |counts, _, _| {
            let counts = counts.ok();
            for (n, place) in places.into_iter().enumerate() {
                let count = counts.as_ref().and_then(|counts| counts.get(n));
                if let Some(outcome) = outcomes.get_mut(place) {
                    *outcome = match count {
                        Some(0) => Outcome::Absent,
                        Some(count) => Outcome::Delivered(*count),
                        None => Outcome::Lost,
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
