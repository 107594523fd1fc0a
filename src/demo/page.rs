//! The demo's page and its two small endpoints.

use actix_web::guard;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{self, Data, Json, JsonConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, error::InternalError};
use serde::Deserialize;
use serde_json::json;

use super::Running;
use crate::config::names_loopback;
use crate::model::Address;

/// The page's files: name, type, content.
const FILES: [(&str, &str, &str); 10] = [
    ("index.html", HTML, include_str!("../../static/demo/index.html")),
    ("base.css", "text/css; charset=utf-8", include_str!("../../static/demo/base.css")),
    ("demo.css", "text/css; charset=utf-8", include_str!("../../static/demo/demo.css")),
    ("demo.js", SCRIPT, include_str!("../../static/demo/demo.js")),
    ("address.js", SCRIPT, include_str!("../../static/demo/address.js")),
    ("connection.js", SCRIPT, include_str!("../../static/demo/connection.js")),
    ("feed.js", SCRIPT, include_str!("../../static/demo/feed.js")),
    ("i18n.js", SCRIPT, include_str!("../../static/demo/i18n.js")),
    ("send.js", SCRIPT, include_str!("../../static/demo/send.js")),
    ("terminal.js", SCRIPT, include_str!("../../static/demo/terminal.js")),
];

const MARK: &str = include_str!("../../static/demo/mark.svg");
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Characters of a text that the page may send.
const MAX_TEXT: usize = 500;

/// Mounts the page on the public listener.
pub fn configure(routes: &mut ServiceConfig, demo: Data<Running>) {
    let too_odd = JsonConfig::default().limit(8 << 10).error_handler(|error, _| {
        let message = error.to_string();
        InternalError::from_response(error, refuse("bad_json", &message)).into()
    });
    // Under a name of another site's that points here, its scripts would be the page's own.
    let here = guard::fn_guard(|request| {
        let host = request.head().headers().get(HOST).and_then(|host| host.to_str().ok());
        names_loopback(host.unwrap_or_default())
    });
    routes.app_data(demo).app_data(too_odd).service(
        web::scope("")
            .guard(here)
            .route("/", web::get().to(async || file("index.html")))
            .route("/demo/info", web::get().to(info))
            .route("/demo/notify", web::post().to(notify))
            .route("/demo/{name}", web::get().to(async |name: web::Path<String>| file(&name))),
    );
}

fn file(name: &str) -> HttpResponse {
    if name == "mark.svg" {
        return secured(HttpResponse::Ok()).content_type("image/svg+xml").body(MARK);
    }
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, kind, content)) => secured(HttpResponse::Ok()).content_type(*kind).body(*content),
        None => secured(HttpResponse::NotFound()).body("no such file\n"),
    }
}

async fn info(demo: Data<Running>) -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    secured(HttpResponse::Ok()).json(json!({ "version": version, "endpoint": demo.endpoint }))
}

#[derive(Deserialize)]
struct Notify {
    to: String,
    text: String,
    #[serde(default)]
    by: String,
}

async fn notify(request: HttpRequest, demo: Data<Running>, body: Json<Notify>) -> HttpResponse {
    // Another site's page could post here, too: JSON makes its browser ask first, and nobody says yes.
    let site = request.headers().get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return refuse("origin", "only the hub's own page may send");
    }
    let Notify { to, text, by } = body.into_inner();
    if let Err(error) = Address::parse(&to) {
        return refuse("bad_address", &error.to_string());
    }
    if text.trim().is_empty() || text.chars().count() > MAX_TEXT || by.len() > 256 {
        return refuse("too_large", "write between 1 and 500 characters");
    }
    let message = json!({ "to": to, "data": { "text": text, "by": by } }).to_string();
    match demo.outbox.try_send(message) {
        Ok(()) => secured(HttpResponse::Accepted()).json(json!({})),
        Err(_) => secured(HttpResponse::ServiceUnavailable())
            .json(json!({ "error": "overload", "message": "too many at once; try again" })),
    }
}

fn refuse(error: &str, message: &str) -> HttpResponse {
    secured(HttpResponse::BadRequest()).json(json!({ "error": error, "message": message }))
}

fn secured(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-cache"));
    response
}
