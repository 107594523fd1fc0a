//! Cookies and stored sessions: any bytes name a user within bounds, or are refused by name.

use std::sync::OnceLock;
use std::time::Duration;

use identity::{BeakerKeys, IdFormat, Layer, Lookup, Pattern, Recipe, Secret};

use crate::wire::Script;

/// The way from a Cookie header and a stored value to a user, by one of the recipes below.
pub fn identity(data: &[u8]) {
    let mut script = Script(data);
    let recipes = recipes();
    let choice = usize::from(script.byte().unwrap_or_default());
    let recipe = recipes.get(choice % recipes.len()).unwrap();
    let header = String::from_utf8_lossy(script.bytes()).into_owned();
    // A part of the inputs carries a cookie of the right name, so that what is behind it is reached.
    let header = if choice & 0x80 == 0 { header } else { format!("sid={header}") };
    let now = Duration::from_secs(1_790_000_000);
    if let Ok(id) = recipe.session_id(Some(&header)) {
        assert_eq!(recipe.session_id(Some(&header)), Ok(id.clone()), "told twice differently");
        match recipe.lookup(&id) {
            Lookup::Key(key) => {
                assert!(key.starts_with("session:") && key.len() < header.len() + 64, "{key:?}");
            }
            Lookup::Value(value) => check(recipe, Some(value), now),
        }
    }
    check(recipe, Some(script.0), now);
    check(recipe, None, now);
}

fn check(recipe: &Recipe, value: Option<&[u8]>, now: Duration) {
    let Ok(user) = recipe.user(value, now) else { return };
    assert!(value.is_some(), "a user of no session");
    let names = [&user.id].into_iter().chain(&user.groups);
    for name in names {
        assert!((1..=256).contains(&name.len()), "{user:?}");
    }
    assert!(!user.id.chars().any(char::is_control), "{user:?}");
    assert!(user.groups.len() <= 1000, "{user:?}");
}

/// Every format of ids with every layer, some with keys that the input cannot know.
fn recipes() -> &'static [Recipe] {
    static RECIPES: OnceLock<Vec<Recipe>> = OnceLock::new();
    RECIPES.get_or_init(|| {
        let keys = BeakerKeys::new(b"encrypt", b"validate").unwrap();
        let layers: [&[&str]; 6] = [
            &["pickle"],
            &["json"],
            &["zlib", "pickle"],
            &["base64", "json"],
            &["base64", "zlib", "pickle"],
            &["beaker_aes_gcm", "pickle"],
        ];
        let hex = Recipe::pattern("[0-9a-f]{32}").unwrap();
        let ids: [(IdFormat, Option<Pattern>, bool); 4] = [
            (IdFormat::Raw, None, false),
            (IdFormat::Beaker, Some(hex.clone()), false),
            (IdFormat::Beaker, Some(hex), true),
            (IdFormat::BeakerCookie, None, false),
        ];
        let all = layers.iter().flat_map(|layers| ids.iter().map(move |id| (layers, id)));
        all.map(|(layers, (id, pattern, allow_unsigned))| Recipe {
            id: *id,
            cookie: "sid".to_owned(),
            secrets: Secret::new(b"secret").into_iter().collect(),
            allow_unsigned: *allow_unsigned,
            pattern: pattern.clone(),
            key: "session:{id}".to_owned(),
            unwrap: layers.iter().map(|name| Layer::parse(name, Some(&keys)).unwrap()).collect(),
            user: vec!["user".to_owned()],
            groups: vec!["groups".to_owned()],
            accessed: vec!["_accessed_time".to_owned()],
            timeout: Duration::from_secs(3_600),
            max_bytes: 64 << 10,
        })
        .collect()
    })
}
