//! Which server is the master, as the Sentinels say. They are asked at each connect, and every second
//! besides: a former master that was cut off from the others may go on answering for a long time.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::PING_EVERY;
use super::place::Door;

/// How long a Sentinel may take; the others have answered by then.
const PATIENCE: Duration = Duration::from_secs(1);

/// Host and port.
pub(super) type Address = (String, u16);

pub(super) struct Sentinels {
    sentinels: Vec<Sentinel>,
    /// How they call it.
    master: String,
    /// How to enter the master.
    door: Door,
}

struct Sentinel {
    client: Client,
    link: Mutex<Option<MultiplexedConnection>>,
}

impl Sentinels {
    pub(super) fn new(
        sentinels: &[String],
        master: &str,
        door: Door,
        ca: Option<&[u8]>,
    ) -> Result<Self, RedisError> {
        let open = |one: &String| {
            let url = if one.contains("://") { one.clone() } else { format!("redis://{one}") };
            let client = Door::new(&url, ca)?.client()?;
            Ok(Sentinel { client, link: Mutex::new(None) })
        };
        let sentinels = sentinels.iter().map(open).collect::<Result<_, RedisError>>()?;
        Ok(Self { sentinels, master: master.to_owned(), door })
    }

    /// Where the master is, and how to enter.
    pub(super) async fn client(&self) -> Result<(Address, Client), RedisError> {
        let address = self.address().await?;
        let client = self.door.client_at(&address)?;
        Ok((address, client))
    }

    /// Returns once another server is the master.
    pub(super) async fn moved_from(&self, address: &Address) -> RedisError {
        loop {
            sleep(PING_EVERY).await;
            // No Sentinel to ask is no reason to leave a master that answers.
            if self.address().await.is_ok_and(|now| now != *address) {
                return (ErrorKind::Io, "the Sentinels name another master").into();
            }
        }
    }

    /// What most of them say that can say something; of as many, the first in the settings.
    async fn address(&self) -> Result<Address, RedisError> {
        let answers = join_all(self.sentinels.iter().map(|one| one.ask(&self.master))).await;
        let mut error = None;
        let mut said: Vec<(Address, usize)> = Vec::new();
        for answer in answers {
            match answer {
                Ok(address) => match said.iter_mut().find(|(known, _)| *known == address) {
                    Some((_, votes)) => *votes += 1,
                    None => said.push((address, 1)),
                },
                Err(why) => error = Some(why),
            }
        }
        let most = said.iter().map(|(_, votes)| *votes).max();
        let first = said.into_iter().find(|(_, votes)| Some(*votes) == most);
        let nobody = || (ErrorKind::EmptySentinelList, "no Sentinel").into();
        first.map(|(address, _)| address).ok_or_else(|| error.unwrap_or_else(nobody))
    }
}

impl Sentinel {
    async fn ask(&self, master: &str) -> Result<Address, RedisError> {
        let mut link = self.link.lock().await;
        let known = link.take();
        let asked = timeout(PATIENCE, async {
            let mut connection = match known {
                Some(connection) => connection,
                None => {
                    let config = AsyncConnectionConfig::new();
                    self.client.get_multiplexed_async_connection_with_config(&config).await?
                }
            };
            let question = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).take();
            let address: Option<Address> = question.query_async(&mut connection).await?;
            Ok((address, connection))
        });
        let (address, connection) = asked.await.unwrap_or_else(|_| {
            Err(RedisError::from((ErrorKind::Io, "a Sentinel does not answer in time")))
        })?;
        *link = Some(connection);
        address.ok_or_else(|| {
            let why = "a Sentinel knows no master of that name";
            (ErrorKind::MasterNameNotFoundBySentinel, why).into()
        })
    }
}
