//! The notifier directory: a program that knows which notifiers there are. This actor asks it, and
//! starts, restarts and stops notifiers until they are those that it lists. It touches no message.
//!
//! ```text
//! directory ◀─REQ─ thread ──Heard──▶ Directory ──start, stop──▶ Fleet     one question at a time: the
//!                    ▲──── how long to wait ─┘                             thread waits for the actor
//! ```
//!
//! A directory that is silent, or makes no sense, changes nothing: the last list is kept.

mod answer;
mod asking;

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, MessageResult};
use log::{error, info, warn};
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;

use crate::config::NotifierConfig;
use crate::notifier::Fleet;
use answer::Answer;
use asking::Heard;

/// Between two questions to a silent directory, at most.
const RETRY: Duration = Duration::from_secs(5);

/// Between two questions, at least, whatever `ttl` an answer has.
const SHORTEST: Duration = Duration::from_secs(1);

/// Whom to ask, and for what.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Its endpoint.
    pub address: String,
    /// Between two questions.
    pub refresh: Duration,
    /// The largest message of a notifier.
    pub max_message: usize,
}

/// The actor.
pub struct Directory {
    terms: Terms,
    notifiers: Fleet,
    up: Gauge,
    state: State,
    answered: Option<Instant>,
    error: Option<String>,
    /// What was started as listed, by name.
    running: BTreeMap<String, NotifierConfig>,
    /// What was not, and why.
    refused: BTreeMap<String, String>,
    /// Tells the thread to ask again, and when; dropped, the thread ends.
    thread: Option<SyncSender<Duration>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has been heard, nor has it been silent for long.
    Unknown,
    Up,
    Silent,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Silent => "silent",
        }
    }
}

impl Directory {
    /// It asks once it runs.
    pub fn new(terms: Terms, notifiers: Fleet, up: Gauge) -> Self {
        Self {
            terms,
            notifiers,
            up,
            state: State::Unknown,
            answered: None,
            error: None,
            running: BTreeMap::new(),
            refused: BTreeMap::new(),
            thread: None,
        }
    }

    /// Takes in what was heard, and says how long to wait.
    fn hear(&mut self, heard: Heard) -> Duration {
        match heard.and_then(|bytes| answer::read(&bytes, self.terms.max_message)) {
            Ok(answer) => {
                let ttl = answer.ttl.map_or(self.terms.refresh, |ttl| ttl.max(SHORTEST));
                self.note_answer();
                self.apply(answer);
                ttl.min(self.terms.refresh)
            }
            Err(error) => {
                self.note_failure(error);
                self.terms.refresh.min(RETRY)
            }
        }
    }

    fn note_answer(&mut self) {
        if self.state != State::Up {
            info!("directory answers address={}", self.terms.address);
        }
        self.state = State::Up;
        self.answered = Some(now());
        self.error = None;
        self.up.set(1);
    }

    fn note_failure(&mut self, error: String) {
        if self.state != State::Silent {
            warn!(
                "directory silent address={} error={error:?} next=\"the last list is kept, and it is \
                 asked again\"",
                self.terms.address
            );
        }
        self.state = State::Silent;
        self.error = Some(error);
        self.up.set(0);
    }

    /// Brings the notifiers in step with the list.
    fn apply(&mut self, answer: Answer) {
        let mut wanted = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for entry in answer.entries {
            match entry.wanted {
                Ok(config) => {
                    wanted.insert(entry.name, config);
                }
                Err(reason) => {
                    refused.insert(entry.name, reason);
                }
            }
        }
        // First those that end, since what comes may have their names.
        let notifiers = &self.notifiers;
        self.running.retain(|name, config| {
            let stays = wanted.get(name) == Some(config);
            if !stays {
                notifiers.stop(name);
            }
            stays
        });
        for (name, config) in wanted {
            if self.running.contains_key(&name) {
                continue;
            }
            match notifiers.start(config.clone()) {
                Ok(_) => {
                    self.running.insert(name, config);
                }
                Err(error) => {
                    refused.insert(name, error.to_string());
                }
            }
        }
        for (name, reason) in &refused {
            if self.refused.get(name) != Some(reason) {
                warn!("listed notifier refused notifier={name:?} advice={reason:?}");
            }
        }
        self.refused = refused;
    }
}

impl Actor for Directory {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let directory = ctx.address();
        match asking::start(self.terms.address.clone(), move |heard| tell(&directory, heard)) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => {
                error!("directory not asked error={error} advice=\"restart the hub\"");
                self.note_failure(format!("no thread: {error}"));
            }
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Tell(Heard);

#[expect(
    clippy::disallowed_methods,
    reason = "one at a time: the thread waits until it is handled"
)]
fn tell(directory: &Addr<Directory>, heard: Heard) {
    directory.do_send(Tell(heard));
}

impl Handler<Tell> for Directory {
    type Result = ();

    fn handle(&mut self, Tell(heard): Tell, _: &mut Self::Context) {
        let pause = self.hear(heard);
        // There is room for it: the thread has taken the one before.
        if let Some(thread) = &self.thread
            && thread.try_send(pause).is_err()
        {
            error!("directory not asked any more advice=\"a defect, please report it\"");
        }
    }
}

/// Asks no more, and leaves the notifiers as they are.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for Directory {
    type Result = ();

    fn handle(&mut self, Stop: Stop, ctx: &mut Self::Context) {
        self.thread = None;
        ctx.stop();
    }
}

/// Asks for the directory's state.
#[derive(Message)]
#[rtype(result = "Observed")]
pub struct Observe;

/// The state of the directory.
#[derive(Clone, Debug, Serialize)]
pub struct Observed {
    /// Its endpoint.
    pub address: String,
    /// `unknown` (asked, nothing heard), `up`, or `silent` (no answer, or none that makes sense).
    pub state: &'static str,
    /// Seconds since the last answer that made sense; nothing if there was none.
    pub last_answer_seconds: Option<u64>,
    /// Why it is silent.
    pub error: Option<String>,
    /// Notifiers that run because it lists them.
    pub listed: usize,
    /// Those that it lists and the hub does not serve.
    pub refused: Vec<RefusedEntry>,
}

/// A listed notifier that is not served.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedEntry {
    /// Its name, or its place in the list.
    pub name: String,
    /// Why, and what to do.
    pub reason: String,
}

impl Handler<Observe> for Directory {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, Observe: Observe, _: &mut Self::Context) -> Self::Result {
        let refused = self.refused.iter();
        MessageResult(Observed {
            address: self.terms.address.clone(),
            state: self.state.as_str(),
            last_answer_seconds: self.answered.map(|at| now().duration_since(at).as_secs()),
            error: self.error.clone(),
            listed: self.running.len(),
            refused: refused
                .map(|(name, reason)| RefusedEntry { name: name.clone(), reason: reason.clone() })
                .collect(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "time enters the directory here")]
fn now() -> Instant {
    Instant::now()
}
