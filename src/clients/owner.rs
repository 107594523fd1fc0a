//! Whom a request belongs to, by its cookies alone: a polling connection's later requests must be the
//! first one's sender's. It lets nobody in.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU64;
use std::sync::LazyLock;

use socketio::{Denial, Handshake};

use super::sessions::{Unknown, Visitor};
use super::{Identity, most_telling};

/// # Errors
/// Nobody's, or nobody can say.
pub(super) async fn of(
    identities: &[Identity],
    handshake: &Handshake,
) -> Result<Option<NonZeroU64>, Denial> {
    let cookies = handshake.cookies();
    let visitor = Visitor {
        cookies: cookies.as_deref(),
        headers: &handshake.headers,
        remote: handshake.remote,
        auth: None,
    };
    let mut nobody: Option<&'static str> = None;
    for identity in identities {
        match identity {
            // What it goes by comes with the join, not with each request.
            Identity::Dev => {}
            Identity::Session(sessions) => match sessions.identify(&visitor).await {
                Ok(found) => return Ok(Some(number(&found.user.id))),
                Err(Unknown::Refused(reason) | Unknown::Over(reason, _)) => {
                    let reason = reason.as_str();
                    nobody = Some(nobody.map_or(reason, |before| most_telling(before, reason)));
                }
                Err(Unknown::Unavailable) => return Err(Denial::Unavailable("store_unavailable")),
            },
        }
    }
    nobody.map_or(Ok(None), |reason| Err(Denial::Forbidden(reason)))
}

/// Stands for a user as long as the hub runs. Nobody outside can find two users with the same one.
pub(super) fn number(user: &str) -> NonZeroU64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    NonZeroU64::new(KEY.hash_one(user)).unwrap_or(NonZeroU64::MIN)
}
