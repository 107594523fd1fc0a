//! The log of connections that a limit has turned away: at most one line a second and limit, however
//! many strangers there are. It counts nothing for anyone else; that is for the metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use parking_lot::Mutex;
use socketio::Limit;

/// Cloning shares it: a flood reaches all workers, and is told once.
#[derive(Clone, Debug, Default)]
pub struct Limited {
    bursts: Arc<[Mutex<Burst>; Limit::ALL.len()]>,
}

#[derive(Debug, Default)]
struct Burst {
    /// Not logged yet.
    count: u64,
    /// Where the last of them came from.
    remote: Option<IpAddr>,
    /// Whether somebody will look again within a second.
    watched: bool,
}

impl Limited {
    /// A handshake was turned away, or a connection before it.
    pub fn note(&self, limit: Limit, remote: Option<IpAddr>) {
        for (_, burst) in self.of(limit) {
            let mut burst = burst.lock();
            burst.count += 1;
            burst.remote = remote;
            if !burst.watched {
                burst.watched = true;
                burst.log(limit);
                actix::spawn(self.clone().follow(limit));
            }
        }
    }

    /// Tells every second what has come meanwhile, until a second is quiet.
    async fn follow(self, limit: Limit) {
        loop {
            tokio::time::sleep(EVERY).await;
            for (_, burst) in self.of(limit) {
                let mut burst = burst.lock();
                if burst.count == 0 {
                    burst.watched = false;
                    return;
                }
                burst.log(limit);
            }
        }
    }

    fn of(&self, limit: Limit) -> impl Iterator<Item = (&Limit, &Mutex<Burst>)> {
        Limit::ALL.iter().zip(&*self.bursts).filter(move |(one, _)| **one == limit)
    }
}

impl Burst {
    fn log(&mut self, limit: Limit) {
        let count = std::mem::take(&mut self.count);
        let remote = self.remote.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
        warn!(
            "strangers refused reason={} limit={} count={count} last_remote={remote} advice={:?}",
            limit.reason(),
            limit.as_str(),
            advice(limit),
        );
    }
}

const EVERY: Duration = Duration::from_secs(1);

fn advice(limit: Limit) -> &'static str {
    match limit {
        Limit::Connections => "raise server.max_connections, or LimitNOFILE if that is 0",
        Limit::ConnectionsPerAddress => {
            "if that is your proxy, name it in server.trusted_proxies and let it set X-Forwarded-For; \
             or raise server.connections_per_address"
        }
        Limit::HandshakesPerAddress => {
            "if that is your proxy, name it in server.trusted_proxies and let it set X-Forwarded-For; \
             or raise server.handshakes_per_address"
        }
        Limit::Unjoined => {
            "somebody connects and never says who they are; or raise server.max_unjoined"
        }
        Limit::UnfinishedPerAddress => {
            "somebody connects and asks for nothing; or raise server.unfinished_per_address"
        }
        Limit::Addresses => "a flood from many addresses: limit it in front of the hub",
    }
}
