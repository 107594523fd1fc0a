//! Real sessions and hostile ones: cookies and store values, as Beaker and Django wrote them, or as an
//! attacker would, each with the verdict it must get.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use identity::{BeakerKeys, Credentials, IdFormat, Layer, Lookup, Recipe, Secret};
use serde_json::Value;

#[test]
fn every_vector_gets_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_slice(&index).unwrap();
    assert!(vectors.len() > 76, "only {} vectors", vectors.len());
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for vector in &vectors {
        let recipe = recipe(&vector["config"]);
        let value =
            vector["value_file"].as_str().map(|file| std::fs::read(folder.join(file)).unwrap());
        let now = Duration::from_secs(vector["now"].as_u64().unwrap());
        let shown = Credentials { cookies: vector["cookie_header"].as_str() };
        let lookup = recipe.credential(&shown).and_then(|shown| recipe.lookup(&shown, now));
        if let (Some(key), Ok(lookup)) = (vector["redis_key"].as_str(), &lookup) {
            assert_eq!(*lookup, Lookup::Key(key.to_owned()), "{}", vector["name"]);
        }
        let outcome = lookup.and_then(|lookup| match lookup {
            Lookup::Key(_) => recipe.user(value.as_deref(), now),
            Lookup::User(user) => Ok(user),
        });
        let verdict = outcome.as_ref().map(|user| user.id.as_str());
        let expect = &vector["expect"];
        let right = match verdict {
            Ok(user) => expect["user"] == user || expect["or_user"] == user,
            Err(_) => expect["reject"].is_string(),
        };
        if !right {
            wrong.push(format!("{}: {outcome:?}, expected {expect}", vector["name"]));
        }
        if verdict.is_ok() {
            let config = &vector["config"];
            let layers = config["unwrap"].as_array().unwrap();
            seen.extend(layers.iter().chain([&config["id"]]).filter_map(Value::as_str));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
    // Each is in some vector with a user.
    let formats = ["raw", "beaker", "beaker_cookie"];
    let layers = ["pickle", "base64", "zlib", "json", "beaker_aes_gcm"];
    assert_eq!(seen, formats.into_iter().chain(layers).collect());
}

fn recipe(config: &Value) -> Recipe {
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    let list = |key: &str| -> Vec<String> {
        let items = config[key].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let formats = [
        ("raw", IdFormat::Raw),
        ("beaker", IdFormat::Beaker),
        ("beaker_cookie", IdFormat::BeakerCookie),
    ];
    let (_, id) = formats.into_iter().find(|(name, _)| config["id"] == *name).unwrap();
    let usual = (id == IdFormat::Beaker).then_some("[0-9a-f]{32}");
    let pattern = config["pattern"].as_str().or(usual);
    let keys = BeakerKeys::new(text("encrypt_key").as_bytes(), text("validate_key").as_bytes());
    let layers = list("unwrap");
    Recipe {
        id,
        cookie: text("cookie"),
        secrets: list("secrets")
            .iter()
            .filter_map(|secret| Secret::new(secret.as_bytes()))
            .collect(),
        allow_unsigned: config["allow_unsigned"] == true,
        pattern: pattern.map(|pattern| Recipe::pattern(pattern).unwrap()),
        key: text("key"),
        unwrap: layers.iter().map(|name| Layer::parse(name, keys.as_ref()).unwrap()).collect(),
        user: list("user"),
        groups: Vec::new(),
        accessed: vec![text("accessed")],
        timeout: Duration::from_secs(config["timeout"].as_u64().unwrap_or_default()),
        max_bytes: 256 << 10,
    }
}
