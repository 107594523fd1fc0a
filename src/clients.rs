//! The application side of a connection: who it is, its place in the registry, and what it may ask.
//!
//! It touches no socket: `socketio` brings requests and events, and takes packets by its handle.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Addr;
use identity::Credentials;
use log::{debug, warn};
use socketio::{
    Admission, Application, Close, Denial, Event, Handle, Handshake, Limit, Packet, Request, Server,
};

use crate::metrics::Metrics;
use crate::model::{GroupName, UserId};
use crate::registry::{Join, Membership, Registry, Sink};
use cache::Fingerprint;
use limited::Limited;
use sessions::{Found, Sessions, Unknown};
use store::Store;
use watch::{Doubt, Follow, Watch};

pub mod cache;
mod dev;
pub mod limited;
pub mod sessions;
pub mod store;
pub mod watch;

/// What all workers share.
#[derive(Clone)]
pub struct Gate {
    /// The Socket.IO server.
    pub server: Server,
    /// Set once the hub goes down: nobody new gets in.
    pub draining: Arc<AtomicBool>,
    /// Who is here.
    pub registry: Addr<Registry>,
    /// Whose session is still what it was.
    pub watch: Addr<Watch>,
    /// How to know a user: tried in order.
    pub identities: Arc<[Identity]>,
    /// Where the hub listens.
    pub listen: SocketAddr,
    /// Where refusals are counted.
    pub metrics: Metrics,
    /// Where those by a limit are logged.
    pub limited: Limited,
}

/// One way to know a user, ready to ask.
#[derive(Clone)]
pub enum Identity {
    /// The client says so.
    Dev,
    /// The web application's session says so.
    Session(Sessions),
}

impl Identity {
    /// Where its sessions live, unless it needs no store.
    pub fn store(&self) -> Option<&Store> {
        match self {
            Self::Dev => None,
            Self::Session(sessions) => sessions.store(),
        }
    }
}

/// Whether every way to know a user is blocked: all stores are away.
pub fn nobody_can_be_known(identities: &[Identity]) -> bool {
    identities.iter().all(|identity| identity.store().is_some_and(|store| !store.is_up()))
}

/// One worker's clients.
pub struct Clients {
    gate: Gate,
}

/// What a user's connection holds, as long as it lives: its place in the registry and, if a session
/// says who it is, in the watch.
pub struct Member {
    _membership: Membership,
    _followed: Option<watch::Place>,
}

/// Who a client is, and how that is known.
struct Known {
    user: UserId,
    groups: Vec<GroupName>,
    session: Option<Found>,
}

/// Why a client does not get in.
enum Turned {
    Away(&'static str),
    /// Nobody can say now.
    Unavailable,
}

impl Clients {
    /// The application for one worker.
    pub fn new(gate: Gate) -> Self {
        Self { gate }
    }

    /// Tries the identities in order; the first that names a user wins. One that has a cookie and cannot
    /// be asked ends the search: nobody else may be taken for its user.
    async fn identify(&self, request: &Request) -> Result<Known, Turned> {
        let cookies = request.handshake.cookies();
        let shown = Credentials { cookies: cookies.as_deref() };
        let mut turned = Turned::Away("no_user");
        for identity in self.gate.identities.iter() {
            match identity {
                Identity::Dev => match dev::identify(request, self.gate.listen) {
                    Ok(user) => return Ok(Known { user, groups: Vec::new(), session: None }),
                    Err(reason) => turned = turned.or(reason),
                },
                Identity::Session(sessions) => match sessions.identify(&shown).await {
                    Ok(found) => match known(found) {
                        Some(known) => return Ok(known),
                        None => turned = turned.or("no_user"),
                    },
                    Err(Unknown::Refused(reason)) => turned = turned.or(reason.as_str()),
                    Err(Unknown::Over(reason, session)) => {
                        self.doubt(session);
                        turned = turned.or(reason.as_str());
                    }
                    Err(Unknown::Unavailable) => return Err(Turned::Unavailable),
                },
            }
        }
        Err(turned)
    }

    /// Who came with this session and is still here is looked at again.
    #[expect(clippy::disallowed_methods, reason = "one message for each attempt to join")]
    fn doubt(&self, session: Fingerprint) {
        self.gate.watch.do_send(Doubt(session));
    }

    fn count(&self, reason: &'static str) {
        self.gate.metrics.turned_away(reason).inc();
    }

    async fn admit(&self, known: Known, session: &Handle) -> Result<Member, actix::MailboxError> {
        let Known { user, groups, session: found } = known;
        let sink = Box::new(session.clone());
        let membership = self.gate.registry.send(Join { user, groups, sink }).await?;
        let followed = match found {
            Some(found) => {
                Some(self.gate.watch.send(Follow { found, handle: session.clone() }).await?)
            }
            None => None,
        };
        Ok(Member { _membership: membership, _followed: followed })
    }
}

impl Turned {
    /// What is told of several refusals: the most telling, which is the first that is not just an absence.
    fn or(self, reason: &'static str) -> Self {
        match self {
            Self::Away("no_user" | "no_cookie") => Self::Away(reason),
            other => other,
        }
    }
}

fn known(found: Found) -> Option<Known> {
    let user = UserId::new(&found.user.id).ok()?;
    let groups = found.user.groups.iter().filter_map(|name| GroupName::new(name).ok()).collect();
    Some(Known { user, groups, session: Some(found) })
}

impl Application for Clients {
    type Member = Member;

    fn handshake(&self, _: &Handshake) -> Result<(), Denial> {
        if self.gate.draining.load(Ordering::Relaxed) {
            return Err(Denial::Unavailable("draining"));
        }
        if nobody_can_be_known(&self.gate.identities) {
            return Err(Denial::Unavailable("store_unavailable"));
        }
        Ok(())
    }

    fn refused(&self, handshake: &Handshake, denial: Denial) {
        let reason = denial.reason();
        self.count(reason);
        if let Denial::Limited { limit, .. } = denial {
            self.gate.limited.note(limit, handshake.remote);
        }
        debug!("handshake refused reason={reason} remote={:?}", handshake.remote);
    }

    fn cut(&self, remote: IpAddr, limit: Limit) {
        self.count(limit.reason());
        self.gate.limited.note(limit, Some(remote));
    }

    async fn connect(&self, request: Request) -> Admission<Member> {
        let remote = request.handshake.remote;
        let known = match self.identify(&request).await {
            Ok(known) => known,
            Err(Turned::Away(reason)) => {
                self.count(reason);
                debug!("join refused reason={reason} remote={remote:?}");
                return Admission::Refuse {
                    message: "unauthorized".to_owned(),
                    data: Some(format!("{{\"reason\":\"{reason}\"}}")),
                };
            }
            Err(Turned::Unavailable) => {
                self.count("store_unavailable");
                debug!("join unavailable reason=store_unavailable remote={remote:?}");
                return Admission::Unavailable;
            }
        };
        match self.admit(known, &request.session).await {
            Ok(member) => Admission::Accept(member),
            Err(error) => {
                warn!("join failed error={error} next=\"the client tries again\"");
                Admission::Unavailable
            }
        }
    }

    fn event(&self, session: &Handle, _: &mut Member, event: Event) {
        let Event::Event(message) = event else { return };
        // A client that wants no answer gets none; one that waits for it must not wait for ever.
        let Some(id) = message.ack else { return };
        let (code, text) = match message.name.as_deref() {
            Some("inbox" | "read" | "ack" | "subscribe" | "unsubscribe") => {
                ("not_available", "this hub does not do that yet")
            }
            _ => ("unknown_event", "the hub knows no such event"),
        };
        let answer = format!("[{{\"error\":\"{code}\",\"message\":\"{text}\"}}]");
        session.acknowledge(&message.namespace, id, answer, Vec::new());
    }
}

/// A session as the registry sees it.
impl Sink for Handle {
    fn deliver(&self, packet: &Packet) -> bool {
        self.send(packet).is_ok()
    }

    fn end(&self, reason: Close) {
        self.close(reason);
    }
}
