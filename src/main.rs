//! Pregón, a notification hub: programs announce over ZeroMQ, and every browser that the addressed
//! user has open hears it at once over Socket.IO.
//!
//! This file is the life of the process: arguments, settings, log, the hub, exit code. What the hub is
//! made of is in [`app`].

mod admin;
mod app;
mod bundle;
mod cli;
mod clients;
mod config;
mod demo;
mod descriptors;
mod directory;
mod metrics;
mod model;
mod notifier;
mod registry;
mod sequencer;
mod tls;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, Exit};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::usage(&error),
    };
    let outcome = match cli.command {
        Command::Run(args) => cli::run::run(args),
        Command::Check(args) => cli::run::check(args),
        Command::Notify(args) => cli::notify::notify(&args),
        Command::Listen(args) => cli::listen::listen(args),
        Command::Whoami(args) => cli::whoami::whoami(&args),
        Command::Keys(_) | Command::Explain(_) => Err(Exit::NotAvailable),
    };
    cli::exit(outcome)
}
