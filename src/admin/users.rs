//! `/api/users/…`: what an operator, or the web application, does about one user.
//!
//! These paths change something, so a browser must not be made to call them: [`from_a_foreign_page`].

use actix_web::dev::RequestHead;
use actix_web::http::header::{HOST, ORIGIN};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use log::info;
use serde_json::json;

use super::Hub;
use crate::model::UserId;
use crate::registry::Disconnect;

/// `POST /api/users/{user}/disconnect`: every connection of the user hears `session:end` and is ended.
pub(super) async fn disconnect(hub: Data<Hub>, request: HttpRequest) -> HttpResponse {
    let user = request
        .uri()
        .path()
        .strip_prefix("/api/users/")
        .and_then(|rest| rest.strip_suffix("/disconnect"))
        .and_then(identity::percent_decoded)
        .and_then(|user| UserId::new(&user).ok());
    let Some(user) = user else {
        let message = "a user is 1 to 256 bytes of UTF-8, percent-encoded";
        return HttpResponse::BadRequest().json(json!({"error": "bad_id", "message": message}));
    };
    match hub.registry.send(Disconnect(user)).await {
        Ok(disconnected) => {
            info!("user disconnected by=admin connections={disconnected}");
            HttpResponse::Ok().json(json!({"disconnected": disconnected}))
        }
        Err(_) => HttpResponse::ServiceUnavailable().json(json!({"error": "broken"})),
    }
}

/// Whether a browser sends this for a page that is not this listener's own. Every browser of these days
/// names the page's origin with whatever is not GET or HEAD; who is no browser names none.
pub(super) fn from_a_foreign_page(head: &RequestHead) -> bool {
    let text = |name| head.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(HOST.as_str()).unwrap_or_default();
    let foreign = |origin: &str| {
        origin.strip_prefix("http://").is_none_or(|own| !own.eq_ignore_ascii_case(host))
    };
    text(ORIGIN.as_str()).is_some_and(foreign)
        || text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_programs_and_its_own_pages_may_change_something() {
        let foreign = |headers: &[(&'static str, &'static str)]| {
            let request = TestRequest::post().insert_header(("host", "localhost:8081"));
            let request = headers.iter().fold(request, |request, one| request.insert_header(*one));
            from_a_foreign_page(request.to_request().head())
        };
        assert!(!foreign(&[]));
        assert!(!foreign(&[
            ("origin", "http://localhost:8081"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(!foreign(&[("sec-fetch-site", "none")]));
        for origin in
            ["null", "", "http://localhost", "https://localhost:8081", "http://127.0.0.1:8081"]
        {
            assert!(foreign(&[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", ""] {
            assert!(foreign(&[("sec-fetch-site", site)]), "{site}");
        }
    }
}
