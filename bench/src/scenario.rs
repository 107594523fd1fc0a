//! The four things that are measured, each on a server started for it alone.
//!
//! Every stage comes after a warm-up of the same kind, a tenth as long, so that a just-in-time compiler has done its
//! work before the clock runs. Nothing here judges a figure; only [`check`](crate::check) can fail a run.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::check::Tally;
use crate::load::Load;
use crate::payload::{Clock, Shape};
use crate::proc::{self, Cpu};
use crate::publisher::{Pace, Plan, Progress, Publisher, Target};
use crate::server::{Kind, Server};

const BASELINE: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_millis(500);
/// For duplicates that come after all that was expected.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// The budgets of the design, per connection and delivery.
const BUDGET_CONNECTION_BYTES: f64 = 4_000.0;
const BUDGET_UNICAST_MICROS: f64 = 10.0;
const BUDGET_BROADCAST_MICROS: f64 = 1.5;

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum Scenario {
    Memory,
    Unicast,
    Broadcast,
    Latency,
}

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
pub(crate) struct Sizes {
    /// Connections in the memory scenario
    #[arg(long, default_value_t = 5_000)]
    pub(crate) memory_connections: usize,
    /// How long they idle before their memory is read, seconds
    #[arg(long, default_value_t = 3)]
    pub(crate) idle: u64,
    /// Connections in the other scenarios
    #[arg(long, default_value_t = 1_000)]
    pub(crate) connections: usize,
    /// Size of a notification's data, bytes
    #[arg(long, default_value_t = 200)]
    pub(crate) payload: usize,
    /// Saturated unicasts
    #[arg(long, default_value_t = 300_000)]
    pub(crate) unicasts: u64,
    /// Unicasts outstanding at most
    #[arg(long, default_value_t = 4_000)]
    pub(crate) unicast_window: u64,
    /// Deliveries of saturated broadcasts
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) broadcast_deliveries: u64,
    /// Broadcasts outstanding at most
    #[arg(long, default_value_t = 100)]
    pub(crate) broadcast_window: u64,
    /// Unicasts a second in the latency scenario
    #[arg(long, default_value_t = 2_000)]
    pub(crate) rate: u32,
    /// Length of the latency scenario, seconds
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
}

impl Sizes {
    /// Enough to see that everything works; too little to quote.
    pub(crate) fn quick(payload: usize) -> Self {
        Self {
            memory_connections: 500,
            idle: 1,
            connections: 200,
            payload,
            unicasts: 30_000,
            unicast_window: 4_000,
            broadcast_deliveries: 200_000,
            broadcast_window: 100,
            rate: 1_000,
            seconds: 2,
        }
    }
}

pub(crate) struct Outcome {
    pub(crate) metrics: Vec<Metric>,
    pub(crate) tally: Tally,
    pub(crate) command: String,
    pub(crate) version: String,
}

#[derive(Clone)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) budget: Option<f64>,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Memory, Self::Unicast, Self::Broadcast, Self::Latency];

    pub(crate) fn title(self, sizes: &Sizes) -> String {
        let Sizes { memory_connections, connections, payload, .. } = sizes;
        match self {
            Self::Memory => {
                format!("memory: {memory_connections} connections, idle {} s", sizes.idle)
            }
            Self::Unicast => {
                format!(
                    "unicast, saturated: {} to {connections} users, {payload} B",
                    sizes.unicasts
                )
            }
            Self::Broadcast => format!(
                "broadcast, saturated: {} deliveries, {connections} connections, {payload} B",
                sizes.broadcast_deliveries
            ),
            Self::Latency => format!(
                "fixed rate: {} unicasts/s for {} s, {connections} users, {payload} B",
                sizes.rate, sizes.seconds
            ),
        }
    }

    pub(crate) fn run(self, kind: &Kind, sizes: &Sizes) -> Result<Outcome> {
        let count = if self == Self::Memory { sizes.memory_connections } else { sizes.connections };
        let users: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
        let (shape, clock) = (Shape::new(sizes.payload), Clock::start());

        let server = kind.start()?;
        thread::sleep(BASELINE);
        let bare = Reading::of(&server)?;
        let mut load = Load::new(&shape, clock)?;
        load.open(server.http, &users, &|| server.ensure_alive())?;
        let connected = Reading::of(&server)?;

        let publisher = Publisher::connect(&server.notifier, &users, &shape, clock)?;
        let mut bench = Bench { server: &server, load, publisher, progress: Progress::default() };
        bench.idle(SETTLE)?;
        let metrics = match self {
            Self::Memory => bench.memory(sizes, &bare, &connected)?,
            Self::Unicast => bench.unicast(sizes)?,
            Self::Broadcast => bench.broadcast(sizes)?,
            Self::Latency => bench.latency(sizes)?,
        };
        bench.idle(AFTERWARDS)?;
        let Bench { load, publisher, .. } = bench;
        let (sent, sent_everyone) = publisher.sent();
        let tally = load.finish(sent, sent_everyone);
        Ok(Outcome {
            metrics,
            tally,
            command: server.command.clone(),
            version: server.version.clone(),
        })
    }
}

struct Bench<'a> {
    server: &'a Server,
    load: Load<'a>,
    publisher: Publisher<'a>,
    progress: Progress,
}

struct Reading {
    resident: u64,
    cpu: Cpu,
}

impl Reading {
    fn of(server: &Server) -> Result<Self> {
        Ok(Self { resident: proc::resident(server.pid)?, cpu: Cpu::of(server.pid)? })
    }
}

/// One plan carried out, and what it cost.
struct Stage {
    deliveries: f64,
    wall: Duration,
    server: Duration,
    bench: Duration,
    /// Of the receiving thread alone: near `wall`, it is the bench that limits.
    receiver: Duration,
    latest: Duration,
}

impl Bench<'_> {
    fn memory(
        &mut self,
        sizes: &Sizes,
        bare: &Reading,
        connected: &Reading,
    ) -> Result<Vec<Metric>> {
        self.idle(Duration::from_secs(sizes.idle))?;
        let settled = Reading::of(self.server)?;
        // Proof that each of them is there, and is who it should be.
        let once = |target, messages| Plan { target, pace: Pace::Window(1_000), messages };
        self.stage(&once(Target::Everyone, 1))?;
        self.stage(&once(Target::Users, sizes.memory_connections as u64))?;

        let count = sizes.memory_connections as f64;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let each = (settled.resident as f64 - bare.resident as f64) / count;
        Ok(vec![
            metric("RSS, no connection", "MiB", mib(bare.resident)),
            metric("RSS, all connected", "MiB", mib(connected.resident)),
            metric("RSS, after idling", "MiB", mib(settled.resident)),
            metric("RSS per connection", "B", each).within(BUDGET_CONNECTION_BYTES),
            metric("CPU per handshake", "µs", micros(connected.cpu.since(bare.cpu)) / count),
        ])
    }

    fn unicast(&mut self, sizes: &Sizes) -> Result<Vec<Metric>> {
        let pace = Pace::Window(sizes.unicast_window);
        let plan = Plan { target: Target::Users, pace, messages: sizes.unicasts };
        self.warm_up(&plan)?;
        Ok(saturated(&self.stage(&plan)?, BUDGET_UNICAST_MICROS))
    }

    fn broadcast(&mut self, sizes: &Sizes) -> Result<Vec<Metric>> {
        let fanout = self.publisher.fanout(Target::Everyone);
        let pace = Pace::Window(sizes.broadcast_window * fanout);
        let messages = sizes.broadcast_deliveries.div_ceil(fanout);
        let plan = Plan { target: Target::Everyone, pace, messages };
        self.warm_up(&plan)?;
        Ok(saturated(&self.stage(&plan)?, BUDGET_BROADCAST_MICROS))
    }

    fn latency(&mut self, sizes: &Sizes) -> Result<Vec<Metric>> {
        let messages = u64::from(sizes.rate) * sizes.seconds;
        let plan = Plan { target: Target::Users, pace: Pace::PerSecond(sizes.rate), messages };
        self.warm_up(&plan)?;
        self.load.keep_latencies();
        let stage = self.stage(&plan)?;
        let mut latencies = self.load.take_latencies();
        latencies.sort_unstable();
        let ms = |share| percentile(&latencies, share) as f64 / 1e6;
        Ok(vec![
            metric("latency p50", "ms", ms(0.50)),
            metric("latency p99", "ms", ms(0.99)),
            metric("latency max", "ms", ms(1.0)),
            metric("server CPU per delivery", "µs", micros(stage.server) / stage.deliveries),
            metric("bench CPU per delivery", "µs", micros(stage.bench) / stage.deliveries),
            metric("latest send", "ms", micros(stage.latest) / 1e3),
        ])
    }

    fn warm_up(&mut self, plan: &Plan) -> Result<()> {
        self.stage(&Plan { messages: plan.messages.div_ceil(10), ..*plan })?;
        self.idle(SETTLE)
    }

    fn stage(&mut self, plan: &Plan) -> Result<Stage> {
        let Self { server, load, publisher, progress } = self;
        let before = publisher.deliveries();
        let goal = before + plan.messages * publisher.fanout(plan.target);
        let own = std::process::id();
        let (cpu, own_cpu) = (Cpu::of(server.pid)?, Cpu::of(own)?);
        let (thread_cpu, begun) = (proc::own_thread_cpu(), Instant::now());

        let latest = thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                let result = publisher.publish(plan, progress);
                if result.is_err() {
                    progress.stop.store(true, Ordering::Relaxed);
                }
                result
            });
            let received = load.receive(goal, progress, &|| server.ensure_alive());
            // It has sent everything, unless deliveries are missing: then it waits for room in its window.
            if received.is_err() || load.received() < goal {
                progress.stop.store(true, Ordering::Relaxed);
            }
            let published = publishing.join().map_err(|_| anyhow!("the publisher panicked"));
            received?;
            published?
        })?;
        Ok(Stage {
            deliveries: (load.received().saturating_sub(before)).max(1) as f64,
            wall: begun.elapsed(),
            server: Cpu::of(server.pid)?.since(cpu),
            bench: Cpu::of(own)?.since(own_cpu),
            receiver: proc::own_thread_cpu().saturating_sub(thread_cpu),
            latest,
        })
    }

    fn idle(&mut self, time: Duration) -> Result<()> {
        self.load.idle(time, &|| self.server.ensure_alive())
    }
}

impl Metric {
    fn within(self, budget: f64) -> Self {
        Self { budget: Some(budget), ..self }
    }
}

fn saturated(stage: &Stage, budget: f64) -> Vec<Metric> {
    let wall = stage.wall.as_secs_f64();
    vec![
        metric("server CPU per delivery", "µs", micros(stage.server) / stage.deliveries)
            .within(budget),
        metric("deliveries per second", "/s", stage.deliveries / wall),
        metric("server's cores in use", "", stage.server.as_secs_f64() / wall),
        metric("bench CPU per delivery", "µs", micros(stage.bench) / stage.deliveries),
        metric("bench's receiver busy", "%", 100.0 * stage.receiver.as_secs_f64() / wall),
    ]
}

fn metric(name: &'static str, unit: &'static str, value: f64) -> Metric {
    Metric { name, unit, value, budget: None }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of a sorted list, the value that `share` of all do not exceed (nearest rank).
fn percentile(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| percentile(&values, share)), [100, 198, 200]);
        assert_eq!(percentile(&[7], 0.5), 7);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
