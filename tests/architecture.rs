//! Holds the shape: which part may import which, what pure crates must not do, how long a file may be.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The hub's parts from the bottom up. A part may import those below its own row.
const ROWS: [&[&str]; 12] = [
    &["tls"],
    &["model"],
    &["descriptors", "config"],
    &["metrics"],
    &["registry"],
    &["sequencer"],
    &["notifier", "clients"],
    &["directory"],
    &["admin", "bundle", "demo"],
    &["app"],
    &["cli"],
    &["main"],
];

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    let mut imports = 0;
    for file in rust_files("src") {
        let part = part_of(&file);
        let row = row_of(&part);
        for (number, line) in numbered(&file) {
            for used in crate_paths(&line).filter(|used| *used != part) {
                imports += 1;
                if row_of(&used) >= row {
                    wrong.push(format!("{}:{number}: {part} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(imports > 40, "only {imports} imports found: the test does not see them");
    assert!(wrong.is_empty(), "imports against the direction:\n{}", wrong.join("\n"));
}

#[test]
fn registry_and_session_do_not_know_each_other() {
    let names_sessions = mentions("src/registry.rs", &["socketio"]);
    let names_hub = mentions("crates/socketio/src", &["registry", "Notification", "UserId"]);
    assert_eq!(names_sessions, Vec::<String>::new());
    assert_eq!(names_hub, Vec::<String>::new());
}

#[test]
fn pure_crates_do_no_io_and_read_no_clock() {
    let forbidden = [
        "std::net",
        "std::fs",
        "std::env",
        "std::thread",
        "tokio",
        "actix",
        "async ",
        "::now()",
        "rand::",
        "getrandom",
        "log::",
    ];
    for folder in ["crates/protocol/src", "crates/identity/src"] {
        let mentions: Vec<_> = mentions(folder, &forbidden)
            .into_iter()
            .filter(|line| !line.contains("/tests.rs:"))
            .collect();
        assert_eq!(mentions, Vec::<String>::new());
    }
    // Beside the transport, for its codec's sake, and as pure as those crates.
    let frames = forbidden.map(|word| if word == "actix" { "actix_rt" } else { word });
    assert_eq!(mentions("crates/socketio/src/frames.rs", &frames), Vec::<String>::new());
}

#[test]
fn files_stay_short_and_say_what_they_are() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for folder in ["src", "crates", "bench/src", "fuzz/fuzz_targets", "tests"] {
        for file in rust_files(folder) {
            seen += 1;
            let text = fs::read_to_string(&file).unwrap();
            if text.lines().count() > 500 {
                wrong.push(format!("{} is longer than 500 lines", file.display()));
            }
            if !text.starts_with("//! ") {
                wrong.push(format!("{} does not begin with what it is", file.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} files found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of code (comments aside) that contain one of the words.
fn mentions(place: &str, words: &[&str]) -> Vec<String> {
    let files = if place.ends_with(".rs") { vec![root().join(place)] } else { rust_files(place) };
    assert!(!files.is_empty(), "{place} is empty");
    let mut found = Vec::new();
    for file in files {
        for (number, line) in numbered(&file) {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{number}: {}", file.display(), line.trim()));
            }
        }
    }
    found
}

/// The parts named in a line, as in `use crate::{model::UserId, registry}`.
fn crate_paths(line: &str) -> impl Iterator<Item = String> {
    let known: BTreeSet<&str> = ROWS.iter().flat_map(|row| row.iter().copied()).collect();
    let code = line.split("//").next().unwrap_or_default().to_owned();
    let mut found = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        let names = match path.strip_prefix('{') {
            Some(list) => list.split(',').map(str::trim).collect(),
            None => vec![path],
        };
        for name in names {
            let name: String =
                name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if known.contains(name.as_str()) {
                found.insert(name);
            }
        }
    }
    found.into_iter()
}

fn part_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn row_of(part: &str) -> usize {
    let row = ROWS.iter().position(|row| row.contains(&part));
    row.unwrap_or_else(|| panic!("{part} has no row: say where it belongs"))
}

fn numbered(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().enumerate().map(|(n, line)| (n + 1, line.to_owned())).collect()
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
