//! What each preset says of a session; every key of it can be said otherwise.

/// Defaults of the keys of `[[identity]]`.
#[derive(Clone, Copy)]
pub(super) struct Preset {
    /// One of [`FORMATS`].
    pub(super) id: &'static str,
    pub(super) cookie: &'static str,
    pub(super) token: &'static str,
    pub(super) pattern: &'static str,
    pub(super) key: &'static str,
    pub(super) unwrap: &'static [&'static str],
    pub(super) user: &'static [&'static str],
    pub(super) accessed: &'static str,
    pub(super) expires: &'static [&'static str],
    pub(super) digest: &'static str,
}

/// What `id` can be.
pub(super) const FORMATS: [&str; 7] =
    ["beaker", "raw", "beaker_cookie", "express", "itsdangerous", "auth_tkt", "jwt"];

/// Every preset of a session.
pub(super) const ALL: [(&str, Preset); 9] = [
    ("beaker", BEAKER),
    ("beaker_redis", BEAKER_REDIS),
    ("beaker_cookie", BEAKER_COOKIE),
    ("auth_tkt", AUTH_TKT),
    ("pyramid", PYRAMID),
    ("django", DJANGO),
    ("flask", FLASK),
    ("express", EXPRESS),
    ("jwt", JWT),
];

pub(super) fn names() -> String {
    ALL.map(|(name, _)| name).join(", ")
}

/// What an identity without a preset begins with; nothing, if it does not say its format.
pub(super) fn of_format(id: &str) -> Option<Preset> {
    Some(match id {
        "raw" => NOTHING,
        "beaker" => BEAKER,
        "beaker_cookie" => BEAKER_COOKIE,
        "itsdangerous" => Preset { id: "itsdangerous", ..FLASK },
        "express" => EXPRESS,
        "auth_tkt" => AUTH_TKT,
        "jwt" => JWT,
        _ => return None,
    })
}

impl Preset {
    /// The same for another format. A cookie that holds something quite different is in nothing like
    /// the preset's.
    pub(super) fn with_format(self, id: &'static str) -> Self {
        let alike = match id {
            "itsdangerous" => matches!(self.id, "raw" | "itsdangerous"),
            "express" | "auth_tkt" | "jwt" => id == self.id,
            _ => true,
        };
        if alike { Self { id, ..self } } else { of_format(id).unwrap_or(self) }
    }
}

/// Everything has to be said.
const NOTHING: Preset = Preset {
    id: "raw",
    cookie: "",
    token: "",
    pattern: "",
    key: "",
    unwrap: &[],
    user: &[],
    accessed: "",
    expires: &[],
    digest: "md5",
};

/// beaker_extensions, and Beaker before 1.12.
const BEAKER: Preset = Preset {
    id: "beaker",
    cookie: "beaker.session.id",
    pattern: "[0-9a-f]{32}",
    key: "beaker:{id}:session",
    unwrap: &["pickle"],
    user: &["repoze.who.tkt", "user.id"],
    accessed: "_accessed_time",
    ..NOTHING
};

/// Beaker's own `ext:redis`, 1.12 and later.
const BEAKER_REDIS: Preset =
    Preset { key: "beaker_cache:{id}:session", unwrap: &["pickle", "base64", "pickle"], ..BEAKER };

/// Beaker's `session.type = cookie`.
const BEAKER_COOKIE: Preset =
    Preset { id: "beaker_cookie", pattern: "", key: "", unwrap: &["base64", "pickle"], ..BEAKER };

/// repoze.who and Paste.
const AUTH_TKT: Preset =
    Preset { id: "auth_tkt", cookie: "auth_tkt", user: &["userid"], ..NOTHING };

/// Pyramid's AuthTktCookieHelper, 2.0 and later.
const PYRAMID: Preset = Preset { digest: "sha512", ..AUTH_TKT };

/// `sessions.backends.cache` on Django's RedisCache, 4.0 and later, or on django-redis.
const DJANGO: Preset = Preset {
    cookie: "sessionid",
    pattern: "[a-z0-9]{32}",
    key: ":1:django.contrib.sessions.cache{id}",
    unwrap: &["pickle"],
    user: &["_auth_user_id"],
    ..NOTHING
};

/// Flask-Session 0.6 and later, with Flask-Login. An id of before is a UUID, 36 characters.
const FLASK: Preset = Preset {
    cookie: "session",
    pattern: "[A-Za-z0-9_-]{22,86}",
    key: "session:{id}",
    unwrap: &["msgpack"],
    user: &["_user_id"],
    ..NOTHING
};

/// express-session with connect-redis and passport. An application may make its own ids.
const EXPRESS: Preset = Preset {
    id: "express",
    cookie: "connect.sid",
    pattern: "[A-Za-z0-9_-]{16,128}",
    key: "sess:{id}",
    unwrap: &["json"],
    user: &["passport", "user"],
    expires: &["cookie", "expires"],
    ..NOTHING
};

/// Whoever signs tokens.
const JWT: Preset = Preset { id: "jwt", token: "token", user: &["sub"], ..NOTHING };
