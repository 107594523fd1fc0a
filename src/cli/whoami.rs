//! `whoami`: whom a cookie belongs to, by the configured identities; and with `-v`, each step of the way.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer, and how it came about")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use identity::{Credentials, Lookup, Reason, Recipe, User};
use serde_json::json;

use super::{Exit, WhoamiArgs, run};
use crate::clients::store::{AskError, Store};
use crate::config::{Config, Identity, SessionIdentity, Sources};

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
    let mut answer = Answer::Anonymous("no_user");
    for (place, identity) in config.identities.iter().enumerate() {
        let say = |step: &str| {
            if args.verbose {
                eprintln!("identity {}: {step}", place + 1);
            }
        };
        match identity {
            Identity::Dev => say("dev: takes no cookies; a client says itself who it is"),
            Identity::Session(session) => {
                match follow(session, &config.redis, &args.cookie, now, &say).await {
                    Answer::User(user) => return Answer::User(user),
                    // Whose this cookie is may be known again soon; nobody else may be taken for it.
                    Answer::Unavailable => return Answer::Unavailable,
                    Answer::Anonymous(reason) => {
                        if matches!(answer, Answer::Anonymous("no_user" | "no_cookie")) {
                            answer = Answer::Anonymous(reason);
                        }
                    }
                }
            }
        }
    }
    answer
}

/// The chain of one identity. Neither ids nor secrets are shown.
async fn follow(
    session: &SessionIdentity,
    redis: &str,
    cookies: &str,
    now: Duration,
    say: &impl Fn(&str),
) -> Answer {
    let recipe = &session.recipe;
    let shown = Credentials { cookies: Some(cookies) };
    let judged = recipe.credential(&shown).and_then(|credential| recipe.lookup(&credential, now));
    let key = match judged {
        Ok(Lookup::User(user)) => {
            say(&format!("cookie {:?}: there, and its signature is good", recipe.cookie));
            return known(recipe, user, say);
        }
        Ok(Lookup::Key(key)) => key,
        Err(reason) => {
            say(&format!("cookie {:?}: {reason}", recipe.cookie));
            return Answer::Anonymous(reason.as_str());
        }
    };
    say(&format!("cookie {:?}: there, and its id is one of the application's", recipe.cookie));
    let value = read(session.store_url(redis), key).await;
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
    match &value {
        Some(value) => say(&format!("store: key {:?} holds {} bytes", recipe.key, value.len())),
        None => say(&format!("store: key {:?} does not exist for this id", recipe.key)),
    }
    match recipe.user(value.as_deref(), now) {
        Ok(user) => known(recipe, user, say),
        Err(reason) => {
            say(&format!("session: {reason} (unwrap {:?}, user {:?})", recipe.unwrap, recipe.user));
            Answer::Anonymous(reason.as_str())
        }
    }
}

fn known(recipe: &Recipe, user: User, say: &impl Fn(&str)) -> Answer {
    say(&format!("session: user at {:?}, groups {:?}", recipe.user, user.groups));
    Answer::User(user.id)
}

async fn read(url: &str, key: String) -> Result<Option<Vec<u8>>, AskError> {
    let store = Store::new(1, url, key.clone(), None);
    let store = store.map_err(|error| AskError::Away(error.to_string()))?;
    store.connect().await?;
    store.get(&key).await
}

#[expect(clippy::disallowed_methods, reason = "the time at which the question is asked")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
