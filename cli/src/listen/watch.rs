// SPDX-License-Identifier: Apache-2.0
//! The watch page, embedded in the program; where it was not built, a page that says how.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Page;

const UNBUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
<title>Headwater</title><body style='font:16px/1.6 system-ui;max-width:34rem;margin:12vh auto;padding:0 1rem'>\
<h1>The watch page is not in this build</h1><p>It was built without Node. Install Node 18 or later with npm, then:</p>\
<pre>make web\ncargo build --release</pre><p>The streams themselves play without it, for example\
 <code>ffplay http://HOST:PORT/live/CHANNEL/multivariant.m3u8</code>.</p>";

/// `/`, `/watch/` and what belongs to it.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(|| async { to_page() }))
        .route("/watch", get(|| async { to_page() }))
        .route("/watch/", get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route(
            "/watch/{*path}",
            get(|Path(path): Path<String>, headers: HeaderMap| async move { file(&path, &headers) }),
        )
}

fn to_page() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/watch/"));
    response
}

fn file(path: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(found) = Page::get(path) else {
        let (status, text) =
            if path == "index.html" { (StatusCode::OK, UNBUILT) } else { (StatusCode::NOT_FOUND, "no such file\n") };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        return response;
    };
    let tag = headwater_net::tag::of(&found.data);
    let fresh = headwater_net::tag::matches(headers.get(IF_NONE_MATCH), &tag);
    let mut response = Response::new(if fresh { Body::empty() } else { Body::from(found.data.into_owned()) });
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    // Names under assets/ change with their content; the page itself is asked for anew.
    let life = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(life));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
    headers.insert(ETAG, tag);
    response
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}
