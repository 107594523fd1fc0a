//! The command line: what can be asked, and with which code it ends.
//!
//! 0 fine, 1 "no", 2 the environment (a port is taken, nobody answers), 64 usage or settings.

#![expect(clippy::print_stderr, reason = "this is what a command line is for")]

pub mod listen;
pub mod log;
pub mod notify;
pub mod run;
pub mod whoami;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Mistake;

/// A notification hub: programs announce over ZeroMQ, browsers hear it over Socket.IO.
#[derive(Debug, Parser)]
#[command(name = "pregon", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the hub.
    Run(RunArgs),
    /// Check the settings: every mistake at once, each with its place.
    Check(CheckArgs),
    /// Send a notification.
    Notify(NotifyArgs),
    /// Print a user's notifications as they come.
    Listen(ListenArgs),
    /// Say whom a cookie belongs to.
    Whoami(WhoamiArgs),
    /// Not available yet: make a CURVE key pair.
    #[command(hide = true)]
    Keys(Later),
    /// Not available yet: say who would get a notification, and why.
    #[command(hide = true)]
    Explain(Later),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The settings [default: ./config.toml if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, as server.listen=127.0.0.1:9000; may be given often, and wins over the file
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Serve a page to try it out, and announce something now and then
    #[arg(long)]
    pub demo: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The settings [default: ./config.toml if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, as for `run`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `notify`.
#[derive(Debug, Args)]
pub struct NotifyArgs {
    /// The address: `u/<user>/`, `g/<group>/` or `all/`
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    /// The hub's `pull` notifier, as tcp://127.0.0.1:5556
    #[arg(long, value_name = "ENDPOINT")]
    pub via: String,
    /// Push without a receipt; receipts are not available yet, so this must be said
    #[arg(long)]
    pub push: bool,
    /// The event that browsers hear [default: notification]
    #[arg(long)]
    pub event: Option<String>,
    /// How long it is worth anything, as 60s
    #[arg(long)]
    pub ttl: Option<String>,
    /// An id of yours: the same one is delivered once
    #[arg(long)]
    pub id: Option<String>,
    /// A newer one with the same key replaces the older
    #[arg(long)]
    pub key: Option<String>,
    /// JSON, or text that is sent as a JSON string; - reads it from standard input
    #[arg(value_name = "DATA")]
    pub data: String,
}

/// Arguments of `listen`.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Whose notifications, where the hub has identity `dev`
    #[arg(long)]
    pub user: Option<String>,
    /// The hub's public listener
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The web application's cookie, as name=value
    #[arg(long)]
    pub cookie: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `whoami`.
#[derive(Debug, Args)]
pub struct WhoamiArgs {
    /// The Cookie header, as name=value; …
    #[arg(
        long,
        value_name = "COOKIES",
        allow_hyphen_values = true,
        required_unless_present = "token"
    )]
    pub cookie: Option<String>,
    /// What the client shows as its token, to each identity that takes one
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    pub token: Option<String>,
    /// The client's address, for tickets that hold one
    #[arg(long, value_name = "ADDRESS")]
    pub remote_ip: Option<std::net::IpAddr>,
    /// Judge as at that time, in seconds since 1970
    #[arg(long, value_name = "UNIX")]
    pub now: Option<u64>,
    /// The settings [default: ./config.toml if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, as for `run`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Say each step, and why it stopped; no id or secret is shown
    #[arg(short, long)]
    pub verbose: bool,
}

/// Whatever is given to a command that does not exist yet.
#[derive(Debug, Args)]
pub struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _any: Vec<String>,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Exit {
    /// The environment's fault: 2.
    Environment(String),
    /// The caller's: 64.
    Usage(String),
    /// Mistakes in the settings: 64.
    Mistakes(Vec<Mistake>),
    /// The answer is no: 1.
    No(String),
    /// The command is known and not built yet: 64.
    NotAvailable,
    /// All is said already; only the code is left.
    Silent(u8),
}

/// Says what went wrong, in one line each, and chooses the code.
pub fn exit(outcome: Result<(), Exit>) -> ExitCode {
    let (code, message) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Exit::Silent(code)) => return ExitCode::from(code),
        Err(Exit::No(message)) => (1, message),
        Err(Exit::Environment(message)) => (2, message),
        Err(Exit::Usage(message)) => (64, message),
        Err(Exit::NotAvailable) => (64, "this command is not available yet".to_owned()),
        Err(Exit::Mistakes(mistakes)) => {
            for mistake in &mistakes {
                eprintln!("{mistake}");
            }
            (64, format!("{} mistake(s) in the configuration", mistakes.len()))
        }
    };
    eprintln!("pregon: {message}");
    ExitCode::from(code)
}

/// Help and version are no errors; a wrong command line is one, and ends with 64.
pub fn usage(error: &clap::Error) -> ExitCode {
    let shown = error.print();
    if error.use_stderr() || shown.is_err() { ExitCode::from(64) } else { ExitCode::SUCCESS }
}
