//! The pickle reader beside CPython: some thousands of random sessions as Python pickles them, and as
//! many damaged ones, each read three times. By CPython; by CPython with all classes replaced by one
//! that takes everything and has nothing, which is how they are meant to be read here; and here.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use identity::{Document, pickles};

/// The user at the path, if there is one, or why the pickle cannot be read.
type Found = Result<Option<String>, String>;

struct Case {
    /// Not as Python wrote it.
    damaged: bool,
    pickle: Vec<u8>,
    path: Vec<String>,
    /// Something follows the end.
    more: bool,
    /// On CPython's way a `str` of some class was the key.
    keyed: bool,
    /// What CPython finds.
    real: Found,
    /// What CPython finds if classes have no content.
    opaque: Found,
    /// What CPython found before the damage.
    original: Found,
}

#[test]
fn reads_what_cpython_reads() {
    let mut counts = BTreeMap::<String, usize>::new();
    let mut wrong = Vec::new();
    for (number, case) in cases().iter().enumerate() {
        let pickle = pickles::read(&case.pickle);
        let ours = pickle.map(|pickle| Document::Pickle(pickle).name(&case.path));
        let ours = ours.map_err(|reason| reason.to_string());
        let outcome = beside_the_model(case, &ours).and_then(|model| {
            let real = beside_the_real_one(case, &ours)?;
            Ok([model, real])
        });
        match outcome {
            Ok(kinds) => {
                for kind in kinds {
                    let damaged = if case.damaged { "damaged" } else { "pickle" };
                    *counts.entry(format!("{damaged}: {kind}")).or_default() += 1;
                }
            }
            Err(error) => wrong.push(format!("{number}: {error}\n{}", describe(case, &ours))),
        }
    }
    println!("{counts:#?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let count = |kind: &str| counts.get(kind).copied().unwrap_or_default();
    let pickles = count("pickle: model: agree") + count("pickle: model: surrogates");
    assert!(pickles > 8_000, "{counts:?}");
    assert!(count("pickle: real: same user") > 4_000, "{counts:?}");
    assert!(count("damaged: real: same user") > 500, "{counts:?}");
    assert!(count("damaged: real: both refuse") > 1_000, "{counts:?}");
    assert!(count("pickle: model: surrogates") < pickles / 20, "{counts:?}");
    assert!(count("pickle: real: user of a class") < pickles / 5, "{counts:?}");
    assert!(count("pickle: real: key of a class") < pickles / 50, "{counts:?}");
    assert!(count("damaged: model: stricter") < pickles / 200, "{counts:?}");
    assert!(count("damaged: model: more lenient about calls") < pickles / 100, "{counts:?}");
}

/// Here, and in CPython without classes: the same, but for what is listed.
fn beside_the_model(case: &Case, ours: &Found) -> Result<&'static str, &'static str> {
    match (ours, &case.opaque) {
        (Ok(ours), Ok(theirs)) if ours == theirs => Ok("model: agree"),
        (Ok(_), Ok(_)) => Err("another user than in the model"),
        (Err(_), Err(_)) => Ok("model: both refuse"),
        // Half a pair is no text here.
        (Err(_), Ok(_)) if surrogates(&case.pickle) => Ok("model: surrogates"),
        (Err(_), Ok(_)) if case.more => Ok("model: something after the end"),
        // Such as a list as the key of an object, or numbers that only C reads so.
        (Err(_), Ok(_)) if case.damaged => Ok("model: stricter"),
        (Err(_), Ok(_)) => Err("refused"),
        (Ok(user), Err(error)) => {
            // An object is an object here: what can be called, and with what, is not looked at.
            let call = ["tuple", "NEWOBJ", "state is not"];
            if !case.damaged || !call.iter().any(|word| error.contains(word)) {
                return Err("accepted");
            }
            if user.is_some() && case.original.as_ref() != Ok(user) {
                return Err("accepted, with another user");
            }
            Ok("model: more lenient about calls")
        }
    }
}

/// Here, and in CPython: the same, but for what classes do.
fn beside_the_real_one(case: &Case, ours: &Found) -> Result<&'static str, &'static str> {
    match (ours, &case.real) {
        (Ok(ours), Ok(theirs)) if ours == theirs && !case.keyed => {
            Ok(if ours.is_some() { "real: same user" } else { "real: no user" })
        }
        // Then bytes of that name count, if there are any.
        (Ok(_), Ok(_)) if case.keyed => Ok("real: key of a class"),
        (Ok(Some(_)), Ok(_)) => Err("another user"),
        // An OrderedDict, a str of some class, or bytes before protocol 3, which knows none.
        (Ok(_), Ok(_)) => Ok("real: user of a class"),
        (Err(_), Err(_)) => Ok("real: both refuse"),
        (Err(_), Ok(_)) => Ok("real: refused as in the model"),
        // There is no such class, or it refused; nobody asks it here.
        (Ok(_), Err(_)) if case.damaged => Ok("real: accepted as in the model"),
        (Ok(_), Err(_)) => Err("accepted"),
    }
}

fn surrogates(pickle: &[u8]) -> bool {
    let binary = pickle.windows(2).any(|pair| matches!(pair, [0xed, 0xa0..=0xbf]));
    binary
        || pickle.windows(4).any(|escape| matches!(escape, [b'\\', b'u', b'd' | b'D', b'8'..=b'f']))
}

fn describe(case: &Case, ours: &Found) -> String {
    let Case { pickle, path, real, opaque, original, .. } = case;
    let pickle = pickle.escape_ascii();
    format!("{pickle}\n{path:?}: {ours:?}, CPython {real:?}, model {opaque:?}, before {original:?}")
}

fn cases() -> Vec<Case> {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cpython.py");
    // Sets are pickled in the order of hashes.
    let output = Command::new(&python)
        .args(["-W", "ignore"])
        .arg(script)
        .env("PYTHONHASHSEED", "0")
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run {python:?}: {error}; install Python 3.9 or later (Debian: python3), or name it in PYTHON")
        });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{python:?} {}: {errors}", output.status);
    let cases: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(case).collect();
    assert!(cases.len() > 18_000, "only {} cases", cases.len());
    cases
}

fn case(line: &str) -> Case {
    let fields: Vec<_> = line.split('\t').collect();
    let &[how, pickle, path, more, real, real_value, opaque, opaque_value, before, before_value] =
        fields.as_slice()
    else {
        panic!("{line}")
    };
    Case {
        damaged: how == "damaged",
        pickle: hex::decode(pickle).unwrap(),
        path: path.split(',').map(|step| text(step).unwrap()).collect(),
        more: more == "more",
        keyed: real == "keyed by a class",
        real: found(real, real_value),
        opaque: found(opaque, opaque_value),
        original: found(before, before_value),
    }
}

fn found(kind: &str, value: &str) -> Found {
    match kind {
        "error" => Err(text(value).unwrap_or_default()),
        "int" | "text" | "bytes" => Ok(text(value)),
        _ => Ok(None),
    }
}

/// Of hexadecimal digits, unless it is not UTF-8.
fn text(digits: &str) -> Option<String> {
    String::from_utf8(hex::decode(digits).unwrap()).ok()
}
