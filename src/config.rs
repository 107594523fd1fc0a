//! Settings: what the hub is told, checked as a whole before anything starts.
//!
//! They come from the built-in defaults, the file, the environment and `--set`, the later winning.
//! [`tree`] merges those layers and remembers where each value came from; [`section`] reads values
//! out of it and collects every mistake; this file knows the tables and their rules.

mod callback;
mod directory;
mod identity;
mod redis;
mod reload;
mod rules;
mod section;
mod tables;
mod tls;
mod tree;
mod value;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use thiserror::Error;

pub use callback::CallbackIdentity;
pub use identity::{Identity, SessionIdentity};
pub use redis::{RedisConfig, RedisPlace, Way};
pub use reload::Written;
pub use rules::{
    endpoint as check_endpoint, fitting as fitting_message, host_and_port, name as check_name,
    names_loopback, prefixes as check_prefixes,
};
pub use tables::{Config, LogConfig, LogFormat, NotifierConfig, Subscribe, Transport};
pub use tls::TlsConfig;
use tree::Tree;

/// Where settings come from besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config FILE`; without it `./config.toml` if there is one.
    pub file: Option<PathBuf>,
    /// `--set key=value`, in order.
    pub set: Vec<String>,
    /// Whether the demo adds its own identity and notifier.
    pub demo: bool,
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// They are wrong: every mistake at once.
    #[error("{} mistake(s) in the configuration", .0.len())]
    Mistakes(Vec<Mistake>),
}

/// One mistake: where it is, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `config.toml:12`, `environment PREGON__…` or `--set …`.
    pub place: String,
    /// For sorting: the line, if it is in the file.
    pub line: usize,
    /// The key, as `table.key`; empty if the file cannot be parsed there.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads and checks all settings. The second value names the file that was read, if any.
///
/// # Errors
/// The file cannot be read, or something in the settings is wrong.
pub fn load(
    sources: &Sources,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Config, Option<PathBuf>), Error> {
    let mut mistakes = Vec::new();
    let mut tree = Tree::default();
    let default = Path::new("config.toml");
    let path = sources.file.clone().or_else(|| default.exists().then(|| default.to_owned()));
    if let Some(path) = &path {
        let text = fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.clone(), source })?;
        tree.merge_file(path, &text, &mut mistakes);
    }
    tree.merge_environment(environment, &mut mistakes);
    for pair in &sources.set {
        tree.merge_set(pair, &mut mistakes);
    }
    let config = tables::read(tree, sources.demo, &mut mistakes);
    if mistakes.is_empty() {
        Ok((config, path))
    } else {
        mistakes.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        Err(Error::Mistakes(mistakes))
    }
}

#[cfg(test)]
mod tests;
