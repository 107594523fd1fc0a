//! `whoami`: whom a cookie belongs to, by the configured identities; and with `-v`, each step of the way.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer, and how it came about")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_http::header::{COOKIE, HeaderMap, HeaderValue};
use identity::{Credentials, Lookup, Reason, Recipe, User};
use serde_json::json;

use super::{Exit, WhoamiArgs, run};
use crate::clients::callback::{Callback, Verdict};
use crate::clients::most_telling;
use crate::clients::sessions::Visitor;
use crate::clients::store::{AskError, Store};
use crate::config::{
    CallbackIdentity, Config, Identity, RedisConfig, RedisPlace, SessionIdentity, Sources,
};

mod steps;

/// What the identities came to.
enum Answer {
    User(String),
    Anonymous(&'static str),
    Unavailable,
}

/// Prints one JSON line. A user: 0; nobody: 1; a store is away: 2.
///
/// # Errors
/// The settings are wrong, or the answer is not a user.
pub fn whoami(args: &WhoamiArgs) -> Result<(), Exit> {
    let sources = Sources { file: args.config.clone(), set: args.set.clone(), demo: false };
    let (config, _) = run::load(&sources)?;
    let now = match args.now {
        Some(now) => Duration::from_secs(now),
        None => since_1970(),
    };
    let answer = actix::System::new().block_on(ask(&config, args, now));
    match answer {
        Answer::User(user) => {
            println!("{}", json!({ "user": user }));
            Ok(())
        }
        Answer::Anonymous(reason) => {
            println!("{}", json!({ "anonymous": reason }));
            Err(Exit::Silent(1))
        }
        Answer::Unavailable => {
            println!("{}", json!({ "unavailable": "store_unavailable" }));
            Err(Exit::Silent(2))
        }
    }
}

async fn ask(config: &Config, args: &WhoamiArgs, now: Duration) -> Answer {
    let mut turned = "no_user";
    for (place, identity) in config.identities.iter().enumerate() {
        let say = |step: &str| {
            if args.verbose {
                eprintln!("identity {}: {step}", place + 1);
            }
        };
        let told = match identity {
            Identity::Dev => {
                say("dev: takes no cookies; a client says itself who it is");
                continue;
            }
            Identity::Callback(callback) => call(callback, args, &say).await,
            Identity::Session(session) => follow(session, &config.redis, args, now, &say).await,
        };
        match told {
            Answer::Anonymous(reason) => turned = most_telling(turned, reason),
            // Whose this is may be known again soon; nobody else may be taken for it.
            Answer::User(_) | Answer::Unavailable => return told,
        }
    }
    Answer::Anonymous(turned)
}

/// The chain of one identity. Neither ids nor secrets are shown.
async fn follow(
    session: &SessionIdentity,
    redis: &RedisConfig,
    args: &WhoamiArgs,
    now: Duration,
    say: &impl Fn(&str),
) -> Answer {
    let recipe = &session.recipe;
    let token = args.token.as_deref().filter(|_| !session.token.is_empty());
    let shown = Credentials { cookies: args.cookie.as_deref(), token, remote: args.remote_ip };
    let what = match token {
        Some(_) => format!("token {:?}", session.token),
        None => format!("cookie {:?}", recipe.cookie),
    };
    let judged = recipe.credential(&shown).and_then(|credential| recipe.lookup(&credential, now));
    let key = match judged {
        Ok(Lookup::User(user)) => {
            say(&format!("{what}: there, and good ({})", steps::judged_by(recipe)));
            return known(recipe, user, say);
        }
        Ok(Lookup::Key(key)) => key,
        Err(reason) => {
            say(&format!("{what}: {reason}{}", steps::why(reason, recipe, args.remote_ip)));
            return Answer::Anonymous(reason.as_str());
        }
    };
    say(&format!(
        "{what}: there, and its id is one of the application's ({})",
        steps::judged_by(recipe)
    ));
    let value = read(&redis.place(&session.redis), key).await;
    let value = match value {
        Ok(value) => value,
        Err(AskError::NoString) => {
            say(&format!("store: key {:?} holds no string for this id: corrupt", recipe.key));
            return Answer::Anonymous(Reason::Corrupt.as_str());
        }
        Err(error) => {
            say(&format!("store: {error}"));
            return Answer::Unavailable;
        }
    };
    let Some(value) = value else {
        say(&format!("store: key {:?} does not exist for this id", recipe.key));
        return Answer::Anonymous(Reason::NoSession.as_str());
    };
    say(&format!("store: key {:?} holds {} bytes", recipe.key, value.len()));
    for step in recipe.explain(&value) {
        say(&format!("session: {step}"));
    }
    match recipe.user(Some(&value), now) {
        Ok(user) => known(recipe, user, say),
        Err(reason) => {
            say(&format!("session: {reason}{}", steps::why(reason, recipe, args.remote_ip)));
            Answer::Anonymous(reason.as_str())
        }
    }
}

/// Asks the web application. What it is shown is not shown here.
async fn call(config: &CallbackIdentity, args: &WhoamiArgs, say: &impl Fn(&str)) -> Answer {
    let callback = Callback::new(1, config, None);
    let mut headers = HeaderMap::new();
    let cookies = args.cookie.as_deref();
    let cookie = cookies.and_then(|cookies| HeaderValue::from_bytes(cookies.as_bytes()).ok());
    if let Some(cookie) = cookie.filter(|cookie| !cookie.is_empty()) {
        headers.insert(COOKIE, cookie);
    }
    let auth = args.token.as_ref().map(|token| json!({ &config.token: token }).to_string());
    let auth = auth.as_deref();
    let visitor = Visitor { cookies, headers: &headers, remote: args.remote_ip, auth };
    let shown = match callback.shown(&visitor) {
        Ok(shown) => shown,
        Err(reason) => {
            say(&format!("callback: nothing to ask about: {reason}"));
            return Answer::Anonymous(reason.as_str());
        }
    };
    match callback.question(&shown).await {
        Ok(Verdict::User(user, _)) => {
            say(&format!("callback: {} names a user, groups {:?}", config.url.path(), user.groups));
            Answer::User(user.id)
        }
        Ok(Verdict::Nobody(reason)) => {
            say(&format!("callback: {} says nobody: {reason}", config.url.path()));
            Answer::Anonymous(reason.as_str())
        }
        Err(failure) => {
            say(&format!("callback: {failure}"));
            Answer::Unavailable
        }
    }
}

fn known(recipe: &Recipe, user: User, say: &impl Fn(&str)) -> Answer {
    say(&format!("session: user at {:?}, groups {:?}", recipe.user, user.groups));
    Answer::User(user.id)
}

async fn read(place: &RedisPlace, key: String) -> Result<Option<Vec<u8>>, AskError> {
    let store = Store::new(1, place, key.clone(), None);
    let store = store.map_err(|error| AskError::Away(error.to_string()))?;
    store.connect().await?;
    store.get(&key).await
}

#[expect(clippy::disallowed_methods, reason = "the time at which the question is asked")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
