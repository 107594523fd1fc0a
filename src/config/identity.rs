//! `[[identity]]`: presets fill in defaults, every key can be said, and what cannot work is a mistake.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use identity::{IdFormat, Recipe, Secret};

use self::presets::Preset;
use super::callback::{self, CallbackIdentity};
use super::reload::Written;
use super::rules;
use super::section::{Placed, Section};
use super::value::Size;
use crate::model::GroupPattern;

mod format;
mod presets;

/// `[[identity]]`: one way to know who a browser belongs to.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The user is what the client says; only on loopback.
    Dev,
    /// The web application's session.
    Session(Box<SessionIdentity>),
    /// The web application, asked.
    Callback(Box<CallbackIdentity>),
}

/// A session of the web application, and how often it is looked at.
#[derive(Clone, Debug)]
pub struct SessionIdentity {
    /// Cookie or token to user.
    pub recipe: Recipe,
    /// The field of the client's `auth` that holds its token; empty: it shows none.
    pub token: String,
    /// Where the sessions live; empty: where `[redis]` says.
    pub redis: String,
    /// How often a connected user's session is looked at again.
    pub revalidate: Duration,
    /// How long connected users stay when the store is away.
    pub grace: Duration,
    /// How long an answer is good for the next connection with the same cookie.
    pub cache: Duration,
    /// Groups that its users may join, besides those that their session lists.
    pub group_patterns: Arc<[GroupPattern]>,
    /// As it was written, for the files that it names.
    pub written: Written,
}

pub(super) fn identity(mut section: Section<'_>) -> Placed<Identity> {
    let source = section.source();
    if section.peek("preset") == "callback" {
        return by_callback(section);
    }
    for (key, default) in callback::KEYS {
        section.unused(key, default, "has a meaning with preset \"callback\" only");
    }
    let mut words = vec![("dev", Some(None))];
    words.extend(presets::ALL.map(|(name, preset)| (name, Some(Some(preset)))));
    words.push(("callback", None));
    let said = section.has("preset");
    let preset = section.choose("preset", None, &words).value;
    // A format says enough by itself: the rest follows, or is asked for.
    let preset = if said { preset } else { presets::of_format(&section.peek("id")) };
    if !said && preset.is_none() {
        let presets = format!("missing; there are dev, {} and callback", presets::names());
        section.mistake(&source, "preset", presets);
    }
    let value = match preset {
        None => {
            for (key, default) in SESSION_KEYS {
                section.unused(key, default, "has no meaning with preset \"dev\"");
            }
            Identity::Dev
        }
        Some(preset) => Identity::Session(Box::new(session(&mut section, preset))),
    };
    section.finish();
    Placed { value, source }
}

fn by_callback(mut section: Section<'_>) -> Placed<Identity> {
    let source = section.source();
    section.take("preset", String::new());
    let value = Identity::Callback(Box::new(callback::read(&mut section)));
    for (key, default) in SESSION_KEYS.iter().filter(|(key, _)| !callback::SHARED.contains(key)) {
        section.unused(key, default, "has no meaning with preset \"callback\"");
    }
    section.finish();
    Placed { value, source }
}

fn session(section: &mut Section<'_>, preset: Preset) -> SessionIdentity {
    let written = Written::new(section.written());
    let chosen = section.choose("id", preset.id, &presets::FORMATS.map(|id| (id, Some(id)))).value;
    let preset = preset.with_format(chosen);
    let allow_unsigned = format::allow_unsigned(section, preset);
    let id = format::id(section, preset);
    let secrets = secrets(section, &id, allow_unsigned);
    let token = section.take("token", preset.token.to_owned()).value;
    let cookie = section.take("cookie", preset.cookie.to_owned());
    if cookie.value.is_empty() && token.is_empty() {
        section.mistake(&cookie.source, "cookie", "must not be empty: name the application's");
    }
    let accessed = section.take("accessed", preset.accessed.to_owned()).value;
    let timeout = section.take("timeout", Duration::ZERO);
    let counts_itself = matches!(id, IdFormat::AuthTkt(_));
    if !timeout.value.is_zero() && accessed.is_empty() && !counts_itself {
        let message = "counts from the time of last use at `accessed`, which is empty; leave it out: the store lets the session expire";
        section.mistake(&timeout.source, "timeout", message);
    }
    let max_bytes = section.take_if("max_bytes", Size(256 << 10), rules::some_bytes).value.0;
    let mut recipe = Recipe {
        id,
        cookie: cookie.value,
        secrets,
        allow_unsigned,
        pattern: None,
        key: String::new(),
        unwrap: Vec::new(),
        user: Vec::new(),
        groups: section.take("groups", Vec::new()).value,
        accessed: if accessed.is_empty() { Vec::new() } else { vec![accessed] },
        timeout: timeout.value,
        expires: section.take("expires", texts(preset.expires)).value,
        max_bytes,
    };
    let redis = if recipe.has_store() {
        recipe.key = section.take_if("key", preset.key.to_owned(), rules::key).value;
        section.take_if("redis", String::new(), rules::redis_or_empty).value
    } else {
        for (key, default) in STORE_KEYS {
            section.unused(key, default, "has no meaning where no store is asked");
        }
        String::new()
    };
    format::content(section, preset, &mut recipe);
    SessionIdentity {
        recipe,
        token,
        redis,
        revalidate: section.take_if("revalidate", Duration::from_secs(60), rules::interval).value,
        grace: section.take("grace", Duration::from_secs(300)).value,
        cache: section.take("cache", Duration::from_secs(5)).value,
        group_patterns: group_patterns(section),
        written,
    }
}

pub(super) fn group_patterns(section: &mut Section<'_>) -> Arc<[GroupPattern]> {
    let patterns = section.take_if("group_patterns", Vec::new(), rules::group_patterns).value;
    patterns.iter().filter_map(|pattern| GroupPattern::new(pattern).ok()).collect()
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// From the settings, or better from a file that only the hub can read.
fn secrets(section: &mut Section<'_>, id: &IdFormat, allow_unsigned: bool) -> Vec<Secret> {
    let mut lines = section.take("secrets", Vec::<String>::new()).value;
    let named = !section.peek("secrets_file").is_empty();
    let text = file(section, "secrets_file");
    let unreadable = named && text.is_none();
    lines.extend(text.iter().flat_map(|text| text.lines()).map(|line| line.trim().to_owned()));
    if lines.iter().any(|line| line.starts_with("-----BEGIN")) {
        // Whoever takes a public key for a secret lets everybody sign who has it.
        let source = section.source();
        let message = "a PEM file is no secret; a public key belongs into public_key_file";
        section.mistake(&source, "secrets", message);
    }
    let secrets: Vec<_> = lines.iter().filter_map(|line| Secret::new(line.as_bytes())).collect();
    let source = section.source();
    let needless = match id {
        IdFormat::Raw => Some("nothing is signed with id = \"raw\"; leave them out"),
        IdFormat::Jwt(tokens) if !tokens.alg.is_symmetric() => {
            Some("its keys are public with this alg; leave the secrets out")
        }
        _ => None,
    };
    match needless {
        Some(advice) if !secrets.is_empty() => section.mistake(&source, "secrets", advice),
        // One that cannot be read is a mistake already.
        None if secrets.is_empty()
            && !unreadable
            && !(allow_unsigned && matches!(id, IdFormat::Beaker)) =>
        {
            let advice = "none; put the application's session secret into secrets_file, one a line, the newest first";
            section.mistake(&source, "secrets", advice);
        }
        _ => {}
    }
    secrets
}

/// What the file says that a key names.
fn file(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let file = section.take(key, String::new());
    if file.value.is_empty() {
        return None;
    }
    match fs::read_to_string(&file.value) {
        Ok(text) => Some(text),
        Err(error) => {
            let message = format!("cannot read {}: {error}", file.value);
            section.mistake(&file.source, key, message);
            None
        }
    }
}

/// Keys of sessions in a store, and what they say when they say nothing.
const STORE_KEYS: [(&str, &str); 3] = [("key", "\"\""), ("redis", "\"\""), ("grace", "\"5m\"")];

/// The same, of sessions.
const SESSION_KEYS: [(&str, &str); 33] = [
    ("group_patterns", "[]"),
    ("token", "\"\""),
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
    ("salt", "\"\""),
    ("digest", "\"\""),
    ("include_ip", "false"),
    ("max_skew", "\"\""),
    ("base64", "false"),
    ("alg", "\"\""),
    ("issuer", "\"\""),
    ("audience", "\"\""),
    ("leeway", "\"\""),
    ("public_key_file", "\"\""),
    ("jwks_file", "\"\""),
];
