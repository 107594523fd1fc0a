//! The stock client's script, at `/socket.io/socket.io*.js`: compiled in if `make` had installed it
//! when the hub was built.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

include!(concat!(env!("OUT_DIR"), "/bundles.rs"));

/// Mounts them below the Socket.IO path.
pub fn configure(routes: &mut ServiceConfig, path: &str) {
    let resource = format!("{path}{{name:socket\\.io[a-z.]*\\.js(\\.map)?}}");
    routes.route(&resource, web::get().to(get));
}

async fn get(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    let Some((_, bundle)) = BUNDLES.iter().find(|(file, _)| *file == *name) else {
        let message = if BUNDLES.is_empty() {
            "the hub was built without the browser client: run `make` once, which installs it, and start again\n"
        } else {
            "no such file; there are socket.io.js, socket.io.min.js, socket.io.esm.min.js\n"
        };
        return HttpResponse::NotFound().content_type("text/plain").body(message);
    };
    let etag = format!("\"{CLIENT_VERSION}\"");
    let response = |mut builder: actix_web::HttpResponseBuilder| {
        builder
            .insert_header((ETAG, etag.clone()))
            .insert_header((CACHE_CONTROL, "public, max-age=0"));
        builder
    };
    if request.headers().get(IF_NONE_MATCH).is_some_and(|known| *known == *etag) {
        return response(HttpResponse::NotModified()).finish();
    }
    let kind =
        if name.ends_with(".map") { "application/json" } else { "text/javascript; charset=utf-8" };
    response(HttpResponse::Ok()).insert_header((CONTENT_TYPE, kind)).body(*bundle)
}
