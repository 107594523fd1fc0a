//! What a run found, as a table to read and as JSON to keep.
//!
//! Shows medians over the rounds, and draws no conclusion from them but "within" or "over" a budget.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::proc::{self, Machine};
use crate::scenario::{Metric, Outcome, Scenario, Sizes};

const NAME: usize = 34;
const COLUMN: usize = 12;

pub(crate) struct Report {
    begun: SystemTime,
    machine: Machine,
    stolen: (u64, u64),
    arguments: String,
    config: String,
    runs: Vec<Run>,
}

struct Run {
    scenario: Scenario,
    server: &'static str,
    outcome: Outcome,
}

impl Report {
    pub(crate) fn begin(config: String) -> Self {
        Self {
            begun: SystemTime::now(),
            machine: Machine::read(),
            stolen: proc::stolen(),
            arguments: std::env::args().collect::<Vec<_>>().join(" "),
            config,
            runs: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, scenario: Scenario, server: &'static str, outcome: Outcome) {
        self.runs.push(Run { scenario, server, outcome });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.runs.iter().all(|run| run.outcome.tally.is_clean())
    }

    pub(crate) fn table(&self, servers: &[&'static str], sizes: &Sizes) -> String {
        let mut text = self.heading(servers);
        for scenario in Scenario::ALL {
            self.rows(&mut text, scenario, servers, sizes);
        }
        self.checks(&mut text);
        text
    }

    /// Writes everything, every round's figures included, and returns where.
    pub(crate) fn save(&self, directory: &Path, sizes: &Sizes) -> Result<PathBuf> {
        let runs: Vec<Value> = self.runs.iter().map(run_json).collect();
        let Machine { cores, cpu, kernel, memory_bytes, load } = &self.machine;
        let report = json!({
            "date": date(self.begun),
            "machine": {
                "cores": cores, "cpu": cpu, "kernel": kernel, "memory_bytes": memory_bytes,
                "load_at_start": load, "stolen_percent": self.stolen_percent(),
            },
            "command": self.arguments,
            "config": self.config,
            "sizes": sizes,
            "runs": runs,
        });
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let path = directory.join(format!("{}.json", date(self.begun).replace(':', "")));
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&path, text + "\n").with_context(|| path.display().to_string())?;
        Ok(path)
    }

    fn heading(&self, servers: &[&'static str]) -> String {
        let Machine { cores, cpu, kernel, memory_bytes, load } = &self.machine;
        let gib = *memory_bytes as f64 / f64::from(1 << 30);
        let mut text = format!(
            "{}\nmachine  {cores} × {cpu}, {gib:.1} GiB, Linux {kernel}; load {load} at the start, {:.1} % of CPU stolen\n\
             bench    {}\nconfig   {}\n",
            date(self.begun),
            self.stolen_percent(),
            self.arguments,
            self.config,
        );
        for server in servers {
            if let Some(run) = self.runs.iter().find(|run| run.server == *server) {
                let Outcome { version, command, .. } = &run.outcome;
                let _ = writeln!(text, "{server:<8} {version}: {command}");
            }
        }
        text
    }

    fn rows(&self, text: &mut String, scenario: Scenario, servers: &[&'static str], sizes: &Sizes) {
        let of = |server| self.metrics(scenario, server);
        let all: Vec<Vec<Metric>> = servers.iter().map(|server| of(server)).collect();
        let Some(shown) = all.iter().find(|metrics| !metrics.is_empty()) else {
            return;
        };
        let _ = write!(text, "\n{}\n{:NAME$}", scenario.title(sizes), "");
        for server in servers {
            let _ = write!(text, "{server:>COLUMN$}");
        }
        let _ = writeln!(text, "{:>COLUMN$}   hub's budget", "Node/hub");
        for Metric { name, unit, budget, .. } in shown {
            let label =
                if unit.is_empty() { (*name).to_owned() } else { format!("{name}, {unit}") };
            let _ = write!(text, "  {label:<width$}", width = NAME - 2);
            let value = |server: &str| {
                let index = servers.iter().position(|known| *known == server)?;
                all.get(index)?
                    .iter()
                    .find(|metric| metric.name == *name)
                    .map(|metric| metric.value)
            };
            for server in servers {
                let _ = write!(
                    text,
                    "{:>COLUMN$}",
                    value(server).map_or_else(|| "-".to_owned(), number)
                );
            }
            let (hub, node) = (value("hub"), value("Node"));
            let ratio = hub.zip(node).filter(|(hub, _)| *hub > 0.0).map(|(hub, node)| node / hub);
            let _ = write!(
                text,
                "{:>COLUMN$}",
                ratio.map_or_else(|| "-".to_owned(), |ratio| number(ratio) + "×")
            );
            if let Some(budget) = budget {
                let verdict = match hub {
                    Some(hub) if hub <= *budget => "within ",
                    Some(_) => "over ",
                    None => "",
                };
                let _ = write!(text, "   {verdict}{}", number(*budget));
            }
            text.push('\n');
        }
    }

    fn checks(&self, text: &mut String) {
        text.push('\n');
        let mut checked = 0;
        for Run { scenario, server, outcome } in &self.runs {
            checked += outcome.tally.received;
            if outcome.tally.is_clean() {
                continue;
            }
            let _ =
                write!(text, "FAILED {scenario:?}, {server}: {} received", outcome.tally.received);
            for (name, count) in outcome.tally.faults().iter().filter(|(_, count)| *count > 0) {
                let _ = write!(text, ", {name} {count}");
            }
            text.push('\n');
            for example in &outcome.tally.examples {
                let _ = writeln!(text, "    {example}");
            }
        }
        let _ = if self.is_clean() {
            writeln!(
                text,
                "{checked} deliveries checked: none lost, none twice, all in order, all for the right user"
            )
        } else {
            writeln!(text, "{checked} deliveries checked; the figures of a failed run mean nothing")
        };
    }

    /// Medians over the rounds.
    fn metrics(&self, scenario: Scenario, server: &str) -> Vec<Metric> {
        let rounds: Vec<&Outcome> = self
            .runs
            .iter()
            .filter(|run| run.scenario == scenario && run.server == server)
            .map(|run| &run.outcome)
            .collect();
        let Some(first) = rounds.first() else {
            return Vec::new();
        };
        let each = first.metrics.iter().enumerate().map(|(index, metric)| {
            let values = rounds
                .iter()
                .filter_map(|outcome| outcome.metrics.get(index))
                .map(|other| other.value);
            Metric { value: median(values.collect()), ..metric.clone() }
        });
        each.collect()
    }

    fn stolen_percent(&self) -> f64 {
        let (all, stolen) = proc::stolen();
        let (all, stolen) =
            (all.saturating_sub(self.stolen.0), stolen.saturating_sub(self.stolen.1));
        100.0 * stolen as f64 / all.max(1) as f64
    }
}

fn run_json(Run { scenario, server, outcome }: &Run) -> Value {
    let metrics: Vec<Value> = outcome
        .metrics
        .iter()
        .map(
            |Metric {
                 name,
                 unit,
                 value,
                 budget,
             }| json!({"name": name, "unit": unit, "value": value, "budget": budget}),
        )
        .collect();
    let faults: serde_json::Map<String, Value> = outcome
        .tally
        .faults()
        .iter()
        .map(|(name, count)| ((*name).to_owned(), json!(count)))
        .collect();
    json!({
        "scenario": format!("{scenario:?}").to_lowercase(),
        "server": server,
        "version": outcome.version,
        "command": outcome.command,
        "metrics": metrics,
        "received": outcome.tally.received,
        "other_events": outcome.tally.other_events,
        "faults": faults,
        "examples": outcome.tally.examples,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
    }
}

/// Three significant digits or more, thousands apart.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left % 3 == 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// `2026-02-28T23:59:59Z`; days to civil date after Howard Hinnant.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, clock) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        clock / 3_600,
        clock / 60 % 60,
        clock % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_medians_and_numbers() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(at(1_735_689_600), "2025-01-01T00:00:00Z");
        assert_eq!([median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0])], [2.0, 2.5]);
        let shown = [0.5, 12.34, 100.0, 1_234.5, 1_234_567.0, -123.0, -1_234.0].map(number);
        assert_eq!(shown, ["0.50", "12.3", "100", "1,234", "1,234,567", "-123", "-1,234"]);
    }
}
