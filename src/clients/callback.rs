//! Identity by callback: the web application is asked over HTTP whose a client's headers are. It is only
//! asked and believed; what it says is read in `answer`, and kept, shared and asked for again by
//! `sessions`, as a session's value is.
//!
//! Whether it is there at all is found out by a request that shows nobody: strangers can make an
//! application stumble over what they show, and must not make it look away for everybody.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderName, HeaderValue, USER_AGENT,
};
use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::{Client, Connector};
use identity::{Reason, User};
use log::{info, warn};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use super::sessions::{Unknown, Visitor, since_1970};
use super::store::Observed;
use crate::config::CallbackIdentity;
use crate::metrics::{Metrics, StoreMetrics};
use answer::Complaint;
pub use answer::Verdict;

mod answer;

/// Questions on their way at once; whoever comes beyond waits, within the timeout.
const IN_FLIGHT: usize = 64;

/// Bytes of what is shown, names aside: every distinct session of a connected user keeps them.
const MAX_SHOWN: usize = 8 << 10;

/// From here on it is called slow.
const SLOW: Duration = Duration::from_millis(500);

/// Between two questions whether it is there: while it is, and while it is not.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));

/// The same, however many questions fail.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two lines about answers that are none.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Cloning shares it.
#[derive(Clone)]
pub struct Callback {
    shared: Arc<Shared>,
}

struct Shared {
    /// Tells its clients from those of others, on each thread.
    number: usize,
    /// Whose users it knows: its place in the configuration, from 1 on.
    identity: usize,
    config: CallbackIdentity,
    /// The URL without its query.
    address: String,
    link: Mutex<Link>,
    /// A question had no answer.
    broken: Notify,
    in_flight: Semaphore,
    metrics: StoreMetrics,
}

struct Link {
    state: State,
    /// The last answer was none.
    complaint: Option<String>,
    complained: Option<Instant>,
}

enum State {
    Up { round_trip: Duration },
    Away { since: Option<Instant>, error: String },
}

/// What the application is shown of a client. As good as a password: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Forwarded {
    headers: Vec<(HeaderName, HeaderValue)>,
    remote: Option<IpAddr>,
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum Failure {
    /// Nothing came, or not in time.
    #[error("{0}")]
    Away(String),
    /// Something came that is no answer.
    #[error("{0}")]
    Complaint(#[from] Complaint),
}

impl Callback {
    /// One that was not asked yet.
    pub fn new(identity: usize, config: &CallbackIdentity, metrics: Option<&Metrics>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let uri = &config.url;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let address = format!("{}://{host}{}", uri.scheme_str().unwrap_or("http"), uri.path());
        let away = State::Away { since: None, error: "not asked yet".to_owned() };
        let shared = Shared {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            identity,
            config: config.clone(),
            link: Mutex::new(Link { state: away, complaint: None, complained: None }),
            broken: Notify::new(),
            in_flight: Semaphore::new(IN_FLIGHT),
            metrics: metrics.map(|metrics| metrics.store(identity, &address)).unwrap_or_default(),
            address,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What the client shows that the application may see.
    ///
    /// # Errors
    /// Nothing, or too much.
    pub fn shown(&self, visitor: &Visitor<'_>) -> Result<Forwarded, Reason> {
        let CallbackIdentity { forward, token, .. } = &self.shared.config;
        let mut headers = Vec::new();
        for name in forward {
            let values = visitor.headers.get_all(name).map(HeaderValue::as_bytes);
            if *name == COOKIE {
                // One header, as RFC 6265 wants it.
                let all = values.collect::<Vec<_>>().join(&b"; "[..]);
                headers.extend((!all.is_empty()).then(|| (name.clone(), Cow::from(all))));
            } else {
                headers.extend(values.map(|value| (name.clone(), Cow::from(value))));
            }
        }
        if let Some(token) = visitor.token(token) {
            // Nothing that could be more than one header, or more than one word of it.
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Reason::Malformed);
            }
            headers.retain(|(name, _)| *name != AUTHORIZATION);
            headers.push((AUTHORIZATION, Cow::from(format!("Bearer {token}").into_bytes())));
        }
        if headers.is_empty() {
            return Err(Reason::NoCookie);
        }
        if headers.iter().map(|(_, value)| value.len()).sum::<usize>() > MAX_SHOWN {
            return Err(Reason::TooLarge);
        }
        // Copied: a header is a part of all that was read with it, and would keep that.
        let copied = headers.into_iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(&value).map_err(|_| Reason::Malformed)?;
            Ok((name, value))
        });
        Ok(Forwarded { headers: copied.collect::<Result<_, _>>()?, remote: visitor.remote })
    }

    /// Whose that is, and how long the answer is good, if it says so.
    ///
    /// # Errors
    /// Nobody's, or nobody knows.
    pub async fn ask(&self, shown: &Forwarded) -> Result<(User, Option<Duration>), Unknown> {
        if !self.is_up() {
            // Nobody waits for it to come back.
            return Err(Unknown::Unavailable);
        }
        match self.question(shown).await {
            Ok(Verdict::User(user, fresh)) => Ok((user, fresh)),
            Ok(Verdict::Nobody(reason)) => Err(Unknown::Refused(reason)),
            Err(_) => Err(Unknown::Unavailable),
        }
    }

    /// The same, whatever is known of its state, with what went wrong.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn question(&self, shown: &Forwarded) -> Result<Verdict, Failure> {
        let asked = now();
        let CallbackIdentity { timeout: patience, .. } = self.shared.config;
        let answer = timeout(patience, async {
            // The semaphore is never closed.
            let _turn = self.shared.in_flight.acquire().await;
            self.exchange(Some(shown)).await
        });
        let answer = answer.await.unwrap_or_else(|_| Err(late()));
        match &answer {
            Ok(_) => self.note(asked.elapsed()),
            Err(Failure::Away(_) | Failure::Complaint(Complaint::Away(_))) => {
                self.shared.broken.notify_one();
            }
            Err(Failure::Complaint(complaint)) => self.complain(complaint),
        }
        answer
    }

    /// Asks once whether it is there, and sees to that from then on.
    pub async fn start(&self) {
        let first = self.probe().await;
        actix::spawn(self.clone().supervise(first));
    }

    /// The field of the client's `auth` that holds its token; empty: it shows none.
    pub fn token(&self) -> &str {
        &self.shared.config.token
    }

    /// Whether it could be asked.
    pub fn is_up(&self) -> bool {
        matches!(self.shared.link.lock().state, State::Up { .. })
    }

    /// Its state.
    pub fn observe(&self, now: Instant) -> Observed {
        let Shared { identity, address, .. } = &*self.shared;
        let (identity, address) = (*identity, address.clone());
        let link = self.shared.link.lock();
        match &link.state {
            State::Up { round_trip } => Observed {
                identity,
                address,
                state: match link.complaint {
                    Some(_) => "wrong",
                    None if *round_trip < SLOW => "up",
                    None => "slow",
                },
                round_trip_ms: Some(round_trip.as_millis()),
                away_seconds: None,
                error: link.complaint.clone(),
                events: "off",
                events_heard: 0,
            },
            State::Away { since, error } => Observed {
                identity,
                address,
                state: "away",
                round_trip_ms: None,
                away_seconds: since.map(|since| now.duration_since(since).as_secs()),
                error: Some(error.clone()),
                events: "off",
                events_heard: 0,
            },
        }
    }

    /// Knows whether it is there, for ever.
    async fn supervise(self, mut alive: Result<(), String>) {
        loop {
            match alive {
                Ok(()) => {
                    sleep(PAUSE).await;
                    tokio::select! {
                        () = self.shared.broken.notified() => {}
                        () = sleep(PROBE_EVERY.0) => {}
                    }
                }
                Err(error) => {
                    self.lose(&error);
                    sleep(PROBE_EVERY.1).await;
                }
            }
            alive = self.probe().await;
        }
    }

    /// Whether it answers one who shows nothing, with whatever.
    async fn probe(&self) -> Result<(), String> {
        let asked = now();
        let answer = timeout(self.shared.config.timeout, self.exchange(None)).await;
        match answer.unwrap_or_else(|_| Err(late())) {
            Err(Failure::Away(error)) => Err(error),
            Err(Failure::Complaint(away @ Complaint::Away(_))) => Err(away.to_string()),
            Ok(_) | Err(Failure::Complaint(_)) => {
                self.rise(asked.elapsed());
                Ok(())
            }
        }
    }

    async fn exchange(&self, shown: Option<&Forwarded>) -> Result<Verdict, Failure> {
        let mut kept = true;
        loop {
            let response = match self.request(shown).send().await {
                // It had a connection open, and closed it just then.
                Err(
                    SendRequestError::Send(_)
                    | SendRequestError::Connect(ConnectError::Disconnected),
                ) if kept => {
                    kept = false;
                    continue;
                }
                other => other,
            };
            let mut response = response.map_err(|error| Failure::Away(error.to_string()))?;
            if let Some(verdict) = answer::judge(response.status().as_u16())? {
                return Ok(verdict);
            }
            let caching = response.headers().get_all(CACHE_CONTROL);
            let caching = answer::caching(caching.filter_map(|value| value.to_str().ok()));
            let body = response.body().limit(self.shared.config.max_bytes).await;
            let body = body.map_err(|error| match error {
                PayloadError::Overflow => {
                    Complaint::Garbled("larger than max_bytes".to_owned()).into()
                }
                error => Failure::Away(error.to_string()),
            })?;
            return Ok(answer::read(&body, caching, since_1970())?);
        }
    }

    fn request(&self, shown: Option<&Forwarded>) -> awc::ClientRequest {
        let CallbackIdentity { url, .. } = &self.shared.config;
        let mut request = self.client().get(url.clone());
        let headers = request.headers_mut();
        if let Some(Forwarded { headers: said, remote }) = shown {
            for (name, value) in said {
                headers.append(name.clone(), value.clone());
            }
            let remote = remote.and_then(|ip| HeaderValue::from_str(&ip.to_string()).ok());
            if let Some(remote) = remote {
                headers.insert(X_FORWARDED_FOR, remote);
            }
        }
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request
    }

    /// This thread's: its connections live on its reactor.
    fn client(&self) -> Client {
        thread_local! {
            static CLIENTS: RefCell<HashMap<usize, Client>> = RefCell::default();
        }
        let Shared { number, config, .. } = &*self.shared;
        let make = || {
            let connector = Connector::new()
                .timeout(config.timeout)
                .handshake_timeout(config.timeout)
                .limit(IN_FLIGHT + 1);
            let connector = match &config.tls {
                Some(tls) => connector.rustls_0_23(tls.clone()),
                None => connector,
            };
            Client::builder()
                .connector(connector)
                // A redirect could take cookies anywhere.
                .disable_redirects()
                .no_default_headers()
                .timeout(config.timeout)
                .finish()
        };
        CLIENTS.with_borrow_mut(|clients| clients.entry(*number).or_insert_with(make).clone())
    }

    /// A question was answered.
    fn note(&self, took: Duration) {
        let mut link = self.shared.link.lock();
        link.complaint = None;
        if let State::Up { round_trip } = &mut link.state {
            *round_trip = took;
            self.shared.metrics.round_trip.set(took.as_secs_f64());
        }
    }

    /// It is there.
    fn rise(&self, took: Duration) {
        let mut link = self.shared.link.lock();
        if matches!(link.state, State::Away { .. }) {
            info!("callback up callback={} round_trip={took:.1?}", self.shared.address);
        }
        link.state = State::Up { round_trip: took };
        self.shared.metrics.up.set(1);
        self.shared.metrics.round_trip.set(took.as_secs_f64());
    }

    fn lose(&self, error: &str) {
        let mut link = self.shared.link.lock();
        let since = match &link.state {
            State::Away { since: Some(since), .. } => *since,
            _ => {
                warn!(
                    "callback away callback={} error={error:?} \
                     effect=\"nobody new of identity {} gets in; connected users stay for their grace\" \
                     advice=\"is the web application up, and identity.url right?\"",
                    self.shared.address, self.shared.identity,
                );
                now()
            }
        };
        link.state = State::Away { since: Some(since), error: error.to_owned() };
        self.shared.metrics.up.set(0);
    }

    fn complain(&self, complaint: &Complaint) {
        let mut link = self.shared.link.lock();
        link.complaint = Some(complaint.to_string());
        let now = now();
        if link.complained.is_some_and(|told| now.duration_since(told) < COMPLAIN_EVERY) {
            return;
        }
        link.complained = Some(now);
        warn!(
            "callback answers wrongly callback={} error={:?} \
             effect=\"who is asked about is not let in, and stays for the grace if connected\" \
             advice={:?}",
            self.shared.address,
            complaint.to_string(),
            complaint.advice(),
        );
    }
}

impl Forwarded {
    /// What tells it from others.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = self.remote.map(|ip| ip.to_string()).unwrap_or_default().into_bytes();
        for (name, value) in &self.headers {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                // Neither holds a line feed.
                all.push(b'\n');
                all.extend_from_slice(part);
            }
        }
        all
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const AGENT: &str = concat!("pregon/", env!("CARGO_PKG_VERSION"));

fn late() -> Failure {
    Failure::Away("no answer in time".to_owned())
}

impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forwarded(…)")
    }
}

#[expect(clippy::disallowed_methods, reason = "when the application was asked, or lost")]
fn now() -> Instant {
    Instant::now()
}
