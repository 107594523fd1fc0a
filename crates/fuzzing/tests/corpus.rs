//! The committed corpora, replayed: what fuzzing once reached stays as it was.

use std::fs;
use std::path::Path;

use fuzzing::TARGETS;

#[test]
fn every_corpus_holds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (name, target) in TARGETS {
        let files: Vec<_> = fs::read_dir(fuzz.join("corpus").join(name)).unwrap().collect();
        assert!(files.len() >= 5, "only {} inputs for {name}", files.len());
        for file in files {
            let path = file.unwrap().path();
            // Which input it was, should it panic.
            println!("{}", path.display());
            target(&fs::read(&path).unwrap());
        }
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} has no target");
    }
    let folders = fs::read_dir(fuzz.join("corpus")).unwrap().count();
    assert_eq!(folders, TARGETS.len(), "a corpus without a target");
}
