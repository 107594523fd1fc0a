//! The application side of a connection: who it is, its place in the registry, and what it may ask.
//!
//! It touches no socket: `socketio` brings requests and events, and takes packets by its handle.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Addr;
use identity::User;
use log::{debug, warn};
use socketio::{
    Admission, Application, Close, Denial, Event, Handle, Handshake, Limit, Request, Server,
};

use crate::metrics::Metrics;
use crate::model::{GroupName, UserId};
use crate::registry::{Join, Membership, Outdated, Registry};
use cache::Fingerprint;
use limited::Limited;
use sessions::{Found, Sessions, Unknown, Visitor};
use watch::{Doubt, Follow, Watch};

mod asking;
pub mod cache;
pub mod callback;
pub mod changes;
mod dev;
mod flight;
pub mod limited;
mod owner;
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
    /// The web application says so, or its session.
    Session(Sessions),
}

impl Identity {
    /// What says whose a session is, unless the client does.
    pub fn sessions(&self) -> Option<&Sessions> {
        match self {
            Self::Dev => None,
            Self::Session(sessions) => Some(sessions),
        }
    }
}

/// Whether every way to know a user is blocked: all stores are away.
pub fn nobody_can_be_known(identities: &[Identity]) -> bool {
    identities.iter().all(|identity| identity.sessions().is_some_and(Sessions::is_blocked))
}

/// One worker's clients.
pub struct Clients {
    gate: Gate,
}

/// What a user's connection holds, as long as it lives: its place in the registry and, if a session
/// says who it is, in the watch.
pub struct Member {
    membership: Membership,
    _followed: Option<watch::Place>,
    /// If its requests say whose they are.
    owner: Option<NonZeroU64>,
    /// Which identity knows it, if one with sessions does.
    sessions: Option<Sessions>,
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
        let visitor = Visitor {
            cookies: cookies.as_deref(),
            headers: &request.handshake.headers,
            remote: request.handshake.remote,
            auth: request.auth.as_deref(),
        };
        let mut turned = "no_user";
        for identity in self.gate.identities.iter() {
            match identity {
                Identity::Dev => match dev::identify(request, self.gate.listen) {
                    Ok(user) => return Ok(Known { user, groups: Vec::new(), session: None }),
                    Err(reason) => turned = most_telling(turned, reason),
                },
                Identity::Session(sessions) => match sessions.identify(&visitor).await {
                    Ok(found) => match known(found) {
                        Some(known) => return Ok(known),
                        None => turned = most_telling(turned, "no_user"),
                    },
                    Err(Unknown::Refused(reason)) => turned = most_telling(turned, reason.as_str()),
                    Err(Unknown::Over(reason, session)) => {
                        self.doubt(session);
                        turned = most_telling(turned, reason.as_str());
                    }
                    Err(Unknown::Unavailable) => return Err(Turned::Unavailable),
                },
            }
        }
        Err(Turned::Away(turned))
    }

    /// Who came with this session and is still here is looked at again.
    #[expect(clippy::disallowed_methods, reason = "one message for each attempt to join")]
    fn doubt(&self, session: Fingerprint) {
        self.gate.watch.do_send(Doubt(session));
    }

    fn count(&self, reason: &'static str) {
        self.gate.metrics.turned_away(reason).inc();
    }

    /// Nothing, if the user was disconnected since the store was asked: it has to be asked anew.
    async fn admit(
        &self,
        known: Known,
        session: &Handle,
    ) -> Result<Option<Member>, actix::MailboxError> {
        let Known { user, groups, session: found } = known;
        let sink = Box::new(session.clone());
        let asked = found.as_ref().map(|found| found.asked);
        let owner = found.as_ref().filter(|found| !found.by_token);
        let owner = owner.map(|found| owner::number(&found.user.id));
        let membership = match self.gate.registry.send(Join { user, asked, groups, sink }).await? {
            Ok(membership) => membership,
            Err(Outdated(at)) => {
                if let Some(found) = found {
                    found.sessions.end(found.fingerprint, at);
                }
                return Ok(None);
            }
        };
        let sessions = found.as_ref().map(|found| found.sessions.clone());
        let followed = match found {
            Some(found) => {
                let follow = Follow { found, handle: session.clone(), seat: membership.seat() };
                Some(self.gate.watch.send(follow).await?)
            }
            None => None,
        };
        Ok(Some(Member { membership, _followed: followed, owner, sessions }))
    }
}

/// What is told of several refusals: the most telling, which is the first that is not just an absence.
pub fn most_telling(before: &'static str, reason: &'static str) -> &'static str {
    match before {
        "no_user" | "no_cookie" => reason,
        other => other,
    }
}

fn known(found: Found) -> Option<Known> {
    let user = UserId::new(&found.user.id).ok()?;
    Some(Known { user, groups: group_names(&found.user), session: Some(found) })
}

/// The groups that a session lists.
fn group_names(user: &User) -> Vec<GroupName> {
    user.groups.iter().filter_map(|name| GroupName::new(name).ok()).collect()
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
        for _ in 0..ATTEMPTS {
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
                Ok(Some(member)) => return Admission::Accept(member),
                Ok(None) => {}
                Err(error) => {
                    warn!("join failed error={error} next=\"the client tries again\"");
                    return Admission::Unavailable;
                }
            }
        }
        Admission::Unavailable
    }

    async fn owner(&self, handshake: &Handshake) -> Result<Option<NonZeroU64>, Denial> {
        owner::of(&self.gate.identities, handshake).await
    }

    fn member_owner(&self, member: &Member) -> Option<NonZeroU64> {
        member.owner
    }

    fn event(&self, session: &Handle, member: &mut Member, event: Event) {
        self.hear(session, member, &event);
    }
}

/// Questions for one who joins; a user who is disconnected more often in that moment comes back.
const ATTEMPTS: usize = 3;

/// Tells a client that its session is over, and ends it so that the stock client stays away.
fn say_over(client: &Handle, reason: &str, close: Close) {
    client.emit("/", format!("[\"session:end\",{{\"reason\":\"{reason}\"}}]"), Vec::new());
    client.leave("/");
    client.close(close);
}
