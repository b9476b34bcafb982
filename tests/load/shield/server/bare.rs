// SPDX-License-Identifier: Apache-2.0
//! A hyper server that has every object in memory: what its HTTP costs without a cache behind it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use super::{Ports, Start};
use crate::process::{Scratch, free_port};
use crate::shield::cores::Core;
use crate::shield::pattern::Pattern;

pub(super) fn start(scratch: Scratch) -> Start {
    let port = free_port();
    let mut command = Core::Server.command(std::env::current_exe().expect("a program"));
    command.args(["shield", "bare", &port.to_string()]);
    Start { command, ports: Ports { http: port, h2c: Some(port), tls: None }, scratch }
}

/// Objects by path, made when first asked for.
type Objects = Arc<Mutex<HashMap<String, Bytes>>>;

/// Runs it on this port until it is killed.
pub(crate) async fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
    let objects = Objects::default();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let objects = Arc::clone(&objects);
        tokio::spawn(async move {
            let service =
                service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&objects, &request))));
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer<B>(objects: &Objects, request: &Request<B>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
    let known = objects.get(path).cloned();
    let bytes = known.unwrap_or_else(|| {
        let bytes = made(path);
        objects.insert(path.to_owned(), bytes.clone());
        bytes
    });
    let mut response = Response::new(Full::new(bytes));
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("video/mp4"));
    headers.insert("cache-control", http::HeaderValue::from_static("max-age=3600"));
    response
}

/// The bytes that the origin would send for `/object/{size}/{name}`.
fn made(path: &str) -> Bytes {
    let size: u64 = path.split('/').nth(2).and_then(|size| size.parse().ok()).unwrap_or(0);
    let pattern = Pattern::of(path);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < size {
        let at = bytes.len() as u64;
        bytes.extend_from_slice(pattern.slice(at, size - at));
    }
    Bytes::from(bytes)
}
