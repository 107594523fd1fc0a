//! The first request of a connection, as the application sees it: who asks, from where, for what.

use std::fmt;
use std::net::IpAddr;

use actix_http::RequestHead;
use actix_http::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::web::Query;
use protocol::engine::Revision;

use crate::Config;
use crate::origin::Cors;
use crate::server::Place;

/// Kept until all namespaces are joined, then dropped: an idle connection does not pay for headers.
pub struct Handshake {
    /// The client's address: the peer's, or what a trusted proxy says of it.
    pub remote: Option<IpAddr>,
    /// The host the client asked for, with its port.
    pub host: String,
    /// Whether the client came by TLS: to a trusted proxy, if one says so, or else to this server.
    pub secure: bool,
    /// Whether it is a WebSocket from the start.
    pub websocket: bool,
    /// All headers, cookies among them.
    pub headers: HeaderMap,
    /// The query's parameters, in order, decoded.
    pub query: Vec<(String, String)>,
    /// What it takes of the limits, until a session takes it over.
    pub(crate) place: Option<Place>,
}

/// Without headers and query: cookies and tokens are in them.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Handshake {
    pub(crate) fn new(head: &RequestHead, config: &Config, websocket: bool) -> Self {
        // A listener on `::` sees IPv4 peers in IPv6's clothes.
        let peer = head.peer_addr.map(|addr| addr.ip().to_canonical());
        let trusted =
            peer.is_some_and(|ip| config.trusted_proxies.iter().any(|net| net.contains(&ip)));
        let forwarded = |name| if trusted { last(&head.headers, name) } else { None };
        Self {
            remote: forwarded("x-forwarded-for").and_then(|ip| ip.parse().ok()).or(peer),
            host: forwarded("x-forwarded-host")
                .or_else(|| text(&head.headers, &HOST))
                .unwrap_or_default()
                .to_owned(),
            secure: forwarded("x-forwarded-proto").map_or(config.tls, |proto| proto == "https"),
            websocket,
            headers: head.headers.clone(),
            query: query(head),
            place: None,
        }
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.query, name)
    }

    /// Which Engine.IO the client speaks, if the server lets it.
    pub(crate) fn revision(&self, config: &Config) -> Option<Revision> {
        match self.parameter("EIO") {
            Some("4") => Some(Revision::Four),
            Some("3") if config.eio3 => Some(Revision::Three),
            _ => None,
        }
    }

    /// A header's value, if there is exactly one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name);
        let first = values.next()?;
        if values.next().is_some() { None } else { first.to_str().ok() }
    }

    /// All cookies as one Cookie header; a client may send several.
    pub fn cookies(&self) -> Option<String> {
        let headers = self.headers.get_all(COOKIE);
        // Not all cookies are ASCII, and the others must not suffer from it.
        let headers: Vec<_> =
            headers.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        (!headers.is_empty()).then(|| headers.join("; "))
    }

    /// Bytes that are kept of the request, about.
    pub(crate) fn head_size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let query = self.query.iter().map(|(name, value)| name.len() + value.len());
        headers.chain(query).sum()
    }

    /// Whether it says where its page is from in a way that no browser does.
    pub(crate) fn origin_is_garbled(&self) -> bool {
        self.headers.get(ORIGIN).is_some_and(|value| value.to_str().is_err())
    }

    pub(crate) fn cors(&self, config: &Config) -> Option<Cors> {
        let scheme = if self.secure { "https" } else { "http" };
        let own = format!("{scheme}://{}", self.host);
        // An `Origin` that is not text is one that no rule allows.
        let origin = self.headers.get(ORIGIN).map(|value| value.to_str().unwrap_or_default());
        config.origins.judge(origin, self.is_far(), &own)
    }

    /// Whether the browser says that another origin's page has caused the request.
    fn is_far(&self) -> bool {
        let near = |value: &HeaderValue| matches!(value.as_bytes(), b"same-origin" | b"none");
        !self.headers.get_all("sec-fetch-site").all(near)
    }
}

/// The query's parameters; none if it cannot be read.
pub(crate) fn query(head: &RequestHead) -> Vec<(String, String)> {
    Query::from_query(head.uri.query().unwrap_or_default())
        .map(Query::into_inner)
        .unwrap_or_default()
}

pub(crate) fn parameter<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The last entry of a list header: the one that the nearest proxy has written.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get_all(name).last()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::Origins;

    fn handshake(config: &Config) -> Handshake {
        let request = TestRequest::with_uri("/socket.io/?EIO=4&user=a%20b")
            .peer_addr(([10, 0, 0, 1], 4711).into())
            .insert_header(("host", "hub.local:8080"))
            .insert_header(("origin", "https://app.example"))
            .insert_header(("x-forwarded-for", "6.6.6.6, 9.9.9.9"))
            .insert_header(("x-forwarded-proto", "https"))
            .insert_header(("x-forwarded-host", "app.example"))
            .to_request();
        Handshake::new(request.head(), config, false)
    }

    #[test]
    fn forwarded_headers_count_only_from_a_trusted_proxy() {
        let stranger = handshake(&Config::default());
        assert_eq!(stranger.remote, Some([10, 0, 0, 1].into()));
        assert_eq!((&*stranger.host, stranger.secure), ("hub.local:8080", false));
        assert_eq!(stranger.cors(&Config::default()), None);

        let trusting = Config {
            trusted_proxies: vec![IpAddr::from([10, 0, 0, 1]).into()],
            ..Config::default()
        };
        let proxied = handshake(&trusting);
        assert_eq!(proxied.remote, Some([9, 9, 9, 9].into()));
        assert_eq!((&*proxied.host, proxied.secure), ("app.example", true));
        assert_eq!(proxied.cors(&trusting), Some(Cors::None));
    }

    #[test]
    fn tls_makes_it_secure_unless_a_trusted_proxy_knows_better() {
        let request = |proto: &str| {
            let request = TestRequest::with_uri("/socket.io/?EIO=4")
                .peer_addr(([10, 0, 0, 1], 4711).into())
                .insert_header(("x-forwarded-proto", proto));
            request.to_request()
        };
        let config = Config { tls: true, ..Config::default() };
        assert!(Handshake::new(request("http").head(), &config, false).secure);
        let trusting =
            Config { trusted_proxies: vec![IpAddr::from([10, 0, 0, 1]).into()], ..config };
        assert!(!Handshake::new(request("http").head(), &trusting, false).secure);
    }

    #[test]
    fn page_is_known_by_its_origin_or_else_by_how_far_it_is() {
        let listed = Origins::List(vec!["https://app.example".to_owned()]);
        let own = "http://hub.local";
        // Origin; Sec-Fetch-Site; whether it passes with the own origin, with a list, with any.
        let table = [
            (None, None, [true, true, true]),
            (None, Some("none"), [true, true, true]),
            (None, Some("same-origin"), [true, true, true]),
            (None, Some("same-site"), [false, false, true]),
            (None, Some("cross-site"), [false, false, true]),
            (None, Some("x"), [false, false, true]),
            (None, Some(""), [false, false, true]),
            (Some(own), None, [true, false, true]),
            (Some(own), Some("same-origin"), [true, false, true]),
            (Some("https://app.example"), None, [false, true, true]),
            (Some("https://app.example"), Some("same-site"), [false, true, true]),
            (Some("https://app.example"), Some("cross-site"), [false, true, true]),
            (Some("https://evil.example"), None, [false, false, true]),
            (Some("https://evil.example"), Some("same-origin"), [false, false, true]),
            (Some("https://evil.example"), Some("cross-site"), [false, false, true]),
            (Some("null"), Some("cross-site"), [false, false, true]),
        ];
        for (origin, site, expected) in table {
            let mut request = TestRequest::with_uri("/socket.io/?EIO=4");
            request = request.insert_header(("host", "hub.local"));
            let headers = [("origin", origin), ("sec-fetch-site", site)];
            for (name, value) in headers.iter().filter_map(|(name, value)| Some((name, (*value)?)))
            {
                request = request.insert_header((*name, value));
            }
            let request = request.to_request();
            let passes = [Origins::Own, listed.clone(), Origins::Any].map(|origins| {
                let config = Config { origins, ..Config::default() };
                Handshake::new(request.head(), &config, false).cors(&config).is_some()
            });
            assert_eq!(passes, expected, "Origin {origin:?}, Sec-Fetch-Site {site:?}");
        }
    }

    #[test]
    fn query_is_decoded() {
        assert_eq!(handshake(&Config::default()).parameter("user"), Some("a b"));
    }
}
