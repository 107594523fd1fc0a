//! Which pages' scripts may connect. WebSocket knows no same-origin policy, and a browser sends the
//! user's cookies along from any page: so the server itself must look at `Origin`. With a request that
//! only fetches, as an image, browsers send none, but say in `Sec-Fetch-Site` how far its page is.

/// The rule for requests that carry an `Origin` header. One without it passes unless its browser says
/// (Fetch Metadata, `Sec-Fetch-Site`) that another origin's page has caused it:
///
/// | `Origin` | `Sec-Fetch-Site` | passes |
/// |---|---|---|
/// | allowed | any, or none at all | yes |
/// | another, or `null` | any, or none at all | no |
/// | none | none at all: no browser, or an old one | yes |
/// | none | `same-origin`: the server's own page; `none`: the user, by the address bar | yes |
/// | none | `same-site`, `cross-site`, or what nobody knows yet | no, unless all pages are allowed |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Only the page's own: `Origin` equals the scheme and host that the request was sent to.
    #[default]
    Own,
    /// These, and no others.
    List(Vec<String>),
    /// Every page. Only for an application that does not know users by cookies.
    Any,
}

/// What the answer says to a browser (Fetch standard, "CORS protocol").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cors {
    /// Nothing: not a browser, or the page's own origin.
    None,
    /// `Access-Control-Allow-Origin` with this origin, and credentials.
    Origin(String),
    /// `Access-Control-Allow-Origin: *`, hence without credentials.
    Any,
}

impl Origins {
    /// `None` if the origin may not connect. `own` is the request's own origin, `scheme://host`.
    /// `far`: whether the browser says that another origin's page has caused the request.
    pub(crate) fn judge(&self, origin: Option<&str>, far: bool, own: &str) -> Option<Cors> {
        let Some(origin) = origin else {
            return (!far || *self == Self::Any).then_some(Cors::None);
        };
        match self {
            Self::Own => origin.eq_ignore_ascii_case(own).then_some(Cors::None),
            Self::List(allowed) => allowed
                .iter()
                .any(|one| one.eq_ignore_ascii_case(origin))
                .then(|| Cors::Origin(origin.to_owned())),
            Self::Any => Some(Cors::Any),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_origin_is_scheme_host_and_port() {
        let own = "http://example.org:8080";
        let judge = |origin| Origins::Own.judge(Some(origin), false, own);
        assert_eq!(judge("http://example.org:8080"), Some(Cors::None));
        assert_eq!(judge("HTTP://EXAMPLE.ORG:8080"), Some(Cors::None));
        for other in
            ["https://example.org:8080", "http://example.org", "http://evil.example", "null", ""]
        {
            assert_eq!(judge(other), None, "{other}");
        }
        assert_eq!(Origins::Own.judge(None, false, own), Some(Cors::None));
    }

    #[test]
    fn listed_origins_are_named_in_the_answer() {
        let list = Origins::List(vec!["https://app.example".to_owned()]);
        let answer = Cors::Origin("https://app.example".to_owned());
        assert_eq!(list.judge(Some("https://app.example"), true, "http://hub"), Some(answer));
        assert_eq!(list.judge(Some("http://hub"), false, "http://hub"), None);
        assert_eq!(Origins::Any.judge(Some("http://x"), true, "http://hub"), Some(Cors::Any));
    }
}
