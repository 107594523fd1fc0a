//! Whose a polling connection is: its id alone opens nothing to somebody else.
//!
//! A WebSocket is one request, but whoever polls sends many, and each must be the first one's sender's.
//! As long as a request brings what the first one brought, byte for byte, that costs a hash. If not, the
//! application says who it is: cookies are renewed under a living connection.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::num::NonZeroU64;
use std::sync::Arc;

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
    pub(crate) fn new<A: Application>(worker: &Worker<A>, first: Option<Arc<Handshake>>) -> Self {
        let brought = first.as_ref().map_or(0, |first| brought(worker, first));
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
    let brings = brought(worker, request);
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
    // To ask costs as much as to let somebody in: it is for nobody to do as often as they like.
    let _turn = match owner {
        Owner::Joined(None) => None,
        _ => Some(worker.inner.server.admit(request.remote).map_err(denied)?),
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
    let mut state = bond.state.lock();
    // Somebody has joined while this was asked; then it was not asked of them.
    if owner.is_none() && matches!(state.owner, Owner::Joined(Some(_))) {
        return Err(denied(Denial::Forbidden("other_user")));
    }
    state.brought = brings;
    Ok(())
}

/// A keyed hash of what the application knows a browser by.
fn brought<A: Application>(worker: &Worker<A>, request: &Handshake) -> u64 {
    let mut hasher = worker.inner.server.key().build_hasher();
    for name in &worker.config().identifying {
        for value in request.headers.get_all(name) {
            // With its length, so that no value runs into the next.
            value.as_bytes().hash(&mut hasher);
        }
        name.as_str().hash(&mut hasher);
    }
    hasher.finish()
}
