//! `run` and `check`.

#![expect(clippy::print_stdout, reason = "the ready line and the verdict")]

use log::info;

use super::{CheckArgs, Exit, RunArgs, log as logging};
use crate::app;
use crate::config::{self, Config, Error, Sources};

/// Runs the hub until SIGTERM or SIGINT.
///
/// # Errors
/// The settings are wrong, or the hub cannot run.
pub fn run(args: RunArgs) -> Result<(), Exit> {
    let demo = args.demo;
    let sources = Sources { file: args.config, set: args.set, demo };
    let (config, file) = load(&sources)?;
    logging::install(&config.log);
    // One line for a panic: with a backtrace, the first one would hold up a worker for a second.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!("panic place={place} message={:?}", panic.payload_as_str().unwrap_or_default());
    }));
    match file {
        Some(file) => info!("settings file={}", file.display()),
        None => info!("settings file=none; built-in defaults"),
    }
    let system = actix::System::new();
    let outcome = system.block_on(app::run(config, demo, |ready| println!("{ready}")));
    outcome.map_err(|error| Exit::Environment(error.to_string()))
}

/// Checks the settings.
///
/// # Errors
/// They are wrong, or cannot be read.
pub fn check(args: CheckArgs) -> Result<(), Exit> {
    let sources = Sources { file: args.config, set: args.set, demo: false };
    let (config, file) = load(&sources)?;
    let file = file.map_or("built-in defaults".to_owned(), |file| file.display().to_string());
    println!("{file}: fine, {} notifier(s)", config.notifiers.len());
    Ok(())
}

pub(super) fn load(sources: &Sources) -> Result<(Config, Option<std::path::PathBuf>), Exit> {
    config::load(sources, std::env::vars_os()).map_err(|error| match error {
        Error::Mistakes(mistakes) => Exit::Mistakes(mistakes),
        Error::Unreadable { .. } => Exit::Usage(error.to_string()),
    })
}
