//! `[[identity]]`: presets fill in defaults, every key can be said, and what cannot work is a mistake.

use std::fs;
use std::time::Duration;

use identity::{BeakerKeys, IdFormat, Layer, Pattern, Recipe, Secret};

use super::rules;
use super::section::{Placed, Section};
use super::value::Size;

/// `[[identity]]`: one way to know who a browser belongs to.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The user is what the client says; only on loopback.
    Dev,
    /// The web application's session.
    Session(Box<SessionIdentity>),
}

/// A session of the web application, and how often it is looked at.
#[derive(Clone, Debug)]
pub struct SessionIdentity {
    /// Cookie to user.
    pub recipe: Recipe,
    /// Where the sessions live; empty: `redis.url`.
    pub redis: String,
    /// How often a connected user's session is looked at again.
    pub revalidate: Duration,
    /// How long connected users stay when the store is away.
    pub grace: Duration,
    /// How long an answer is good for the next connection with the same cookie.
    pub cache: Duration,
}

impl SessionIdentity {
    /// Where the sessions live; `usual` unless the identity says otherwise.
    pub fn store_url<'a>(&'a self, usual: &'a str) -> &'a str {
        if self.redis.is_empty() { usual } else { &self.redis }
    }
}

/// What a preset says of a session.
#[derive(Clone, Copy)]
struct Preset {
    id: IdFormat,
    key: &'static str,
    unwrap: &'static [&'static str],
}

/// beaker_extensions, and Beaker before 1.12.
const BEAKER: Preset =
    Preset { id: IdFormat::Beaker, key: "beaker:{id}:session", unwrap: &["pickle"] };

/// Beaker's own `ext:redis`, 1.12 and later.
const BEAKER_REDIS: Preset = Preset {
    id: IdFormat::Beaker,
    key: "beaker_cache:{id}:session",
    unwrap: &["pickle", "base64", "pickle"],
};

/// Beaker's `session.type = cookie`.
const BEAKER_COOKIE: Preset =
    Preset { id: IdFormat::BeakerCookie, key: "", unwrap: &["base64", "pickle"] };

pub(super) fn identity(mut section: Section<'_>) -> Placed<Identity> {
    let source = section.source();
    let mut words = vec![
        ("dev", Some(None)),
        ("beaker", Some(Some(BEAKER))),
        ("beaker_redis", Some(Some(BEAKER_REDIS))),
        ("beaker_cookie", Some(Some(BEAKER_COOKIE))),
    ];
    words.extend(LATER_PRESETS.map(|preset| (preset, None)));
    if !section.has("preset") {
        let presets = "missing; there are dev, beaker, beaker_redis and beaker_cookie";
        section.mistake(&source, "preset", presets);
    }
    let value = match section.choose("preset", None, &words).value {
        None => {
            for (key, default) in SESSION_KEYS {
                section.unused(key, default, "has no meaning with preset \"dev\"");
            }
            Identity::Dev
        }
        Some(preset) => Identity::Session(Box::new(session(&mut section, preset))),
    };
    for (key, default) in LATER_KEYS {
        section.later(key, default);
    }
    section.finish();
    Placed { value, source }
}

fn session(section: &mut Section<'_>, preset: Preset) -> SessionIdentity {
    let mut formats = vec![
        ("beaker", Some(IdFormat::Beaker)),
        ("raw", Some(IdFormat::Raw)),
        ("beaker_cookie", Some(IdFormat::BeakerCookie)),
    ];
    formats.extend(LATER_FORMATS.map(|format| (format, None)));
    let id = section.choose("id", preset.id, &formats).value;
    let secrets = secrets(section);
    let allow_unsigned = section.take("allow_unsigned", false).value;
    let signs = match id {
        IdFormat::Raw => false,
        IdFormat::Beaker => !allow_unsigned,
        IdFormat::BeakerCookie => true,
    };
    if signs && secrets.is_empty() {
        let source = section.source();
        let advice = "none; put the application's session secret into secrets_file, one a line, the newest first";
        section.mistake(&source, "secrets", advice);
    }
    let stored = id != IdFormat::BeakerCookie;
    if !stored {
        for (key, default) in STORE_KEYS {
            section.unused(key, default, "has no meaning where the cookie is the session");
        }
    }
    if id == IdFormat::Raw && !secrets.is_empty() {
        let source = section.source();
        section.mistake(&source, "secrets", "nothing is signed with id = \"raw\"; leave them out");
    }
    let accessed = section.take("accessed", "_accessed_time".to_owned()).value;
    let timeout = section.take("timeout", Duration::ZERO);
    if !timeout.value.is_zero() && accessed.is_empty() {
        let message = "counts from the time at `accessed`, which is empty";
        section.mistake(&timeout.source, "timeout", message);
    }
    let recipe = Recipe {
        id,
        cookie: section.take_if("cookie", "beaker.session.id".to_owned(), rules::some_text).value,
        secrets,
        allow_unsigned,
        pattern: pattern(section, if stored { "[0-9a-f]{32}" } else { "" }),
        key: section.take_if("key", preset.key.to_owned(), rules::key).value,
        unwrap: layers(section, preset.unwrap),
        user: section
            .take_if("user", texts(&["repoze.who.tkt", "user.id"]), rules::path_of_keys)
            .value,
        groups: section.take("groups", Vec::new()).value,
        accessed: if accessed.is_empty() { Vec::new() } else { vec![accessed] },
        timeout: timeout.value,
        max_bytes: section.take_if("max_bytes", Size(256 << 10), rules::some_bytes).value.0,
    };
    SessionIdentity {
        recipe,
        redis: section.take_if("redis", String::new(), rules::redis_or_empty).value,
        revalidate: section.take_if("revalidate", Duration::from_secs(60), rules::interval).value,
        grace: section.take("grace", Duration::from_secs(300)).value,
        cache: section.take("cache", Duration::from_secs(5)).value,
    }
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

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// From the settings, or better from a file that only the hub can read.
fn secrets(section: &mut Section<'_>) -> Vec<Secret> {
    let said = section.take("secrets", Vec::<String>::new());
    let file = section.take("secrets_file", String::new());
    let mut lines = said.value;
    if !file.value.is_empty() {
        match fs::read_to_string(&file.value) {
            Ok(text) => lines.extend(text.lines().map(|line| line.trim().to_owned())),
            Err(error) => {
                let message = format!("cannot read {}: {error}", file.value);
                section.mistake(&file.source, "secrets_file", message);
            }
        }
    }
    lines.iter().filter_map(|line| Secret::new(line.as_bytes())).collect()
}

const LATER_FORMATS: [&str; 4] = ["express", "itsdangerous", "auth_tkt", "jwt"];

const LATER_PRESETS: [&str; 7] =
    ["auth_tkt", "pyramid", "django", "flask", "express", "jwt", "callback"];

/// Keys of sessions in a store, and what they say when they say nothing.
const STORE_KEYS: [(&str, &str); 3] = [("key", "\"\""), ("redis", "\"\""), ("grace", "\"5m\"")];

/// The same, of sessions.
const SESSION_KEYS: [(&str, &str); 20] = [
    ("encrypt_key", "\"\""),
    ("validate_key", "\"\""),
    ("id", "\"\""),
    ("cookie", "\"\""),
    ("secrets", "[]"),
    ("secrets_file", "\"\""),
    ("pattern", "\"\""),
    ("redis", "\"\""),
    ("key", "\"\""),
    ("unwrap", "[]"),
    ("user", "[]"),
    ("groups", "[]"),
    ("accessed", "\"\""),
    ("timeout", "0"),
    ("allow_unsigned", "false"),
    ("revalidate", "\"60s\""),
    ("grace", "\"5m\""),
    ("cache", "\"5s\""),
    ("max_bytes", "\"256KiB\""),
    ("expires", "[]"),
];

/// Keys of presets that do not exist yet.
const LATER_KEYS: [(&str, &str); 15] = [
    ("group_patterns", "[]"),
    ("expires", "[]"),
    ("digest", "\"\""),
    ("include_ip", "false"),
    ("max_skew", "\"\""),
    ("base64", "false"),
    ("salt", "\"\""),
    ("alg", "\"\""),
    ("issuer", "\"\""),
    ("audience", "\"\""),
    ("leeway", "\"\""),
    ("public_key_file", "\"\""),
    ("jwks_file", "\"\""),
    ("url", "\"\""),
    ("forward", "[]"),
];
