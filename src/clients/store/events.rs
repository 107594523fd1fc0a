//! What a Redis server tells of its own accord: keyspace notifications, on a connection that does nothing
//! else. They say that a key has changed, never what it is now: whoever hears it asks. They may be lost,
//! so whoever listens also asks from time to time.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use log::{info, warn};
use parking_lot::Mutex;
use redis::aio::PubSub;
use redis::{Client, ErrorKind, Msg, RedisError};
use tokio::time::{sleep, timeout};

use super::{BACKOFF, PATIENCE, PING_EVERY, now};

/// Until a server is asked again that has refused to tell.
const REFUSED: Duration = Duration::from_secs(60);

/// Who hears what a store tells. Must not wait.
pub trait Ear: Send + Sync {
    /// That key has changed; `gone`: it is not there any more. Either may have been a moment ago.
    fn changed(&self, key: &[u8], gone: bool);

    /// From now on it hears; what was before it may have missed.
    fn listening(&self);
}

/// What is known of the events of a server.
pub(super) struct Events {
    address: String,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    state: State,
    heard: u64,
    /// Since when it is listened to.
    since: Option<Instant>,
    /// That it cannot be heard has been said: because the server refuses, because it is lost.
    refused: bool,
    lost: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// It is not listened to.
    #[default]
    Deaf,
    /// Subscribed; whether anything will come is the server's affair.
    Subscribed,
    /// Some have come.
    Hears,
    /// A session has ended without one.
    Silent,
}

impl Events {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), seen: Mutex::default() }
    }

    /// Listens for ever. `settled` is told once it is known whether it can be heard.
    pub(super) async fn follow(
        &self,
        client: &Client,
        pattern: &str,
        ear: &dyn Ear,
        settled: impl Fn(),
    ) -> RedisError {
        let mut backoff = BACKOFF.0;
        loop {
            let error = match timeout(PATIENCE, subscribe(client, pattern)).await {
                Ok(Ok(subscription)) => {
                    backoff = BACKOFF.0;
                    self.subscribed(pattern);
                    ear.listening();
                    settled();
                    self.hear(subscription, pattern, ear).await
                }
                Ok(Err(error)) => error,
                Err(_) => no_answer(),
            };
            let refused = error.code() == Some("NOPERM");
            if refused {
                self.refuse(pattern, &error);
            } else {
                self.lose(&error);
            }
            settled();
            sleep(if refused { REFUSED } else { backoff }).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Nothing can be heard.
    pub(super) fn lose(&self, error: &RedisError) {
        let mut seen = self.seen.lock();
        if seen.state != State::Deaf && !seen.lost {
            warn!(
                "session events lost store={} error={:?} \
                 effect=\"until they are back, a session's end is seen by revalidate\"",
                self.address,
                error.to_string(),
            );
            seen.lost = true;
        }
        seen.state = State::Deaf;
    }

    /// A session has ended since `since`, without an event.
    pub(super) fn not_told(&self, since: Instant) {
        let mut seen = self.seen.lock();
        let listened = seen.since.is_some_and(|begun| begun < since);
        if seen.state == State::Subscribed && seen.heard == 0 && listened {
            seen.state = State::Silent;
            warn!(
                "session events off store={} effect=\"a session's end is seen by revalidate\" \
                 advice=\"a session has ended and Redis did not tell; set its notify-keyspace-events to K$gx\"",
                self.address,
            );
        }
    }

    /// The word for it, and how many have come.
    pub(super) fn observe(&self) -> (&'static str, u64) {
        let seen = self.seen.lock();
        let word = match seen.state {
            State::Deaf | State::Silent => "off",
            State::Subscribed => "unknown",
            State::Hears => "on",
        };
        (word, seen.heard)
    }

    fn subscribed(&self, pattern: &str) {
        let mut seen = self.seen.lock();
        info!(
            "session events subscribed store={} pattern={pattern:?} \
             effect=\"if Redis sends them, a session's end is seen at once\"",
            self.address
        );
        // What it did before, it is taken to do again.
        seen.state = if seen.heard > 0 { State::Hears } else { State::Subscribed };
        seen.since = Some(now());
        (seen.refused, seen.lost) = (false, false);
    }

    fn refuse(&self, pattern: &str, error: &RedisError) {
        let mut seen = self.seen.lock();
        seen.state = State::Deaf;
        if !seen.refused {
            warn!(
                "session events refused store={} error={:?} pattern={pattern:?} \
                 effect=\"a session's end is seen by revalidate\" \
                 advice=\"let the hub's Redis user PSUBSCRIBE to that pattern; the README has the ACL line\"",
                self.address,
                error.to_string(),
            );
            seen.refused = true;
        }
    }

    /// Returns when the connection is dead, with the reason.
    async fn hear(&self, subscription: PubSub, pattern: &str, ear: &dyn Ear) -> RedisError {
        let (mut sink, mut stream) = subscription.split();
        let prefix = pattern.find(':').map_or(0, |colon| colon + 1);
        let listening = async {
            while let Some(message) = stream.next().await {
                self.count();
                if let Some(key) = message.get_channel_name().as_bytes().get(prefix..) {
                    ear.changed(key, is_gone(&message));
                }
            }
        };
        // A subscriber hears nothing for hours; whether it still could, only an answer shows.
        let living = async {
            loop {
                sleep(PING_EVERY).await;
                match timeout(PATIENCE, sink.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return error,
                    Err(_) => return no_answer(),
                }
            }
        };
        tokio::select! {
            () = listening => (ErrorKind::Io, "the connection was closed").into(),
            error = living => error,
        }
    }

    fn count(&self) {
        let mut seen = self.seen.lock();
        seen.heard += 1;
        if seen.state != State::Hears {
            seen.state = State::Hears;
            info!("session events on store={}", self.address);
        }
    }
}

/// The channels of keys like `template`, whose `{id}` stands for anything. An ACL must grant this very
/// pattern.
pub(super) fn pattern(db: i64, template: &str) -> String {
    let mut pattern = format!("__keyspace@{db}__:");
    for (n, part) in template.split("{id}").enumerate() {
        if n > 0 {
            pattern.push('*');
        }
        for letter in part.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
    }
    pattern
}

async fn subscribe(client: &Client, pattern: &str) -> Result<PubSub, RedisError> {
    let mut subscription = client.get_async_pubsub().await?;
    subscription.psubscribe(pattern).await?;
    Ok(subscription)
}

fn is_gone(message: &Msg) -> bool {
    matches!(
        message.get_payload_bytes(),
        b"del" | b"expired" | b"evicted" | b"rename_from" | b"move_from"
    )
}

fn no_answer() -> RedisError {
    (ErrorKind::Io, "no answer in time").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_says_the_keys_and_no_others() {
        let cases = [
            (0, "beaker_cache:{id}:session", "__keyspace@0__:beaker_cache:*:session"),
            (3, "sess:{id}", "__keyspace@3__:sess:*"),
            (0, "{id}", "__keyspace@0__:*"),
            (0, "a*b?c[d]e\\f^{id}", "__keyspace@0__:a\\*b\\?c\\[d\\]e\\\\f^*"),
            (0, ":1:s:{{id}}", "__keyspace@0__::1:s:{*}"),
        ];
        for (db, template, expected) in cases {
            assert_eq!(pattern(db, template), expected);
        }
    }
}
