//! The end of sessions: asks again, at intervals, whether each session of a connected user still is
//! what it was, and ends its connections if not. One question for each session, however many sockets.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult,
    SpawnHandle, WrapFuture,
};
use identity::{Reason, User};
use serde::Serialize;
use slab::Slab;
use socketio::{Close, Handle};

use super::cache::Fingerprint;
use super::changes::{Change, Heard};
use super::sessions::{Found, Sessions, Shown, Unknown, since_1970};
use crate::metrics::Metrics;
use crate::registry::Seat;
use lanes::Lanes;

mod lanes;
mod told;

/// Between two looks at what is due, at least: so that many sessions share a look.
const TICK: Duration = Duration::from_millis(10);

/// Between two looks at a session that keeps changing: each page view does that.
const PACE: Duration = Duration::from_millis(250);

/// Over how long it is spread when all sessions of a store are looked at.
const SPREAD: Duration = Duration::from_secs(2);

/// How late an event may be and still count as one.
const LATE: Duration = Duration::from_secs(2);

/// Until a store that was away is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// The actor. There is one.
pub struct Watch {
    sessions: HashMap<Fingerprint, Watched>,
    /// When each is due.
    lanes: Lanes,
    /// When the next look is, if any is to come.
    alarm: Option<(Instant, SpawnHandle)>,
    next_socket: u64,
    ended: u64,
    jitter: RandomState,
    metrics: Metrics,
    /// Not logged yet, by reason: sessions and connections. One line a second must do, whoever
    /// flushes a database.
    untold: BTreeMap<&'static str, (usize, usize)>,
    log_again: bool,
    address: OnceLock<Arc<Addr<Self>>>,
}

struct Watched {
    sessions: Sessions,
    /// The one shown last.
    credential: Shown,
    sockets: Slab<Socket>,
    /// When the store was asked that last said that somebody is here.
    verified: Instant,
    /// When it is over, as far as that answer knew.
    over: Option<Instant>,
    /// When the store was first asked in vain since then.
    unverified: Option<Instant>,
    due: Option<Instant>,
    /// When it was last looked at.
    looked: Option<Instant>,
    /// When it was last heard to change.
    changed: Option<Instant>,
}

struct Socket {
    /// Tells it from one that had its place before.
    number: u64,
    handle: Handle,
    user: String,
    /// Where it is in the registry, and a hash of the groups that it has there from the session.
    seat: Seat,
    groups: u64,
}

impl Watched {
    fn handles(&self) -> Vec<Handle> {
        self.sockets.iter().map(|(_, socket)| socket.handle.clone()).collect()
    }
}

/// A socket of that session came up. The answer is its place: dropped, it is forgotten.
#[derive(Message)]
#[rtype(result = "Place")]
pub struct Follow {
    /// The session.
    pub found: Found,
    /// The socket.
    pub handle: Handle,
    /// Its place in the registry.
    pub seat: Seat,
}

/// A socket's place in the watch.
#[derive(Debug)]
pub struct Place {
    session: Fingerprint,
    socket: usize,
    number: u64,
    watch: Arc<Addr<Watch>>,
}

/// The store has said that a session is over: if it is followed, it is looked at again at once.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Doubt(pub Fingerprint);

/// Other secrets count for an identity: all of its sessions are looked at again, within `within`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DoubtAll {
    /// The identity's place in the configuration.
    pub place: usize,
    /// How long that may take.
    pub within: Duration,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Forget {
    session: Fingerprint,
    socket: usize,
    number: u64,
}

impl Drop for Place {
    #[expect(clippy::disallowed_methods, reason = "one message per connection")]
    fn drop(&mut self) {
        let Self { session, socket, number, .. } = *self;
        self.watch.do_send(Forget { session, socket, number });
    }
}

/// Asks for numbers.
#[derive(Message)]
#[rtype(result = "Observed")]
pub struct Observe;

/// The numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Observed {
    /// Distinct sessions of connected users.
    pub watched: usize,
    /// Sessions seen to end since the start, while somebody was connected.
    pub ended: u64,
}

impl Watch {
    /// Nobody is watched yet.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            sessions: HashMap::new(),
            lanes: Lanes::default(),
            alarm: None,
            next_socket: 0,
            ended: 0,
            jitter: RandomState::new(),
            metrics,
            untold: BTreeMap::new(),
            log_again: true,
            address: OnceLock::new(),
        }
    }

    /// Sees to it that somebody looks when the next session is due.
    fn wake(&mut self, ctx: &mut Context<Self>) {
        let Some(first) = self.lanes.first() else { return };
        let at = first.max(now() + TICK);
        if self.alarm.as_ref().is_some_and(|(alarm, _)| *alarm <= at) {
            return;
        }
        let alarm = ctx.run_later(at.duration_since(now()), |watch, ctx| {
            watch.alarm = None;
            watch.look(ctx);
        });
        if let Some((_, later)) = self.alarm.replace((at, alarm)) {
            ctx.cancel_future(later);
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let now = now();
        while let Some((place, session)) = self.lanes.take(now) {
            let Some(watched) = self.sessions.get_mut(&session) else {
                self.lanes.landed(place);
                continue;
            };
            watched.due = None;
            watched.looked = Some(now);
            let (sessions, credential) = (watched.sessions.clone(), watched.credential.clone());
            let question = async move { sessions.ask(&credential).await };
            ctx.spawn(question.into_actor(self).map(move |answer, watch, ctx| {
                watch.lanes.landed(place);
                watch.judge(session, now, answer, ctx);
                watch.log(ctx);
                watch.look(ctx);
            }));
        }
        self.wake(ctx);
    }

    /// `asked` is when the question was sent.
    fn judge(
        &mut self,
        session: Fingerprint,
        asked: Instant,
        answer: Result<User, Unknown>,
        ctx: &mut Context<Self>,
    ) {
        let Some(watched) = self.sessions.get_mut(&session) else { return };
        let (verified, grace) = (watched.verified, watched.sessions.terms().grace);
        match answer {
            // Somebody who joined meanwhile was found by a later question: this answer is of before.
            _ if asked < verified => {
                if watched.due.is_none() {
                    self.schedule(session, verified);
                }
            }
            Ok(user) => {
                watched.verified = asked;
                watched.over = over(&user);
                watched.unverified = None;
                let mut others = Vec::new();
                let groups = self.jitter.hash_one(&user.groups);
                let patterns = &watched.sessions.terms().group_patterns;
                watched.sockets.retain(|_, socket| {
                    let stays = socket.user == user.id;
                    if stays && socket.groups != groups {
                        socket.groups = groups;
                        socket.seat.regroup(super::group_names(&user), patterns.clone());
                    }
                    if !stays {
                        others.push(socket.handle.clone());
                    }
                    stays
                });
                if !others.is_empty() {
                    watched.sessions.end(session, asked);
                    self.end(&others, "session_end");
                }
                self.schedule(session, asked);
            }
            Err(Unknown::Refused(reason) | Unknown::Over(reason, _)) => {
                if let Some(watched) = self.forget(session) {
                    if reason == Reason::NoSession && watched.changed.is_none() {
                        not_told(&watched, ctx);
                    }
                    watched.sessions.end(session, asked);
                    self.end(&watched.handles(), reason.as_str());
                }
            }
            Err(Unknown::Unavailable) => {
                let since = *watched.unverified.get_or_insert(asked);
                if asked.duration_since(since) < grace {
                    self.schedule_at(session, asked + RETRY);
                } else if let Some(watched) = self.forget(session) {
                    self.note("store_unavailable", watched.sockets.len());
                    for handle in watched.handles() {
                        handle.close(Close::StoreUnavailable);
                    }
                }
            }
        }
    }

    /// The next question, `revalidate` after the last good answer; nobody left is nobody to ask about.
    fn schedule(&mut self, session: Fingerprint, verified: Instant) {
        let Some(watched) = self.sessions.get(&session) else { return };
        if watched.sockets.is_empty() {
            self.forget(session);
            return;
        }
        let interval = watched.sessions.terms().revalidate;
        // Up to a tenth early, so that sessions that began together do not stay together; never late.
        let percent = self.jitter.hash_one((session, verified)) % 11;
        let percent = u32::try_from(percent).unwrap_or(0) + 89;
        let usual = verified + interval * percent / 100;
        // At its end it is over, unless it was prolonged meanwhile.
        let at = watched.over.map_or(usual, |over| usual.min(over.max(verified + RETRY)));
        // What changed after the question may have changed after the answer.
        let again = watched.changed.is_some_and(|changed| changed >= verified);
        let soon = watched.looked.map_or(verified, |looked| looked + PACE);
        self.schedule_at(session, if again { at.min(soon) } else { at });
    }

    /// It has changed, and is looked at at once if it is gone, or was not looked at just now.
    fn changed(&mut self, session: Fingerprint, gone: bool, now: Instant) {
        let Some(watched) = self.sessions.get_mut(&session) else { return };
        watched.changed = Some(now);
        let soon = watched.looked.map_or(now, |looked| now.max(looked + PACE));
        self.schedule_at(session, if gone { now } else { soon });
    }

    /// Any of an identity's sessions may have changed: all are looked at, some at a time.
    fn all_changed(&mut self, place: usize, within: Duration, now: Instant) {
        let of_it = |(_, watched): &(_, &Watched)| watched.sessions.place() == place;
        let all: Vec<_> = self.sessions.iter().filter(of_it).map(|(session, _)| *session).collect();
        // A few need no spreading.
        let spread = within.min(Duration::from_millis(all.len() as u64 / 2));
        for (n, session) in (0_u32..).zip(&all) {
            let share = f64::from(n) / all.len() as f64;
            let Some(watched) = self.sessions.get_mut(session) else { continue };
            watched.changed = Some(now);
            let at = now + spread.mul_f64(share);
            let soon = watched.looked.map_or(at, |looked| at.max(looked + PACE));
            self.schedule_at(*session, soon);
        }
    }

    /// Not later than it is due already: who doubted it while it was asked about has a reason.
    fn schedule_at(&mut self, session: Fingerprint, at: Instant) {
        let Some(watched) = self.sessions.get_mut(&session) else { return };
        let at = watched.due.map_or(at, |due| due.min(at));
        let place = watched.sessions.place();
        if let Some(before) = watched.due.replace(at) {
            self.lanes.remove(place, before, session);
        }
        self.lanes.insert(place, at, session);
    }

    fn forget(&mut self, session: Fingerprint) -> Option<Watched> {
        let watched = self.sessions.remove(&session)?;
        if let Some(at) = watched.due {
            self.lanes.remove(watched.sessions.place(), at, session);
        }
        Some(watched)
    }

    fn end(&mut self, sockets: &[Handle], reason: &'static str) {
        self.ended += 1;
        self.metrics.sessions_ended(reason).inc();
        self.note(reason, sockets.len());
        for handle in sockets {
            super::say_over(handle, reason, Close::SessionEnd);
        }
    }
}

impl Actor for Watch {
    type Context = Context<Self>;
}

impl Handler<Follow> for Watch {
    type Result = MessageResult<Follow>;

    fn handle(
        &mut self,
        Follow { found, handle, seat }: Follow,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let Found { sessions, credential, fingerprint: session, user, asked, .. } = found;
        let number = self.next_socket;
        self.next_socket += 1;
        let ended = sessions.ended_since(&session, asked);
        let watched = self.sessions.entry(session).or_insert_with(|| Watched {
            sessions,
            credential: credential.clone(),
            sockets: Slab::with_capacity(1),
            verified: asked,
            over: None,
            unverified: None,
            due: None,
            looked: None,
            changed: None,
        });
        watched.credential = credential;
        watched.over = over(&user);
        watched.verified = watched.verified.max(asked);
        let verified = watched.verified;
        let first = watched.sockets.is_empty();
        // One stands for all: if they differ among each other, a question is under way.
        let differs = watched.sockets.iter().next().is_some_and(|(_, one)| one.user != user.id);
        let groups = self.jitter.hash_one(&user.groups);
        let socket = Socket { number, handle, user: user.id, seat, groups };
        let socket = watched.sockets.insert(socket);
        if differs || ended {
            // The session has changed hands, or was seen to end since: who is who is found out at once.
            self.schedule_at(session, now());
        } else if first {
            self.schedule(session, verified);
        }
        self.wake(ctx);
        let watch = self.address.get_or_init(|| Arc::new(ctx.address())).clone();
        MessageResult(Place { session, socket, number, watch })
    }
}

impl Handler<Forget> for Watch {
    type Result = ();

    fn handle(&mut self, Forget { session, socket, number }: Forget, _: &mut Self::Context) {
        let Some(watched) = self.sessions.get_mut(&session) else { return };
        if watched.sockets.get(socket).is_some_and(|one| one.number == number) {
            watched.sockets.remove(socket);
        }
        if watched.sockets.is_empty() {
            self.forget(session);
        }
    }
}

impl Handler<Doubt> for Watch {
    type Result = ();

    fn handle(&mut self, Doubt(session): Doubt, ctx: &mut Self::Context) {
        self.changed(session, true, now());
        self.wake(ctx);
    }
}

impl Handler<Heard> for Watch {
    type Result = ();

    fn handle(&mut self, Heard(changes): Heard, ctx: &mut Self::Context) {
        let now = now();
        match changes.take() {
            Change::These(sessions) => {
                for (session, gone) in sessions {
                    self.changed(session, gone, now);
                }
            }
            Change::Any => self.all_changed(changes.sessions().place(), SPREAD, now),
        }
        self.wake(ctx);
    }
}

impl Handler<DoubtAll> for Watch {
    type Result = ();

    fn handle(&mut self, DoubtAll { place, within }: DoubtAll, ctx: &mut Self::Context) {
        self.all_changed(place, within, now());
        self.wake(ctx);
    }
}

impl Handler<Observe> for Watch {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, Observe: Observe, _: &mut Self::Context) -> Self::Result {
        MessageResult(Observed { watched: self.sessions.len(), ended: self.ended })
    }
}

fn over(user: &User) -> Option<Instant> {
    // A moment more: at that very time it is still good.
    let left = user.expires?.saturating_sub(since_1970()) + TICK;
    now().checked_add(left)
}

/// Its store should have told, unless the event is late.
fn not_told(watched: &Watched, ctx: &mut Context<Watch>) {
    let (sessions, verified) = (watched.sessions.clone(), watched.verified);
    ctx.run_later(LATE, move |_, _| sessions.not_told(verified));
}

#[expect(clippy::disallowed_methods, reason = "when a session was last seen to be what it was")]
fn now() -> Instant {
    Instant::now()
}
