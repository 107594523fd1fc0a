//! What an application is: it decides who comes in, hears what clients say, and learns why they left.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use crate::{Close, Event, Handle, Handshake};

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

    /// A first request was turned away: by [`Application::handshake`], or for its origin.
    fn refused(&self, handshake: &Handshake, denial: Denial) {
        let _ = (handshake, denial);
    }

    /// Judges a client that asks to join a namespace. Packets sent by the request's handle before
    /// this is answered are held, and follow the client's admission.
    ///
    /// Dropped unfinished if the client leaves meanwhile.
    fn connect(&self, request: Request) -> impl Future<Output = Admission<Self::Member>>;

    /// A client sent an event, answered one, or left a namespace (then the member is dropped next).
    fn event(&self, session: &Handle, member: &mut Self::Member, event: Event);

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
    pub handshake: Rc<Handshake>,
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

/// Why a first request is denied; the reason goes into the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Not allowed: 403.
    Forbidden(&'static str),
    /// Not now: 503, and the stock client tries again.
    Unavailable(&'static str),
    /// Its headers are larger than anybody's should be: 431.
    TooLarge,
}

impl Denial {
    /// The name in log and metric.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Forbidden(reason) | Self::Unavailable(reason) => reason,
            Self::TooLarge => "too_large",
        }
    }
}
