//! The keys of `[[identity]]` that depend on its format: what they say of it, and that those of other
//! formats say nothing.

use std::time::Duration;

use identity::{
    Algorithm, BeakerKeys, Digest, IdFormat, KeyError, Layer, Pattern, PublicKey, Recipe, Tickets,
    Tokens, keys_from_jwks, keys_from_pem,
};

use super::super::rules;
use super::super::section::Section;
use super::presets::Preset;
use super::{file, texts};

/// How the cookie holds the id, with the keys that say so.
pub(super) fn id(section: &mut Section<'_>, preset: Preset) -> IdFormat {
    let format = match preset.id {
        "raw" => IdFormat::Raw,
        "beaker_cookie" => IdFormat::BeakerCookie,
        "express" => IdFormat::Express,
        "itsdangerous" => {
            let salt = section.take_if("salt", "flask-session".to_owned(), rules::some_text);
            IdFormat::Itsdangerous { salt: salt.value }
        }
        "auth_tkt" => IdFormat::AuthTkt(tickets(section, preset)),
        "jwt" => IdFormat::Jwt(Box::new(tokens(section))),
        _ => IdFormat::Beaker,
    };
    for (id, keys) in OF_FORMATS {
        let why = format!("has a meaning with id = \"{id}\" alone");
        for (key, nothing) in keys.iter().filter(|_| *id != *preset.id) {
            section.unused(key, nothing, &why);
        }
    }
    format
}

/// Whether the cookie is taken at its word; only Beaker leaves signatures out of its own form.
pub(super) fn allow_unsigned(section: &mut Section<'_>, preset: Preset) -> bool {
    if matches!(preset.id, "raw" | "beaker" | "beaker_cookie") {
        return section.take("allow_unsigned", false).value;
    }
    let why = "has a meaning with id = \"beaker\" alone; a session id without a signature is id = \"raw\"";
    section.unused("allow_unsigned", "false", why);
    false
}

/// What is in a session, and how it is packed.
pub(super) fn content(section: &mut Section<'_>, preset: Preset, recipe: &mut Recipe) {
    let names_user_itself = matches!(recipe.id, IdFormat::AuthTkt(_) | IdFormat::Jwt(_));
    if names_user_itself {
        for (key, nothing) in VALUE_KEYS {
            section.unused(key, nothing, "has no meaning where the cookie itself names the user");
        }
        recipe.expires.clear();
    } else {
        recipe.pattern = pattern(section, preset.pattern);
        recipe.unwrap = layers(section, preset.unwrap);
    }
    if matches!(recipe.id, IdFormat::AuthTkt(_)) {
        section.unused("user", "[\"userid\"]", "is the ticket's own; leave it out");
        recipe.user = texts(preset.user);
        if !matches!(&*recipe.groups, [] | [_]) || recipe.groups.iter().any(|key| key != "tokens") {
            let source = section.source();
            section.mistake(&source, "groups", "a ticket has its tokens alone, [\"tokens\"]");
        }
    } else {
        recipe.user = section.take_if("user", texts(preset.user), rules::path_of_keys).value;
    }
}

fn tickets(section: &mut Section<'_>, preset: Preset) -> Tickets {
    let words = [("md5", Digest::Md5), ("sha256", Digest::Sha256), ("sha512", Digest::Sha512)];
    let usual = words.iter().find(|(word, _)| *word == preset.digest);
    let usual = usual.map_or(Digest::Md5, |(_, digest)| *digest);
    Tickets {
        digest: section.choose("digest", usual, &words.map(|(word, one)| (word, Some(one)))).value,
        include_ip: section.take("include_ip", false).value,
        base64: section.take("base64", false).value,
        max_skew: section.take("max_skew", Duration::from_secs(300)).value,
    }
}

fn tokens(section: &mut Section<'_>) -> Tokens {
    let words = Algorithm::ALL.map(|alg| (alg.as_str(), Some(alg)));
    let alg = section.choose("alg", Algorithm::HS256, &words).value;
    Tokens {
        alg,
        keys: keys(section, alg),
        issuer: section.take("issuer", String::new()).value,
        audience: section.take("audience", String::new()).value,
        leeway: section.take_if("leeway", Duration::from_secs(60), rules::leeway).value,
    }
}

fn keys(section: &mut Section<'_>, alg: Algorithm) -> Vec<PublicKey> {
    let source = section.source();
    if alg.is_symmetric() {
        for key in ["public_key_file", "jwks_file"] {
            let why =
                format!("has no meaning with alg = \"{}\", whose keys are secrets", alg.as_str());
            section.unused(key, "\"\"", &why);
        }
        return Vec::new();
    }
    let both = section.has("public_key_file") && section.has("jwks_file");
    let neither = !section.has("public_key_file") && !section.has("jwks_file");
    if both {
        section.mistake(&source, "jwks_file", "beside public_key_file; say one of them");
    }
    if neither {
        let message = format!("none; {} needs public_key_file or jwks_file", alg.as_str());
        section.mistake(&source, "public_key_file", message);
    }
    let mut read = |key, parse: fn(&str, Algorithm) -> Result<Vec<PublicKey>, KeyError>| {
        let Some(text) = file(section, key) else { return Vec::new() };
        parse(&text, alg).unwrap_or_else(|error| {
            section.mistake(&source, key, error.to_string());
            Vec::new()
        })
    };
    let pem = read("public_key_file", keys_from_pem);
    let set = read("jwks_file", keys_from_jwks);
    [pem, set].concat()
}

fn pattern(section: &mut Section<'_>, usual: &str) -> Option<Pattern> {
    let compiles = |pattern: &str| {
        Recipe::pattern(pattern).map(drop).map_err(|error| {
            // Its last line says what is wrong; those before it draw where.
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("{pattern:?} is no regular expression: {why}")
        })
    };
    let pattern = section.take_if("pattern", usual.to_owned(), compiles).value;
    if pattern.is_empty() { None } else { Recipe::pattern(&pattern).ok() }
}

fn layers(section: &mut Section<'_>, usual: &[&str]) -> Vec<Layer> {
    let names = section.take_if("unwrap", texts(usual), rules::layers);
    let encrypt_key = section.take("encrypt_key", String::new()).value;
    let validate_key = section.take("validate_key", String::new()).value;
    let keys = BeakerKeys::new(encrypt_key.as_bytes(), validate_key.as_bytes());
    let encrypted = names.value.iter().any(|layer| layer == "beaker_aes_gcm");
    if encrypted && keys.is_none() {
        let message = "beaker_aes_gcm needs the application's encrypt_key and validate_key";
        section.mistake(&names.source, "unwrap", message);
    }
    names.value.iter().filter_map(|layer| Layer::parse(layer, keys.as_ref())).collect()
}

/// Keys of one format alone, and what they say when they say nothing.
const OF_FORMATS: [(&str, &[(&str, &str)]); 3] = [
    ("itsdangerous", &[("salt", "\"flask-session\"")]),
    (
        "auth_tkt",
        &[
            ("digest", "\"md5\""),
            ("include_ip", "false"),
            ("max_skew", "\"5m\""),
            ("base64", "false"),
        ],
    ),
    (
        "jwt",
        &[
            ("alg", "\"HS256\""),
            ("issuer", "\"\""),
            ("audience", "\"\""),
            ("leeway", "\"60s\""),
            ("public_key_file", "\"\""),
            ("jwks_file", "\"\""),
        ],
    ),
];

/// The same, of sessions that are a value: stored, or packed into the cookie.
const VALUE_KEYS: [(&str, &str); 4] =
    [("pattern", "\"\""), ("unwrap", "[]"), ("encrypt_key", "\"\""), ("validate_key", "\"\"")];
