//! The servers under test as child processes: how each is started, asked whether it lives, and ended.
//!
//! A child never outlives the bench: it is killed by its own handle when its [`Server`] is dropped, on a signal, and
//! (the Node peer, which watches its standard input) even if the bench itself is killed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const START_TIMEOUT: Duration = Duration::from_secs(20);
const LINES_KEPT: usize = 20;

type Shared<T> = Arc<Mutex<T>>;

static CHILDREN: Mutex<Vec<Shared<Child>>> = Mutex::new(Vec::new());

/// What can be started.
pub(crate) enum Kind {
    Hub { binary: PathBuf, config: PathBuf, written: PathBuf, set: Vec<String> },
    Node { binary: PathBuf, script: PathBuf, recovery: bool },
}

pub(crate) struct Server {
    pub(crate) pid: u32,
    pub(crate) http: SocketAddr,
    /// Where its PULL socket is bound.
    pub(crate) notifier: String,
    pub(crate) command: String,
    pub(crate) version: String,
    name: &'static str,
    child: Shared<Child>,
    lines: Shared<VecDeque<String>>,
}

impl Kind {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hub { .. } => "hub",
            Self::Node { .. } => "Node",
        }
    }

    /// Says at once what would otherwise be found out minutes later.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Hub { binary, .. } if !binary.is_file() => bail!(
                "no hub at {}: build it with `cargo build --release`, or name it with --hub",
                binary.display()
            ),
            Self::Node { script, .. } if !script.is_file() => {
                bail!(
                    "no peer at {}: name it with --peer, or leave it out with --skip-node",
                    script.display()
                )
            }
            Self::Hub { .. } | Self::Node { .. } => Ok(()),
        }
    }

    pub(crate) fn start(&self) -> Result<Server> {
        let notifier = format!("tcp://{}", free_address()?);
        match self {
            Self::Hub { binary, config, written, set } => {
                write_config(config, written, &notifier)?;
                let mut command = Command::new(binary);
                command.arg("run").arg("--config").arg(written);
                // All of the bench's clients come from one address.
                let settings = [
                    "server.listen=127.0.0.1:0",
                    "admin.listen=127.0.0.1:0",
                    "server.connections_per_address=0",
                    "server.handshakes_per_address=0",
                    "server.unfinished_per_address=0",
                ];
                for setting in settings {
                    command.args(["--set", setting]);
                }
                for setting in set {
                    command.args(["--set", setting]);
                }
                // The environment would win over the file that we print.
                for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
                    command.env_remove(name);
                }
                let mut server = Server::spawn(self.name(), command, notifier)?;
                let version = Command::new(binary).arg("--version").output();
                let version =
                    version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
                server.version = version.unwrap_or_default();
                Ok(server)
            }
            Self::Node { binary, script, recovery } => {
                let mut command = Command::new(binary);
                command.arg(script).arg(&notifier).env("NODE_ENV", "production");
                command.env("PEER_RECOVERY", if *recovery { "1" } else { "0" });
                Server::spawn(self.name(), command, notifier)
            }
        }
    }
}

impl Server {
    fn spawn(name: &'static str, mut command: Command, notifier: String) -> Result<Self> {
        let shown = shown(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start the {name}: {shown}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        lock(&CHILDREN).push(Arc::clone(&child));
        let mut server = Self {
            pid,
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            notifier,
            command: shown,
            version: String::new(),
            name,
            child,
            lines: Shared::default(),
        };
        let (ready, first) = mpsc::channel();
        follow(stderr.context("no stderr")?, Arc::clone(&server.lines), None);
        follow(stdout.context("no stdout")?, Arc::clone(&server.lines), Some(ready));

        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            server.ensure_alive()?;
            let line: String = match first.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => line,
                Err(_) if Instant::now() > deadline => {
                    bail!(
                        "the {name} said no address within {START_TIMEOUT:?}: {}",
                        server.last_lines()
                    )
                }
                Err(_) => continue,
            };
            if let Some(address) = addresses(&line).first() {
                server.http = *address;
                server.version =
                    line.split_once("; ").map_or_else(String::new, |(_, rest)| rest.to_owned());
                return Ok(server);
            }
        }
    }

    /// An error, with its last words, if the child has ended.
    pub(crate) fn ensure_alive(&self) -> Result<()> {
        let status = lock(&self.child).try_wait()?;
        if let Some(status) = status {
            // What it wrote last may still be on its way through the pipes.
            thread::sleep(Duration::from_millis(100));
            bail!("the {} ended ({status}): {}", self.name, self.last_lines());
        }
        Ok(())
    }

    fn last_lines(&self) -> String {
        let lines = lock(&self.lines);
        if lines.is_empty() {
            return "it said nothing".to_owned();
        }
        lines.iter().fold("its last lines:".to_owned(), |text, line| text + "\n    " + line)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&self.child);
        lock(&CHILDREN).retain(|child| !Arc::ptr_eq(child, &self.child));
    }
}

/// From here on the usual signals end the children, then the bench.
pub(crate) fn end_children_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for child in lock(&CHILDREN).iter() {
                end(child);
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Killed outright: nothing that a server does on its way out is measured here.
fn end(child: &Shared<Child>) {
    let mut child = lock(child);
    // Either fails only if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn follow(
    pipe: impl Read + Send + 'static,
    kept: Shared<VecDeque<String>>,
    tell: Option<mpsc::Sender<String>>,
) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if let Some(tell) = &tell {
                // Nobody listens any more once the server is ready.
                let _ = tell.send(line.clone());
            }
            let mut kept = lock(&kept);
            if kept.len() == LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    });
}

/// The shipped configuration with one notifier more, since `--set` cannot add one.
fn write_config(shipped: &Path, written: &Path, notifier: &str) -> Result<()> {
    let mut text = if shipped.is_file() {
        fs::read_to_string(shipped).with_context(|| shipped.display().to_string())?
    } else {
        "[[identity]]\npreset = \"dev\"\n".to_owned()
    };
    text.push_str(&format!(
        "\n[[notifier]]\nname = \"bench\"\ntype = \"pull\"\nbind = \"{notifier}\"\n"
    ));
    if let Some(directory) = written.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(written, text).with_context(|| written.display().to_string())
}

fn is_setting(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("PREGON__") || name == "RUST_LOG"
}

/// A port that was free a moment ago; libzmq and both servers bind it at once.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Every `http://ADDRESS:PORT` in a line, in its order.
fn addresses(line: &str) -> Vec<SocketAddr> {
    let outside = |c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c));
    let after = line.split("http://").skip(1);
    after
        .filter_map(|text| text.split(outside).next())
        .filter_map(|text| text.trim_end_matches(['.', ':']).parse().ok())
        .collect()
}

fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), value?.to_string_lossy()))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().into_owned());
    set.chain(words).collect::<Vec<_>>().join(" ")
}

/// The data behind these locks is whole after any panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_are_found_in_a_ready_line() {
        let found = |line| addresses(line).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            found("pregon: listening on http://127.0.0.1:41, admin on http://127.0.0.1:42."),
            ["127.0.0.1:41", "127.0.0.1:42"]
        );
        assert_eq!(found("http://[::1]:8080/ and http://nowhere"), ["[::1]:8080"]);
        assert!(found("starting").is_empty());
    }
}
