//! The stock client's scripts, at `/socket.io/socket.io*.js`: compiled in, plain and gzipped, if
//! `make` had installed them when the hub was built. Whatever else is asked for below the Socket.IO
//! path gets Socket.IO's own refusal; the path itself is not served here.

use actix_web::http::Method;
use actix_web::http::header::{
    ALLOW, AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, Encoding,
    IF_NONE_MATCH, VARY,
};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use protocol::engine::Refusal;
use socketio::Server;

// CLIENT_VERSION, and BUNDLES: names, plain and gzipped bytes.
include!(concat!(env!("OUT_DIR"), "/bundles.rs"));

/// Mounts them below the Socket.IO path.
pub fn configure(routes: &mut ServiceConfig, path: &str, server: Server) {
    let serve = move |request: HttpRequest, name: web::Path<String>| {
        let response = answer(&request, &name, &server);
        async move { response }
    };
    routes.route(&format!("{path}{{name:.+}}"), web::route().to(serve));
}

fn answer(request: &HttpRequest, name: &str, server: &Server) -> HttpResponse {
    if !NAMES.contains(&name.strip_suffix(".map").unwrap_or(name)) {
        // To Node, and so to every client, this is a request without a transport.
        let mut response = HttpResponse::BadRequest();
        response.insert_header((CACHE_CONTROL, "no-store"));
        server.allow_origin(request, &mut response);
        response.insert_header((CONTENT_TYPE, "application/json"));
        return response.body(Refusal::TransportUnknown.body());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return HttpResponse::MethodNotAllowed().insert_header((ALLOW, "GET, HEAD")).finish();
    }
    let Some((_, plain, gzipped)) = BUNDLES.iter().find(|(file, ..)| *file == name) else {
        let advice = "the hub was built without the browser client: run `make` once, which installs it, and start again\n";
        return HttpResponse::NotFound().content_type("text/plain").body(advice);
    };
    let etag = format!("\"{CLIENT_VERSION}\"");
    let known = is_known(request, &etag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, etag)).insert_header((CACHE_CONTROL, "public, max-age=0"));
    server.allow_origin(request, &mut response);
    response.append_header((VARY, "Accept-Encoding"));
    if known {
        return response.finish();
    }
    let kind = if name.ends_with(".map") { "json" } else { "javascript" };
    response.insert_header((CONTENT_TYPE, format!("application/{kind}; charset=utf-8")));
    if takes_gzip(request) {
        response.insert_header((CONTENT_ENCODING, "gzip")).body(*gzipped)
    } else {
        response.body(*plain)
    }
}

/// A cache holds several versions, and may have weakened a tag (RFC 9110 §13.1.2).
fn is_known(request: &HttpRequest, etag: &str) -> bool {
    let lists = request.headers().get_all(IF_NONE_MATCH).filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let offered = [Encoding::gzip(), Encoding::identity()];
    request
        .get_header::<AcceptEncoding>()
        .and_then(|accepted| accepted.negotiate(offered.iter()))
        .is_some_and(|chosen| chosen == Encoding::gzip())
}
