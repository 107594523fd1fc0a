//! Whose a polling connection is: its id alone opens nothing to somebody else.
//!
//! A WebSocket is one request, but whoever polls sends many, and each must be the first one's sender's.
//! As long as a request brings what the first one brought, byte for byte, that costs a hash. If not, the
//! application says who it is: cookies are renewed under a living connection.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::num::NonZeroU64;
use std::sync::Arc;

use actix_http::header::{AUTHORIZATION, COOKIE};
use parking_lot::Mutex;

use crate::polling::Failure;
use crate::server::{Polled, Worker};
use crate::{Application, Denial, Handshake};

/// What is remembered of a polling connection.
pub(crate) struct Bond {
    state: Mutex<State>,
}

struct State {
    /// A keyed hash of what a browser is known by.
    brought: u64,
    owner: Owner,
}

#[derive(Clone)]
enum Owner {
    /// Nobody has joined: whoever sent this.
    Unjoined(Arc<Handshake>),
    /// The application's word for it; nothing, if requests do not say it.
    Joined(Option<NonZeroU64>),
}

impl Bond {
    pub(crate) fn new(key: &RandomState, first: Option<Arc<Handshake>>) -> Self {
        let brought = first.as_ref().map_or(0, |first| brought(key, first));
        let owner = first.map_or(Owner::Joined(None), Owner::Unjoined);
        Self { state: Mutex::new(State { brought, owner }) }
    }

    /// Somebody has joined.
    pub(crate) fn join(&self, owner: Option<NonZeroU64>) {
        let mut state = self.state.lock();
        // The first one counts, as a rule the only one.
        if matches!(state.owner, Owner::Unjoined(_)) {
            state.owner = Owner::Joined(owner);
        }
    }
}

/// Lets only the owner's requests through to a session. Another's has no effect on it whatsoever.
pub(crate) async fn vouch<A: Application>(
    worker: &Worker<A>,
    session: &Polled,
    request: &Handshake,
) -> Result<(), Failure> {
    let application = &worker.inner.application;
    let bond = session.bond();
    let brings = brought(worker.inner.server.key(), request);
    let owner = {
        let state = bond.state.lock();
        if state.brought == brings {
            return Ok(());
        }
        state.owner.clone()
    };
    let denied = |denial| {
        application.refused(request, denial);
        Failure::Denied(denial)
    };
    let owner = match owner {
        Owner::Joined(owner) => owner,
        Owner::Unjoined(first) => match application.owner(&first).await {
            Err(Denial::Forbidden(_)) => None,
            owner => owner.map_err(denied)?,
        },
    };
    if owner.is_some() && application.owner(request).await.map_err(denied)? != owner {
        return Err(denied(Denial::Forbidden("other_user")));
    }
    bond.state.lock().brought = brings;
    Ok(())
}

/// A keyed hash of what a browser sends along by itself.
fn brought(key: &RandomState, request: &Handshake) -> u64 {
    let mut hasher = key.build_hasher();
    for name in [COOKIE, AUTHORIZATION] {
        for value in request.headers.get_all(name.clone()) {
            // With its length, so that no value runs into the next.
            value.as_bytes().hash(&mut hasher);
        }
        name.as_str().hash(&mut hasher);
    }
    hasher.finish()
}
