//! The application side of a connection: who it is, its place in the registry, and what it may ask.
//!
//! It touches no socket: `socketio` brings requests and events, and takes packets by its handle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Addr;
use log::{debug, warn};
use socketio::{
    Admission, Application, Close, Denial, Event, Handle, Handshake, Packet, Request, Server,
};

use crate::config::Identity;
use crate::metrics::Metrics;
use crate::model::UserId;
use crate::registry::{Join, Membership, Registry, Sink};

mod dev;

/// What all workers share.
#[derive(Clone)]
pub struct Gate {
    /// The Socket.IO server, for the number of live connections.
    pub server: Server,
    /// Connections at once.
    pub max_connections: usize,
    /// Set once the hub goes down: nobody new gets in.
    pub draining: Arc<AtomicBool>,
    /// Who is here.
    pub registry: Addr<Registry>,
    /// How to know a user: tried in order.
    pub identities: Arc<[Identity]>,
    /// Where the hub listens.
    pub listen: SocketAddr,
    /// Where refusals are counted.
    pub metrics: Metrics,
}

/// One worker's clients.
pub struct Clients {
    gate: Gate,
}

/// A user's place in the registry, as long as the connection lives.
pub struct Member {
    _membership: Membership,
}

impl Clients {
    /// The application for one worker.
    pub fn new(gate: Gate) -> Self {
        Self { gate }
    }

    fn identify(&self, request: &Request) -> Result<UserId, &'static str> {
        let mut reason = "no_user";
        for identity in self.gate.identities.iter() {
            match identity {
                Identity::Dev => match dev::identify(request, self.gate.listen) {
                    Ok(user) => return Ok(user),
                    Err(why) => reason = why,
                },
            }
        }
        Err(reason)
    }

    fn turn_away(&self, reason: &'static str) {
        self.gate.metrics.turned_away(reason).inc();
    }
}

impl Application for Clients {
    type Member = Member;

    fn handshake(&self, _: &Handshake) -> Result<(), Denial> {
        if self.gate.draining.load(Ordering::Relaxed) {
            return Err(Denial::Unavailable("draining"));
        }
        if self.gate.server.live() >= self.gate.max_connections {
            return Err(Denial::Unavailable("too_many"));
        }
        Ok(())
    }

    fn refused(&self, handshake: &Handshake, denial: Denial) {
        let reason = denial.reason();
        self.turn_away(reason);
        debug!("handshake refused reason={reason} remote={:?}", handshake.remote);
    }

    async fn connect(&self, request: Request) -> Admission<Member> {
        let user = match self.identify(&request) {
            Ok(user) => user,
            Err(reason) => {
                self.turn_away(reason);
                debug!("join refused reason={reason} remote={:?}", request.handshake.remote);
                return Admission::Refuse {
                    message: "unauthorized".to_owned(),
                    data: Some(format!("{{\"reason\":\"{reason}\"}}")),
                };
            }
        };
        let sink = Box::new(request.session.clone());
        match self.gate.registry.send(Join { user, groups: Vec::new(), sink }).await {
            Ok(membership) => Admission::Accept(Member { _membership: membership }),
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
