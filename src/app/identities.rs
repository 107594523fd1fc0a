//! The configured identities, ready to ask: each with a store of its own, kept up from the start on. So
//! what befalls one, such as a permission that is missing, is nothing to the others.

use futures_util::future::join_all;
use redis::RedisError;

use crate::clients::Identity;
use crate::clients::sessions::Sessions;
use crate::clients::store::Store;
use crate::config::{self, Config};
use crate::metrics::Metrics;

/// In the configuration's order. Returns when each store is up, or found to be away: then newcomers are
/// told so.
///
/// # Errors
/// A store's URL cannot be read, though the configuration's check passed it.
pub(super) async fn open(config: &Config, metrics: &Metrics) -> Result<Vec<Identity>, RedisError> {
    let mut all = Vec::with_capacity(config.identities.len());
    for (place, identity) in config.identities.iter().enumerate() {
        all.push(match identity {
            config::Identity::Dev => Identity::Dev,
            config::Identity::Session(session) => {
                let store = match session.recipe.probe_key() {
                    None => None,
                    Some(probe) => {
                        let url = session.store_url(&config.redis);
                        Some(Store::new(place + 1, url, probe, Some(metrics))?)
                    }
                };
                Identity::Session(Sessions::new(place, (**session).clone(), store, metrics))
            }
        });
    }
    join_all(all.iter().filter_map(Identity::store).map(Store::start)).await;
    Ok(all)
}
