//! The notifier of the bench: a ZeroMQ PUSH that sends at a fixed rate, or as fast as deliveries come back.
//!
//! Runs in this process, on its own thread for as long as one stage lasts, so that the server's CPU is only the
//! server's, and sender and receiver share a clock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::payload::{Clock, EVERYONE, Payload, Shape};

/// How long to look away when the window is full. Far shorter than it takes a server to empty one.
const WINDOW_NAP: Duration = Duration::from_micros(100);
const SEND_TIMEOUT_MS: i32 = 10_000;

#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Each user in turn, in an order shuffled once: what waits for one connection stays bounded by the window.
    Users,
    Everyone,
}

#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// At most this many deliveries outstanding.
    Window(u64),
    PerSecond(u32),
}

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) pace: Pace,
    pub(crate) messages: u64,
}

/// What the two threads tell each other.
#[derive(Default)]
pub(crate) struct Progress {
    /// Deliveries received so far, over all stages.
    pub(crate) received: AtomicU64,
    /// Nothing more is to be sent.
    pub(crate) stop: AtomicBool,
}

pub(crate) struct Publisher<'a> {
    socket: zmq::Socket,
    clock: Clock,
    shape: &'a Shape,
    users: &'a [String],
    order: Vec<usize>,
    turn: usize,
    sent: Vec<u64>,
    sent_everyone: u64,
    deliveries: u64,
    address: String,
    body: String,
}

impl<'a> Publisher<'a> {
    pub(crate) fn connect(
        endpoint: &str,
        users: &'a [String],
        shape: &'a Shape,
        clock: Clock,
    ) -> Result<Self> {
        let socket = zmq::Context::new().socket(zmq::PUSH).context("a PUSH socket")?;
        socket.set_linger(0)?;
        socket.set_sndtimeo(SEND_TIMEOUT_MS)?;
        socket.connect(endpoint).with_context(|| format!("connect to {endpoint}"))?;
        Ok(Self {
            socket,
            clock,
            shape,
            users,
            order: shuffled(users.len()),
            turn: 0,
            sent: vec![0; users.len()],
            sent_everyone: 0,
            deliveries: 0,
            address: String::new(),
            body: String::new(),
        })
    }

    /// Sends what the plan says, or less if told to stop; returns by how much the latest send was late.
    pub(crate) fn publish(&mut self, plan: &Plan, progress: &Progress) -> Result<Duration> {
        let fanout = self.fanout(plan.target);
        let begun = Instant::now();
        let mut latest = Duration::ZERO;
        for index in 0..plan.messages {
            match plan.pace {
                Pace::Window(window) => {
                    while self.deliveries + fanout
                        > progress.received.load(Ordering::Acquire) + window.max(fanout)
                        && !progress.stop.load(Ordering::Relaxed)
                    {
                        thread::sleep(WINDOW_NAP);
                    }
                }
                Pace::PerSecond(rate) => {
                    let due = begun + Duration::from_secs_f64(index as f64 / f64::from(rate));
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    latest = latest.max(due.elapsed());
                }
            }
            if progress.stop.load(Ordering::Relaxed) {
                break;
            }
            self.send(plan.target)?;
            self.deliveries += fanout;
        }
        Ok(latest)
    }

    pub(crate) fn fanout(&self, target: Target) -> u64 {
        match target {
            Target::Users => 1,
            Target::Everyone => self.users.len() as u64,
        }
    }

    /// Deliveries that ought to have come for what was sent so far.
    pub(crate) fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// How many were sent to each user, and to everyone.
    pub(crate) fn sent(&self) -> (&[u64], u64) {
        (&self.sent, self.sent_everyone)
    }

    fn send(&mut self, target: Target) -> Result<()> {
        self.address.clear();
        let (user, number) = match target {
            Target::Everyone => {
                self.address.push_str("all/");
                (EVERYONE, &mut self.sent_everyone)
            }
            Target::Users => {
                let index = self.order.get(self.turn).copied().unwrap_or_default();
                self.turn = (self.turn + 1) % self.order.len().max(1);
                let user = self.users.get(index).context("no users")?;
                self.address.push_str("u/");
                self.address.push_str(user);
                self.address.push('/');
                (user.as_str(), self.sent.get_mut(index).context("no users")?)
            }
        };
        self.body.clear();
        self.body.push_str(r#"{"data":"#);
        let payload = Payload { user, number: *number, sent: self.clock.now() };
        self.shape.write(&mut self.body, &payload);
        self.body.push('}');
        self.socket
            .send(&self.address, zmq::SNDMORE)
            .and_then(|()| self.socket.send(&self.body, 0))
            .context("the server takes no more messages")?;
        *number += 1;
        Ok(())
    }
}

/// Fisher–Yates with a fixed seed: the same order in every run and for every server.
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..count).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let other = usize::try_from(seed % (last as u64 + 1)).unwrap_or(last);
        order.swap(last, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_names_everybody_once_and_not_in_line() {
        let order = shuffled(1_000);
        assert_ne!(order, (0..1_000).collect::<Vec<_>>());
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1_000).collect::<Vec<_>>());
    }
}
