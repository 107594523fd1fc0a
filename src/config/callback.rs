//! `[[identity]]` with `preset = "callback"`: where the web application says who somebody is, and what
//! it is shown for that.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Uri;
use actix_web::http::header::HeaderName;
use rustls::ClientConfig;

use super::identity::group_patterns;
use super::rules;
use super::section::Section;
use super::value::Size;
use crate::model::GroupPattern;
use crate::tls;

/// Whom to ask, how, and how often.
#[derive(Clone, Debug)]
pub struct CallbackIdentity {
    /// `http://` or `https://`.
    pub url: Uri,
    /// Whom to believe there, if it is `https://`.
    pub tls: Option<Arc<ClientConfig>>,
    /// For the whole exchange.
    pub timeout: Duration,
    /// The headers of a client's request that the application is shown.
    pub forward: Vec<HeaderName>,
    /// The member of a client's `auth` that becomes a bearer token; empty: none does.
    pub token: String,
    /// The largest answer that is read.
    pub max_bytes: usize,
    /// How often a connected user is asked about again.
    pub revalidate: Duration,
    /// How long connected users stay when the application is away.
    pub grace: Duration,
    /// How long an answer is good for the next connection that shows the same, unless it says so.
    pub cache: Duration,
    /// Groups that its users may join, besides those that the application lists.
    pub group_patterns: Arc<[GroupPattern]>,
}

/// Its own keys, and what they say when they say nothing: elsewhere they have no meaning.
pub(super) const KEYS: [(&str, &str); 3] =
    [("url", "\"\""), ("forward", "[]"), ("ca_file", "\"\"")];

/// The keys that it shares with sessions.
pub(super) const SHARED: [&str; 7] =
    ["token", "timeout", "max_bytes", "revalidate", "grace", "cache", "group_patterns"];

pub(super) fn read(section: &mut Section<'_>) -> CallbackIdentity {
    let url = section.take_if("url", String::new(), |url: &str| parse(url).map(drop));
    if url.value.is_empty() {
        let advice = "missing; where the web application says whose a request is, as \"http://127.0.0.1:8000/whoami\"";
        section.mistake(&url.source, "url", advice);
    }
    let url = parse(&url.value).unwrap_or_default();
    let file = section.take("ca_file", String::new());
    let mut tls = None;
    if url.scheme_str() == Some("https") {
        let path = Some(&file.value).filter(|path| !path.is_empty()).map(Path::new);
        match tls::client(path) {
            Ok(config) => tls = Some(config),
            Err(message) => section.mistake(&file.source, "ca_file", message),
        }
    } else if !file.value.is_empty() {
        section.mistake(&file.source, "ca_file", "has a meaning with an https:// url only");
    }
    let usual = vec!["cookie".to_owned()];
    let forward = section.take_if("forward", usual, |names: &[String]| headers(names).map(drop));
    let token = section.take("token", "token".to_owned()).value;
    if forward.value.is_empty() && token.is_empty() {
        let message = "nothing, and token is empty: the application could tell nobody from anybody";
        section.mistake(&forward.source, "forward", message);
    }
    CallbackIdentity {
        url,
        tls,
        timeout: section.take_if("timeout", Duration::from_secs(3), rules::a_moment).value,
        forward: headers(&forward.value).unwrap_or_default(),
        token,
        max_bytes: section.take_if("max_bytes", Size(256 << 10), rules::some_bytes).value.0,
        revalidate: section.take_if("revalidate", Duration::from_secs(60), rules::interval).value,
        grace: section.take("grace", Duration::from_secs(300)).value,
        cache: section.take("cache", Duration::from_secs(5)).value,
        group_patterns: group_patterns(section),
    }
}

fn parse(url: &str) -> Result<Uri, String> {
    let wrong = |why: &str| Err(format!("{why}; write http://host:port/path, or https://"));
    // Not the URL itself: a query may hold what is nobody's business.
    let Ok(uri) = url.parse::<Uri>() else { return wrong("no URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) || url.contains('#') {
        return wrong("no http:// URL");
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => wrong("no place for a password"),
        Some(authority) if !authority.host().is_empty() => Ok(uri),
        _ => wrong("it names no host"),
    }
}

fn headers(names: &[String]) -> Result<Vec<HeaderName>, String> {
    let header = |name: &String| {
        let name = name.parse::<HeaderName>().map_err(|_| format!("{name:?} is no header"))?;
        let text = name.as_str();
        let own = OWN.contains(&text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        if own { Err(format!("{text:?} is not the client's to say")) } else { Ok(name) }
    };
    let mut all: Vec<HeaderName> = names.iter().map(header).collect::<Result<_, _>>()?;
    all.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    all.dedup();
    Ok(all)
}

/// Headers of the hub's own request: of its connection, of what it wants to hear, of who asks.
const OWN: [&str; 15] = [
    "host",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "content-type",
    "expect",
    "range",
    "accept",
    "accept-encoding",
    "x-forwarded-for",
    "forwarded",
];

const PREFIXES: [&str; 4] = ["if-", "proxy-", "sec-websocket-", "content-"];
