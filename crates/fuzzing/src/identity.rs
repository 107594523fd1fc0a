//! Who is this: a cookie header, a value of a store, and the recipes between them.

use std::sync::OnceLock;
use std::time::Duration;

use identity::{
    Algorithm, BeakerKeys, Credentials, Digest, IdFormat, Layer, Lookup, Reason, Recipe, Secret,
    Tickets, Tokens, User,
};

/// The recipe's number, a cookie header up to the first line break, and the session's value behind it:
/// a user, or a refusal of the step that it came to.
pub fn identity(data: &[u8]) {
    let Some((number, rest)) = data.split_first() else { return };
    let recipes = recipes();
    let recipe = recipes.iter().cycle().nth((*number).into()).unwrap();
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (header, value) = rest.split_at(end);
    let value = value.get(1..).unwrap_or_default();
    if let Ok(header) = std::str::from_utf8(header) {
        check_header(recipe, header);
    }
    check_value(recipe, value);
}

fn check_header(recipe: &Recipe, header: &str) {
    let remote = Some("192.0.2.7".parse().unwrap());
    let shown = |cookies| recipe.credential(&Credentials { cookies, token: None, remote });
    assert_eq!(shown(None), Err(Reason::NoCookie));
    let found = shown(Some(header));
    // Other cookies, and the same once more, make no difference.
    let crowded = format!("_zz=1; {header};{header}; zz_=\"");
    assert_eq!(shown(Some(&crowded)), found, "{header:?}");
    let Ok(credential) = found else { return };
    match recipe.lookup(&credential, NOW) {
        Err(reason) if recipe.has_store() => assert!(
            matches!(reason, Reason::Malformed | Reason::BadSignature | Reason::BadId),
            "{reason}"
        ),
        Err(_) => {}
        Ok(Lookup::Key(key)) => {
            let (head, tail) = recipe.key.split_once("{id}").unwrap();
            let id = key.strip_prefix(head).and_then(|id| id.strip_suffix(tail)).unwrap();
            // Express encodes what it sets.
            let as_it_is = header.contains(id) || header.contains('%');
            assert!((1..=256).contains(&id.len()) && as_it_is, "{id:?}");
            assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
            assert!(recipe.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id)));
        }
        Ok(Lookup::User(user)) => check_user(&user),
    }
}

fn check_value(recipe: &Recipe, value: &[u8]) {
    assert_eq!(recipe.user(None, NOW), Err(Reason::NoSession));
    let found = recipe.user(Some(value), NOW);
    let earlier = recipe.user(Some(value), Duration::ZERO);
    match &found {
        Ok(user) => {
            check_user(user);
            // Time alone ends a session, and only if the recipe says so.
            assert_eq!(earlier, found);
            let later = recipe.user(Some(value), 10 * NOW);
            let ends = !recipe.timeout.is_zero() || !recipe.expires.is_empty();
            let over = ends && later == Err(Reason::Expired);
            assert!(over || later == found, "{later:?}");
        }
        Err(Reason::Expired) => {
            assert!(!recipe.timeout.is_zero() || !recipe.expires.is_empty());
        }
        Err(reason) => {
            assert_eq!(earlier.as_ref(), Err(reason));
            assert!(
                matches!(
                    reason,
                    Reason::Corrupt | Reason::TooDeep | Reason::TooLarge | Reason::NoUser
                ),
                "{reason}"
            );
        }
    }
}

fn check_user(user: &User) {
    let plain =
        |name: &String| (1..=256).contains(&name.len()) && !name.chars().any(char::is_control);
    assert!(plain(&user.id), "{user:?}");
    assert!(user.groups.iter().all(plain) && user.groups.len() <= 1_000, "{user:?}");
    assert!(user.groups.is_sorted_by(|a, b| a < b), "{user:?}");
}

const NOW: Duration = Duration::from_secs(1_767_225_600);

/// One of each kind of application; their numbers are in the corpus, so new ones go to the end.
fn recipes() -> &'static [Recipe] {
    static RECIPES: OnceLock<Vec<Recipe>> = OnceLock::new();
    RECIPES.get_or_init(|| {
        let path = |path: &str| -> Vec<String> { path.split(' ').map(str::to_owned).collect() };
        let base = Recipe {
            id: IdFormat::Beaker,
            cookie: "beaker.session.id".to_owned(),
            secrets: vec![Secret::new(b"s3cr3t").unwrap()],
            allow_unsigned: false,
            pattern: Some(Recipe::pattern("[0-9a-f]{32}").unwrap()),
            key: "beaker_cache:{id}:session".to_owned(),
            unwrap: vec![Layer::Pickle, Layer::Base64, Layer::Pickle],
            user: path("repoze.who.tkt user.id"),
            groups: Vec::new(),
            accessed: path("_accessed_time"),
            timeout: Duration::from_secs(600),
            expires: Vec::new(),
            max_bytes: 64 << 10,
        };
        let keys = BeakerKeys::new(b"ek", b"vk").unwrap();
        vec![
            base.clone(),
            Recipe {
                secrets: Vec::new(),
                allow_unsigned: true,
                unwrap: vec![Layer::Pickle],
                groups: path("groups"),
                timeout: Duration::ZERO,
                ..base.clone()
            },
            Recipe {
                id: IdFormat::BeakerCookie,
                secrets: vec![Secret::new(b"vk").unwrap(), Secret::new(b"s3cr3t").unwrap()],
                pattern: None,
                key: String::new(),
                unwrap: vec![Layer::Base64, Layer::Pickle],
                ..base.clone()
            },
            Recipe {
                id: IdFormat::Raw,
                cookie: "sessionid".to_owned(),
                pattern: None,
                key: ":1:django.contrib.sessions.cache{id}".to_owned(),
                unwrap: vec![Layer::Zlib, Layer::Pickle],
                user: path("_auth_user_id"),
                timeout: Duration::ZERO,
                ..base.clone()
            },
            Recipe {
                id: IdFormat::Raw,
                cookie: "session".to_owned(),
                pattern: None,
                key: "session:{id}".to_owned(),
                unwrap: vec![Layer::Json],
                user: path("user id"),
                groups: path("groups"),
                accessed: path("at"),
                ..base.clone()
            },
            Recipe { unwrap: vec![Layer::BeakerAesGcm(keys), Layer::Pickle], ..base.clone() },
            Recipe {
                id: IdFormat::Express,
                cookie: "connect.sid".to_owned(),
                pattern: None,
                key: "sess:{id}".to_owned(),
                unwrap: vec![Layer::Json],
                user: path("passport user"),
                timeout: Duration::ZERO,
                expires: path("cookie expires"),
                ..base.clone()
            },
            Recipe {
                id: IdFormat::Itsdangerous { salt: "flask-session".to_owned() },
                cookie: "session".to_owned(),
                pattern: None,
                key: "session:{id}".to_owned(),
                unwrap: vec![Layer::Msgpack],
                user: path("_user_id"),
                groups: path("groups"),
                accessed: path("at"),
                ..base.clone()
            },
            Recipe {
                id: IdFormat::AuthTkt(Tickets {
                    digest: Digest::Md5,
                    include_ip: true,
                    base64: false,
                    max_skew: Duration::from_secs(300),
                }),
                cookie: "auth_tkt".to_owned(),
                user: path("userid"),
                groups: path("tokens"),
                ..base.clone()
            },
            Recipe {
                id: IdFormat::Jwt(Box::new(Tokens {
                    alg: Algorithm::HS256,
                    keys: Vec::new(),
                    issuer: "https://id.example".to_owned(),
                    audience: "hub".to_owned(),
                    leeway: Duration::from_secs(60),
                })),
                cookie: "token".to_owned(),
                user: path("sub"),
                groups: path("groups"),
                ..base
            },
        ]
    })
}
