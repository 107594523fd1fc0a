//! `make bench`: the hub beside the Node server that one would otherwise write, measured in the same run.
//!
//! A load generator and two children, nothing that the hub is built from: Socket.IO is spoken from scratch here, so
//! that a mistake in the hub's own protocol code cannot hide. README.md says what each figure means. Exit codes:
//! 0 fine, 1 a delivery was lost, doubled, out of order or wrong, 2 it could not be measured. Never a time threshold.

#![expect(
    clippy::disallowed_methods,
    reason = "here time enters: measuring it is the whole purpose"
)]

mod check;
mod client;
mod frame;
mod load;
mod payload;
mod proc;
mod publisher;
mod report;
mod scenario;
mod server;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use crate::payload::Shape;
use crate::report::Report;
use crate::scenario::{Scenario, Sizes};
use crate::server::Kind;

/// File descriptors beside the connections: listeners, pipes, epoll, libzmq.
const OTHER_FILES: u64 = 200;
/// The hub's `max_message`, less an envelope.
const LARGEST_PAYLOAD: usize = 60_000;

#[derive(Parser)]
#[command(about = "Measures the hub beside a Node server that does the same")]
struct Arguments {
    /// The hub's binary
    #[arg(long, default_value_os_t = in_repository("target/release/pregon"))]
    hub: PathBuf,
    /// The hub's configuration, to which a notifier is added
    #[arg(long, default_value_os_t = in_repository("config.toml"))]
    config: PathBuf,
    /// Further settings for the hub
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Leave the hub out
    #[arg(long)]
    skip_hub: bool,
    /// Leave Node out
    #[arg(long, conflicts_with = "skip_hub")]
    skip_node: bool,
    /// The node binary
    #[arg(long, default_value = "node")]
    node: PathBuf,
    /// The Node server
    #[arg(long, default_value_os_t = in_repository("bench/peer/server.mjs"))]
    peer: PathBuf,
    /// Turn on the peer's connection state recovery
    #[arg(long)]
    peer_recovery: bool,
    /// Only these scenarios
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Do everything so many times and show medians
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Small sizes: whether it works, not how fast. Overrides all sizes but --payload
    #[arg(long)]
    quick: bool,
    /// Where the JSON and the configuration used are written
    #[arg(long, default_value_os_t = in_repository("bench/results"))]
    results: PathBuf,
    #[command(flatten)]
    sizes: Sizes,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            note(&format!("bench: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Whether every delivery was right.
fn run(arguments: Arguments) -> Result<bool> {
    let kinds = kinds(&arguments);
    for kind in &kinds {
        kind.check()?;
    }
    let sizes = sizes(&arguments)?;
    server::end_children_on_signals()?;

    let mut report = Report::begin(config_line(&arguments));
    let measured = measure(&arguments, &kinds, &sizes, &mut report);
    // What was measured before it failed is shown all the same.
    if !report.is_empty() {
        let names: Vec<&str> = kinds.iter().map(Kind::name).collect();
        io::stdout().lock().write_all(report.table(&names, &sizes).as_bytes())?;
        let path = report.save(&arguments.results, &sizes)?;
        note(&format!("written to {}", path.display()));
    }
    measured?;
    Ok(report.is_clean())
}

/// Servers take turns, and the turns' order changes from scenario to scenario: what else the machine does, and how
/// warm it is, then favours neither.
fn measure(
    arguments: &Arguments,
    kinds: &[Kind],
    sizes: &Sizes,
    report: &mut Report,
) -> Result<()> {
    let mut turn = 0;
    for round in 1..=arguments.rounds {
        for scenario in Scenario::ALL {
            if !arguments.only.is_empty() && !arguments.only.contains(&scenario) {
                continue;
            }
            let mut order: Vec<&Kind> = kinds.iter().collect();
            if turn % 2 == 1 {
                order.reverse();
            }
            turn += 1;
            for kind in order {
                note(&format!(
                    "round {round}/{}: {}: {}",
                    arguments.rounds,
                    kind.name(),
                    scenario.title(sizes)
                ));
                report.add(scenario, kind.name(), scenario.run(kind, sizes)?);
            }
        }
    }
    Ok(())
}

fn kinds(arguments: &Arguments) -> Vec<Kind> {
    let hub = Kind::Hub {
        binary: arguments.hub.clone(),
        config: arguments.config.clone(),
        written: arguments.results.join("hub.toml"),
        set: arguments.set.clone(),
    };
    let node = Kind::Node {
        binary: arguments.node.clone(),
        script: arguments.peer.clone(),
        recovery: arguments.peer_recovery,
    };
    let wanted = [(hub, !arguments.skip_hub), (node, !arguments.skip_node)];
    wanted.into_iter().filter_map(|(kind, wanted)| wanted.then_some(kind)).collect()
}

/// The sizes asked for, as far as the file limit allows.
fn sizes(arguments: &Arguments) -> Result<Sizes> {
    let Sizes { payload, .. } = arguments.sizes;
    if !(Shape::MIN..=LARGEST_PAYLOAD).contains(&payload) {
        bail!("--payload has to be from {} to {LARGEST_PAYLOAD}", Shape::MIN);
    }
    let mut sizes = if arguments.quick { Sizes::quick(payload) } else { arguments.sizes.clone() };
    // Children inherit it: they need as many.
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let most = usize::try_from(limit.saturating_sub(OTHER_FILES))?.max(1);
    for (name, count) in
        [("memory", &mut sizes.memory_connections), ("other", &mut sizes.connections)]
    {
        if *count > most {
            note(&format!(
                "{name} scenarios: {most} connections, not {count}: the limit is {limit} files"
            ));
            *count = most;
        }
        if *count == 0 {
            bail!("at least one connection");
        }
    }
    Ok(sizes)
}

fn config_line(arguments: &Arguments) -> String {
    let config = if arguments.config.is_file() {
        arguments.config.display().to_string()
    } else {
        format!("(no {}) identity dev", arguments.config.display())
    };
    format!("{config} + [[notifier]] name = \"bench\", type = \"pull\", bind = a free port")
}

fn in_repository(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    root.join(path)
}

/// Progress goes to standard error, so that standard output is the table alone.
fn note(text: &str) {
    // Nobody to tell if that fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
