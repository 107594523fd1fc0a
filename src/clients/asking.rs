//! What a client may ask of the hub, and the answers: joining and leaving groups.
//!
//! Everything is about the client itself: no event says anything of another user.

use log::debug;
use protocol::Packet;
use socketio::{Close, Event, Handle, Message};

use super::{Clients, Member, say_over};
use crate::model::{Address, GroupName};
use crate::registry::{Change, Changed, Sink};

/// Why a client does not get what it asks for: the code and the sentence of the answer.
type Error = (&'static str, &'static str);

impl Clients {
    /// An event of a client in `/`, or another sign of it.
    pub(super) fn hear(&self, session: &Handle, member: &Member, event: &Event) {
        match event {
            Event::Event(message) => match message.name.as_deref() {
                Some("subscribe") => self.change_groups(session, member, message, true),
                Some("unsubscribe") => self.change_groups(session, member, message, false),
                Some("inbox" | "read" | "ack") => {
                    self.refuse(session, message.ack, NOT_AVAILABLE);
                }
                _ => self.refuse(session, message.ack, UNKNOWN_EVENT),
            },
            Event::Excess { ack, .. } => self.refuse(session, *ack, RATE),
            _ => {}
        }
    }

    /// Where a client may go is settled here, for patterns, and in the registry, which knows what its
    /// session grants at the moment.
    fn change_groups(&self, session: &Handle, member: &Member, message: &Message, join: bool) {
        let address = message.args().first().and_then(|address| {
            serde_json::from_str::<&str>(address.get())
                .ok()
                .and_then(|text| Address::parse(text).ok())
        });
        let Some(Address::Group(group)) = address else {
            return self.refuse(session, message.ack, BAD_ADDRESS);
        };
        let change = if join {
            let by_pattern = member.may_join(&group);
            Change::Enter { group, by_pattern }
        } else {
            Change::Exit(group)
        };
        // Sent before this returns: what a client asks for is done in its order.
        let answer = member.membership.change(change);
        let (session, ack) = (session.clone(), message.ack);
        let metrics = self.gate.metrics.clone();
        actix::spawn(async move {
            let outcome = match answer.await {
                Ok(Changed::Done) => Ok(()),
                Ok(Changed::NotGranted) => Err(NOT_GRANTED),
                Ok(Changed::TooMany) => Err(TOO_MANY),
                Err(error) => {
                    debug!("group not changed error={error}");
                    Err(UNAVAILABLE)
                }
            };
            metrics.events(outcome.map_or_else(|(code, _)| code, |()| "done")).inc();
            reply(&session, ack, outcome);
        });
    }

    fn refuse(&self, session: &Handle, ack: Option<u64>, error: Error) {
        self.gate.metrics.events(error.0).inc();
        reply(session, ack, Err(error));
    }
}

impl Member {
    /// Whether its identity lets anybody into that group who asks.
    fn may_join(&self, group: &GroupName) -> bool {
        let identity = self.sessions.as_ref().map(|sessions| sessions.terms());
        identity
            .is_some_and(|identity| identity.group_patterns.iter().any(|one| one.matches(group)))
    }
}

/// A client that wants no answer gets none; one that waits for it must not wait for ever.
fn reply(session: &Handle, ack: Option<u64>, outcome: Result<(), Error>) {
    let Some(id) = ack else { return };
    let answer = match outcome {
        Ok(()) => "[{}]".to_owned(),
        Err((code, text)) => format!("[{{\"error\":\"{code}\",\"message\":\"{text}\"}}]"),
    };
    session.acknowledge("/", id, answer, Vec::new());
}

const NOT_AVAILABLE: Error = ("not_available", "this hub does not do that yet");
const UNKNOWN_EVENT: Error = ("unknown_event", "the hub knows no such event");
const RATE: Error = ("rate", "too many events; slow down");
const BAD_ADDRESS: Error = ("bad_address", "write g/<group>/, the name percent-encoded");
const NOT_GRANTED: Error = ("not_granted", "your session does not grant this group");
const TOO_MANY: Error = ("too_many", "a connection may be in 1000 groups; leave one first");
const UNAVAILABLE: Error = ("unavailable", "not now; try again");

/// A session as the registry sees it.
impl Sink for Handle {
    fn deliver(&self, packet: &Packet) -> bool {
        self.send(packet).is_ok()
    }

    fn end(&self, reason: Close) {
        self.close(reason);
    }

    fn dismiss(&self, reason: Close) {
        say_over(self, reason.as_str(), reason);
    }
}
