//! Real sessions and hostile ones: cookies and store values, as Beaker and Django wrote them, or as an
//! attacker would, each with the verdict it must get.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use identity::{
    Algorithm, BeakerKeys, Credentials, Digest, IdFormat, Layer, Lookup, Recipe, Secret, Tickets,
    Tokens, keys_from_jwks, keys_from_pem,
};
use serde_json::Value;

#[test]
fn every_vector_gets_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_slice(&index).unwrap();
    assert!(vectors.len() >= 130, "only {} vectors", vectors.len());
    let mut seen = BTreeSet::new();
    let mut reasons = 0;
    let mut wrong = Vec::new();
    for vector in &vectors {
        let recipe = recipe(&vector["config"]);
        let value =
            vector["value_file"].as_str().map(|file| std::fs::read(folder.join(file)).unwrap());
        let now = Duration::from_secs(vector["now"].as_u64().unwrap());
        let shown = Credentials {
            cookies: vector["cookie_header"].as_str(),
            remote: vector["remote_ip"].as_str().map(|ip| ip.parse().unwrap()),
            ..Credentials::default()
        };
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
        // Of several things that are wrong, one may be met before another.
        reasons += usize::from(verdict.is_err_and(|reason| expect["reject"] == reason.as_str()));
        if verdict.is_ok() {
            let config = &vector["config"];
            let layers = config["unwrap"].as_array().into_iter().flatten();
            seen.extend(layers.chain([&config["id"]]).filter_map(Value::as_str));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
    // Each is in some vector with a user.
    let formats = ["raw", "beaker", "beaker_cookie", "express", "itsdangerous", "auth_tkt", "jwt"];
    let layers = ["pickle", "base64", "zlib", "json", "msgpack", "beaker_aes_gcm"];
    assert_eq!(seen, formats.into_iter().chain(layers).collect());
    assert!(reasons >= 57, "only {reasons} with the very reason");
}

fn recipe(config: &Value) -> Recipe {
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    let list = |key: &str| -> Vec<String> {
        let items = config[key].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let seconds = |key: &str, usual| Duration::from_secs(config[key].as_u64().unwrap_or(usual));
    let id = match config["id"].as_str().unwrap() {
        "raw" => IdFormat::Raw,
        "beaker" => IdFormat::Beaker,
        "beaker_cookie" => IdFormat::BeakerCookie,
        "express" => IdFormat::Express,
        "itsdangerous" => IdFormat::Itsdangerous { salt: text("salt") },
        "auth_tkt" => IdFormat::AuthTkt(Tickets {
            digest: match config["digest"].as_str().unwrap() {
                "md5" => Digest::Md5,
                "sha256" => Digest::Sha256,
                other => {
                    assert_eq!(other, "sha512");
                    Digest::Sha512
                }
            },
            include_ip: config["include_ip"] == true,
            base64: config["base64"] == true,
            max_skew: seconds("max_skew", 300),
        }),
        other => {
            assert_eq!(other, "jwt");
            IdFormat::Jwt(Box::new(tokens(config)))
        }
    };
    let usual = matches!(id, IdFormat::Beaker).then_some("[0-9a-f]{32}");
    let user = if config["id"] == "auth_tkt" { vec!["userid".to_owned()] } else { list("user") };
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
        user,
        groups: Vec::new(),
        accessed: vec![text("accessed")],
        timeout: seconds("timeout", 0),
        expires: list("expires"),
        max_bytes: 256 << 10,
    }
}

fn tokens(config: &Value) -> Tokens {
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let read = |key| config[key].as_str().map(|file| std::fs::read_to_string(folder.join(file)));
    let alg = Algorithm::ALL.into_iter().find(|alg| config["alg"] == alg.as_str()).unwrap();
    let pem = read("public_key_file").map(|pem| keys_from_pem(&pem.unwrap(), alg).unwrap());
    let set = read("jwks_file").map(|set| keys_from_jwks(&set.unwrap(), alg).unwrap());
    Tokens {
        alg,
        keys: pem.or(set).unwrap_or_default(),
        issuer: text("issuer"),
        audience: text("audience"),
        leeway: Duration::from_secs(60),
    }
}
