//! What an application is: it decides who comes in, hears what clients say, and learns why they left.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use actix_http::StatusCode;
use bytes::Bytes;

use crate::{Close, Data, Event, Handle, Handshake, Limit, Sid};

/// One value of it lives on each HTTP worker; its methods run on that worker's thread and must not
/// block.
pub trait Application: 'static {
    /// The application's state of one client in one namespace. Its destructor runs when the client
    /// is gone, whatever the way.
    type Member: Unpin + 'static;

    /// The namespaces that clients may join; all others are refused as unknown.
    fn namespaces(&self) -> &'static [&'static str] {
        &["/"]
    }

    /// Judges a connection's first HTTP request, before anything is kept of it.
    ///
    /// # Errors
    /// The request is answered with the denial, and that is all.
    fn handshake(&self, handshake: &Handshake) -> Result<(), Denial> {
        let _ = handshake;
        Ok(())
    }

    /// A request was turned away: a first one by [`Application::handshake`] or by a limit; any one for
    /// its origin, or since it is not its connection's owner's.
    fn refused(&self, handshake: &Handshake, denial: Denial) {
        let _ = (handshake, denial);
    }

    /// A TCP connection was closed before its first request, by a limit.
    fn cut(&self, remote: IpAddr, limit: Limit) {
        let _ = (remote, limit);
    }

    /// Judges a client that asks to join a namespace. Packets sent by the request's handle before
    /// this is answered are held, and follow the client's admission.
    ///
    /// Dropped unfinished if the client leaves meanwhile.
    fn connect(&self, request: Request) -> impl Future<Output = Admission<Self::Member>>;

    /// Whom a request belongs to, by what it brings along: any number that differs between users.
    /// Nothing, if requests do not say it. It is asked only if a polling connection's later request
    /// brings other cookies than the ones before: another user's must not get through.
    ///
    /// # Errors
    /// It certainly belongs to nobody, [`Denial::Forbidden`]; or nobody can say.
    fn owner(
        &self,
        handshake: &Handshake,
    ) -> impl Future<Output = Result<Option<NonZeroU64>, Denial>> {
        let _ = handshake;
        async { Ok(None) }
    }

    /// The same of a client that was admitted.
    fn member_owner(&self, member: &Self::Member) -> Option<NonZeroU64> {
        let _ = member;
        None
    }

    /// A client sent an event or one too many, answered one, or left a namespace of its own will (next,
    /// [`Application::left`]).
    fn event(&self, session: &Handle, member: &mut Self::Member, event: Event);

    /// A client sent a message to a server without Socket.IO ([`crate::Config::engine_only`]).
    fn message(&self, session: &Handle, data: &Data) {
        let _ = (session, data);
    }

    /// An admitted client is gone.
    fn left(&self, member: Self::Member, reason: Close) {
        let _ = (member, reason);
    }

    /// A connection ended, whether it was admitted or not.
    fn ended(&self, reason: Close) {
        let _ = reason;
    }
}

/// A client asks to join a namespace.
pub struct Request {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The connection's first HTTP request.
    pub handshake: Arc<Handshake>,
    /// The JSON object that the client sent along, if any.
    pub auth: Option<Box<str>>,
    /// The connection, for whoever will send to it.
    pub session: Handle,
}

/// Without what the client sent: that may be a secret.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The answer to a [`Request`]: one of three, since a store that cannot be asked is neither a yes
/// nor a no.
#[derive(Debug)]
pub enum Admission<M> {
    /// Come in.
    Accept(M),
    /// Come in as a session that can come back: as a new one, or as the one that was away.
    Resume(M, Resumption),
    /// Stay out, and do not come back by yourself: the stock client does not.
    Refuse {
        /// The message of the client's `connect_error`.
        message: String,
        /// JSON for its `data`.
        data: Option<String>,
    },
    /// Nobody can say now. The connection is closed, so that the stock client tries again.
    Unavailable,
}

impl<M> Admission<M> {
    /// The same answer with another member.
    pub fn map<N>(self, member: impl FnOnce(M) -> N) -> Admission<N> {
        match self {
            Self::Accept(one) => Admission::Accept(member(one)),
            Self::Resume(one, resumption) => Admission::Resume(member(one), resumption),
            Self::Refuse { message, data } => Admission::Refuse { message, data },
            Self::Unavailable => Admission::Unavailable,
        }
    }
}

/// A session that can come back (Socket.IO's "connection state recovery"). A client that finds its
/// former `pid` here knows that it has missed nothing.
#[derive(Debug)]
pub struct Resumption {
    /// The session's public id.
    pub sid: Sid,
    /// What the client shows when it comes back: a secret.
    pub pid: String,
    /// What it has missed, oldest first: sent right behind its admission, before what it was sent
    /// since.
    pub missed: Vec<Missed>,
}

/// An event that a client has missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// A JSON array: the name, the arguments with placeholders for attachments, and the offset.
    pub payload: Arc<str>,
    /// What the placeholders stand for.
    pub attachments: Vec<Bytes>,
}

/// Why a first request is denied; the reason goes into the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Not allowed: 403.
    Forbidden(&'static str),
    /// Not now: 503, and the stock client tries again.
    Unavailable(&'static str),
    /// A limit on strangers: 503, or 429 if it came too fast; the stock client tries again.
    Limited {
        /// Which.
        limit: Limit,
        /// Whole seconds until another try is worth it.
        retry_after: u64,
    },
    /// Its headers are larger than anybody's should be: 431.
    TooLarge,
}

impl Denial {
    /// The status of the answer, and the seconds of its `Retry-After`.
    pub(crate) const fn status(self) -> (StatusCode, Option<u64>) {
        match self {
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, None),
            Self::TooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, None),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            Self::Limited { limit: Limit::HandshakesPerAddress, retry_after } => {
                (StatusCode::TOO_MANY_REQUESTS, Some(retry_after))
            }
            Self::Limited { retry_after, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after))
            }
        }
    }

    /// The name in log and metric.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Forbidden(reason) | Self::Unavailable(reason) => reason,
            Self::TooLarge => "too_large",
            Self::Limited { limit, .. } => limit.reason(),
        }
    }
}
