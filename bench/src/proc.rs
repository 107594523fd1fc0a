//! What Linux says of a process and of the machine, read from `/proc`.
//!
//! Not portable and not meant to be: the figures are Linux's own, the same for every server under test.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// CPU time of a whole process, dead threads included.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    /// Nanoseconds on a CPU, of the threads that live.
    scheduled: Duration,
    /// User and system time of all threads that ever were, in whole ticks.
    ticks: Duration,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut scheduled = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the two calls, and a kernel may have been built without the file.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            scheduled += first_number(&text);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(Self {
            scheduled: Duration::from_nanos(scheduled),
            ticks: ticks(&stat).context("an odd /proc/PID/stat")?,
        })
    }

    /// Time spent since `earlier`. Both readings can only be too low: one by threads that ended, one by a tick.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let scheduled = self.scheduled.saturating_sub(earlier.scheduled);
        scheduled.max(self.ticks.saturating_sub(earlier.ticks))
    }
}

/// CPU time of the calling thread.
pub(crate) fn own_thread_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(first_number(&text))
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(first_number(line.with_context(|| format!("no VmRSS in {path}"))?.trim()) * 1024)
}

pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    pub(crate) memory_bytes: u64,
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let line = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let value = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            value.trim_start_matches([':', ' ', '\t']).trim().to_owned()
        };
        let load = line("/proc/loadavg", "");
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: line("/proc/cpuinfo", "model name"),
            kernel: line("/proc/sys/kernel/osrelease", ""),
            memory_bytes: first_number(&line("/proc/meminfo", "MemTotal")) * 1024,
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// Ticks that the machine's CPUs have had, and those that the hypervisor gave to others.
pub(crate) fn stolen() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    (all.iter().sum(), all.get(7).copied().unwrap_or(0))
}

/// Fields 14 and 15, counted after the command's closing parenthesis, for it may contain spaces. `USER_HZ` is 100 on
/// every architecture that this could run on.
fn ticks(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(10 * (user + system)))
}

fn first_number(text: &str) -> u64 {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_an_awkward_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 2458 105944 0 28 12 30 216 80 20 0 1 0 38452";
        assert_eq!(ticks(stat), Some(Duration::from_millis(420)));
    }

    #[test]
    fn this_process_has_memory_and_uses_cpu() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        let thread = own_thread_cpu();
        let until = std::time::Instant::now() + Duration::from_millis(30);
        while std::time::Instant::now() < until {}
        assert!(Cpu::of(pid).unwrap().since(before) > Duration::from_millis(1));
        assert!(own_thread_cpu() > thread);
        assert!(resident(pid).unwrap() > 100_000);
    }
}
