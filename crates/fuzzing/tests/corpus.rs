//! Every input that a fuzzer found worth keeping, or that once broke something, through its target.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzzing::TARGETS;

#[test]
fn corpora_hold_true() {
    for (name, target) in TARGETS {
        let inputs = entries(&format!("corpus/{name}"));
        assert!(inputs.len() > 3, "only {} inputs for {name}", inputs.len());
        for path in inputs {
            // The last line of a failure's output then says which it was.
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_binary_and_its_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |folder| -> BTreeSet<String> {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries(folder).iter().map(stem).collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no [[bin]]");
        let binary = fuzz().join(format!("fuzz_targets/{name}.rs"));
        let binary = fs::read_to_string(binary).unwrap();
        assert!(binary.contains(&format!("fuzzing::{name}(")), "{name} runs another target");
    }
}

#[test]
fn corpora_stay_small() {
    let all = TARGETS.iter().flat_map(|(name, _)| entries(&format!("corpus/{name}")));
    let bytes: u64 = all.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= 64 << 10, "{bytes} bytes: keep what is small");
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let folder = fuzz().join(folder);
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}
