//! Settings as users write them, and what they are told.

use super::*;

fn read(text: &str) -> Result<Config, Vec<String>> {
    read_with(text, &[], &[])
}

fn read_with(
    text: &str,
    environment: &[(&str, &str)],
    set: &[&str],
) -> Result<Config, Vec<String>> {
    let mut mistakes = Vec::new();
    let mut tree = Tree::default();
    tree.merge_file(Path::new("config.toml"), text, &mut mistakes);
    let variables = environment.iter().map(|(name, value)| (name.into(), value.into()));
    tree.merge_environment(variables, &mut mistakes);
    for pair in set {
        tree.merge_set(pair, &mut mistakes);
    }
    let config = tables::read(tree, false, &mut mistakes);
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() {
        Ok(config)
    } else {
        Err(mistakes.iter().map(Mistake::to_string).collect())
    }
}

const DEV: &str = "[[identity]]\npreset = \"dev\"\n";

/// What one mistake is told as; there must be just one.
fn mistake(text: &str) -> String {
    let mistakes = read(&format!("{text}\n{DEV}")).err().unwrap_or_default();
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    mistakes[0].clone()
}

#[test]
fn shipped_file_is_valid_and_says_the_defaults() {
    let shipped = read(include_str!("../../config.toml")).unwrap();
    let defaults = read(DEV).unwrap();
    assert_eq!(format!("{shipped:?}"), format!("{defaults:?}"));
}

/// Each commented line of the shipped file is a key that exists, too.
#[test]
fn shipped_file_is_valid_with_every_line_active() {
    let text = include_str!("../../config.toml");
    let active: String = text
        .lines()
        .map(|line| line.strip_prefix("#:").map_or(line, str::trim_start).to_owned() + "\n")
        .collect();
    assert!(active.matches("\n[").count() >= 8, "the file has lost its tables");
    let mistakes = read(&active).err().unwrap_or_default();
    let wrong: Vec<_> = mistakes.iter().filter(|one| !one.contains("not available yet")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn mistakes_say_where_and_what_would_be_right() {
    let cases = [
        (
            "[server]\nlistne = \"127.0.0.1:1\"",
            "config.toml:2: server.listne: unknown key; did you mean \"listen\"?",
        ),
        (
            "[server]\nlisten = \"localhost\"",
            "config.toml:2: server.listen: \"localhost\" is no address to listen on; write host:port, as \"127.0.0.1:8080\"",
        ),
        (
            "[socketio]\nping_interval = \"soon\"",
            "config.toml:2: socketio.ping_interval: \"soon\" is no duration; write a duration like \"25s\", \"10m\", \"24h\", or whole seconds",
        ),
        (
            "[socketio]\nrecovery = \"1h\"",
            "config.toml:2: socketio.recovery: not available yet; leave it out (it is \"30d\")",
        ),
        ("[sever]", "config.toml:1: sever: unknown table; did you mean [server]?"),
        (
            "[inbox]\nstore = \"redis\"",
            "config.toml:2: inbox.store: \"redis\" is not available yet",
        ),
        ("[log]\nformat = \"xml\"", "config.toml:2: log.format: \"xml\" is none of text, json"),
        (
            "[admin]\nlisten = \"0.0.0.0:1\"",
            "config.toml:2: admin.listen: outside loopback it needs a token, which is not available yet; listen on 127.0.0.1",
        ),
        (
            "[server]\nlisten = \"0.0.0.0:1\"",
            "config.toml:2: server.listen: identity \"dev\" believes everyone, so the hub must listen on loopback (127.0.0.1)",
        ),
        (
            "[[notifier]]\ntype = \"pull\"\nbind = \"tcp://127.0.0.1:1\"",
            "config.toml:1: notifier.name: missing; give it one, as log and metrics call it by that",
        ),
        (
            "[[notifier]]\nname = \"a\"\nbind = \"tcp://0.0.0.0:1\"",
            "config.toml:3: notifier.bind: anyone who reaches it could notify anyone: bind to 127.0.0.1, or say insecure = true",
        ),
        (
            "[[notifier]]\nname = \"a\"",
            "config.toml:1: notifier.connect: missing; say connect = [\"tcp://…\"] or bind = \"tcp://…\"",
        ),
        (
            "[[notifier]]\nname = \"a\"\nconnect = [\"http://x\"]",
            "config.toml:3: notifier.connect: \"http://x\" is no endpoint; write tcp://host:port or ipc:///path",
        ),
        (
            "[directory]\nconnect = \"directory:5550\"",
            "config.toml:2: directory.connect: \"directory:5550\" is no endpoint; write tcp://host:port or ipc:///path",
        ),
        ("[directory]\nrefresh = 0", "config.toml:2: directory.refresh: must be more than nothing"),
    ];
    for (text, expected) in cases {
        assert_eq!(mistake(text), expected);
    }
}

#[test]
fn identity_must_be_said() {
    assert_eq!(read("").err().unwrap_or_default().len(), 1);
    assert!(read("[[identity]]").err().unwrap_or_default()[0].contains("missing"));
    let whom = read("[[identity]]\npreset = \"callback\"").err().unwrap_or_default();
    assert!(whom[0].starts_with("config.toml:1: identity.url: missing"), "{whom:?}");
}

fn session(text: &str) -> Result<SessionIdentity, Vec<String>> {
    let config = read(&format!("[[identity]]\n{text}"))?;
    match config.identities.into_iter().next() {
        Some(Identity::Session(session)) => Ok(*session),
        other => panic!("{other:?}"),
    }
}

#[test]
fn presets_fill_in_what_is_not_said() {
    let beaker = session("preset = \"beaker\"\nsecrets = [\"s\"]").unwrap();
    assert_eq!(beaker.recipe.key, "beaker:{id}:session");
    assert_eq!(beaker.recipe.user, ["repoze.who.tkt", "user.id"]);
    assert_eq!(beaker.redis, "");
    assert_eq!(beaker.revalidate, std::time::Duration::from_secs(60));

    let said = "preset = \"beaker_redis\"\nsecrets = [\"s\"]\nunwrap = [\"pickle\"]\n\
                redis = \"redis://one/3\"\nrevalidate = \"2s\"";
    let said = session(said).unwrap();
    assert_eq!(said.recipe.key, "beaker_cache:{id}:session");
    assert_eq!(said.recipe.unwrap.len(), 1);
    assert_eq!(said.redis, "redis://one/3");
    assert_eq!(said.revalidate, std::time::Duration::from_secs(2));
}

#[test]
fn each_format_has_its_defaults() {
    use ::identity::{Algorithm, IdFormat};
    let express = session("preset = \"express\"\nsecrets = [\"s\"]").unwrap().recipe;
    assert_eq!((&*express.key, &*express.cookie), ("sess:{id}", "connect.sid"));
    assert_eq!(express.expires, ["cookie", "expires"]);
    // A format says enough; one that is not the preset's brings its own defaults.
    for text in ["", "preset = \"beaker\"\n"] {
        let said = session(&format!("{text}id = \"express\"\nsecrets = [\"s\"]")).unwrap().recipe;
        assert_eq!((&*said.key, &said.user), (&*express.key, &express.user));
    }
    let signed = "preset = \"flask\"\nid = \"itsdangerous\"\nsecrets = [\"s\"]";
    let signed = session(signed).unwrap().recipe;
    assert!(matches!(signed.id, IdFormat::Itsdangerous { salt } if salt == "flask-session"));
    let django = session("preset = \"django\"").unwrap().recipe;
    assert!(django.has_store() && django.secrets.is_empty());
    let pyramid = session("preset = \"pyramid\"\nsecrets = [\"s\"]\ntimeout = 60").unwrap();
    assert!(!pyramid.recipe.has_store() && pyramid.token.is_empty());
    assert!(format!("{:?}", pyramid.recipe.id).contains("Sha512"));
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/identity/tests/vectors/jwt_rsa.pem");
    let jwt = format!("preset = \"jwt\"\nalg = \"PS256\"\npublic_key_file = {pem:?}");
    let jwt = session(&jwt).unwrap();
    let IdFormat::Jwt(tokens) = &jwt.recipe.id else { panic!("{:?}", jwt.recipe.id) };
    assert_eq!((tokens.alg, tokens.keys.len()), (Algorithm::PS256, 1));
    assert_eq!((&*jwt.token, &*jwt.recipe.cookie), ("token", ""));
}

#[test]
fn sessions_that_could_not_work_are_mistakes() {
    let cases = [
        ("preset = \"express\"", "identity.secrets: none"),
        ("preset = \"auth_tkt\"", "identity.secrets: none"),
        ("preset = \"jwt\"", "identity.secrets: none"),
        ("id = \"itsdangerous\"", "identity.secrets: none"),
        ("id = \"raw\"", "identity.cookie: must not be empty"),
        ("preset = \"jwt\"\nalg = \"none\"", "identity.alg: \"none\" is none of HS256"),
        (
            "preset = \"jwt\"\nalg = \"RS256\"",
            "identity.public_key_file: none; RS256 needs public_key_file or jwks_file",
        ),
        (
            "preset = \"jwt\"\nalg = \"RS256\"\nsecrets = [\"s\"]",
            "identity.secrets: its keys are public with this alg; leave the secrets out",
        ),
        (
            "preset = \"jwt\"\nsecrets = [\"s\"]\njwks_file = \"x\"",
            "identity.jwks_file: has no meaning with alg = \"HS256\", whose keys are secrets",
        ),
        ("preset = \"jwt\"\nsecrets = [\"s\"]\nleeway = \"1h\"", "identity.leeway: at most 10m"),
        (
            "preset = \"jwt\"\nsecrets = [\"s\"]\nunwrap = [\"json\"]",
            "identity.unwrap: has no meaning where the cookie itself names the user",
        ),
        (
            "preset = \"express\"\nsecrets = [\"s\"]\nsalt = \"x\"",
            "identity.salt: has a meaning with id = \"itsdangerous\" alone",
        ),
        (
            "preset = \"express\"\nallow_unsigned = true",
            "identity.allow_unsigned: has a meaning with id = \"beaker\" alone",
        ),
        (
            "preset = \"auth_tkt\"\nsecrets = [\"s\"]\ngroups = [\"a\"]",
            "identity.groups: a ticket has its tokens alone, [\"tokens\"]",
        ),
        (
            "preset = \"flask\"\nunwrap = [\"msgpack\", \"json\"]",
            "identity.unwrap: nothing can be inside msgpack; it must be the last layer",
        ),
        ("preset = \"beaker\"", "identity.secrets: none; put the application's session secret"),
        ("preset = \"beaker\"\nsecrets_file = \"/none\"", "identity.secrets_file: cannot read"),
        (
            "preset = \"dev\"\nsecrets = [\"s\"]",
            "identity.secrets: has no meaning with preset \"dev\"",
        ),
        (
            "preset = \"beaker\"\nsecrets = [\"s\"]\nkey = \"beaker:session\"",
            "identity.key: \"beaker:session\" does not say where the {id} goes",
        ),
        (
            "preset = \"beaker\"\nsecrets = [\"s\"]\nunwrap = [\"pickle\", \"base64\"]",
            "identity.unwrap: the last layer must be pickle, json or msgpack",
        ),
        (
            "preset = \"beaker\"\nsecrets = [\"s\"]\npattern = \"[\"",
            "identity.pattern: \"[\" is no regular expression: unclosed character class",
        ),
        (
            "preset = \"beaker\"\nsecrets = [\"s\"]\nredis = \"http://:hunter2@one\"",
            "identity.redis: no Redis URL",
        ),
        (
            "preset = \"beaker\"\nsecrets = [\"s\"]\nrevalidate = 0",
            "identity.revalidate: must be between 100ms and 30d",
        ),
        (
            "preset = \"beaker\"\nid = \"raw\"\nsecrets = [\"s\"]",
            "identity.secrets: nothing is signed with id = \"raw\"; leave them out",
        ),
        (
            "preset = \"beaker\"\nid = \"raw\"\ntimeout = 60\naccessed = \"\"",
            "identity.timeout: counts from the time of last use at `accessed`, which is empty",
        ),
        (
            "preset = \"beaker\"\nid = \"raw\"\nunwrap = [\"json\", \"pickle\"]",
            "identity.unwrap: nothing can be inside json; it must be the last layer",
        ),
    ];
    for (text, expected) in cases {
        let mistakes = session(text).unwrap_err().join("\n");
        assert!(mistakes.contains(expected), "{text}: {mistakes}");
        assert!(!mistakes.contains("hunter2"), "a password in {mistakes}");
    }
}

#[test]
fn syntax_errors_do_not_hide_the_other_mistakes() {
    let mistakes = read(&format!("[server]\nworkers = = 1\n{DEV}[log]\nlevl = \"info\"\n")).err();
    let mistakes = mistakes.unwrap_or_default();
    assert!(mistakes.len() >= 2, "{mistakes:#?}");
    assert!(mistakes.iter().any(|one| one.starts_with("config.toml:2: ")), "{mistakes:#?}");
    assert!(mistakes.iter().any(|one| one.contains("did you mean \"level\"?")), "{mistakes:#?}");
}

#[test]
fn environment_wins_over_the_file_and_set_over_both() {
    let text = format!("[server]\nworkers = 1\npath = \"/a/\"\n[log]\nlevel = \"warn\"\n{DEV}");
    let environment =
        [("PREGON__SERVER__WORKERS", "2"), ("PREGON__SERVER__PATH", "/b/"), ("HOME", "x")];
    let config = read_with(&text, &environment, &["server.workers=3"]).unwrap();
    assert_eq!(
        (config.server.workers, &*config.server.path, &*config.log.level),
        (3, "/b/", "warn")
    );
    let mistakes = read_with(&text, &[("PREGON__SERVER__WORKER", "2")], &["log.level"]).err();
    let mistakes = mistakes.unwrap_or_default();
    let expected =
        "environment PREGON__SERVER__WORKER: server.worker: unknown key; did you mean \"workers\"?";
    assert!(mistakes.iter().any(|one| one == expected), "{mistakes:#?}");
    assert!(
        mistakes.iter().any(|one| one.contains("write it as table.key=value")),
        "{mistakes:#?}"
    );
}

#[test]
fn limits_that_would_shut_everybody_out_are_mistakes() {
    let cases = [
        ("[server]\nmax_unjoined = 0", "max_unjoined: 0 would be none at all"),
        ("[server]\nrequest_timeout = \"200ms\"", "request_timeout: at least a second"),
        ("[socketio]\nmax_attachments = 0", "max_attachments: 0 would be none at all"),
        ("[socketio]\nattachment_timeout = 0", "attachment_timeout: must be more than nothing"),
        ("[socketio]\nmax_namespaces = 0", "max_namespaces: 0 would be none at all"),
    ];
    for (text, expected) in cases {
        let told = mistake(text);
        assert!(told.contains(expected), "{told}");
    }
}
