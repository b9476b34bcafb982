// SPDX-License-Identifier: Apache-2.0
//! Origins over TLS: one HTTP/2 connection for all, the Host that was asked for as `:authority`, and bodies that end
//! before their end.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use headwater_shield::config::Upstream;
use headwater_shield::upstream::{BodyError, Cause, Error};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::script::{get, group, read_all, upstream, whole};

/// A server with a certificate of its own for localhost, in a folder of its own.
struct Secure {
    url: String,
    ca: PathBuf,
    connections: Arc<AtomicUsize>,
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

async fn serve(protocol: &'static str, answer: fn(Request<Incoming>) -> Response<Body>) -> Secure {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca = std::env::temp_dir().join(format!("headwater-upstream-{}-{port}.pem", std::process::id()));
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(tls) = acceptor.accept(tcp).await else { continue };
            counted.fetch_add(1, Ordering::SeqCst);
            let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(request)) });
            if protocol == "h2" {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(tls), service));
            } else {
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(tls), service));
            }
        }
    });
    Secure { url: format!("https://localhost:{port}"), ca, connections }
}

fn told(request: &Request<Incoming>) -> Response<Body> {
    let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
    let authority = request.uri().authority().map(ToString::to_string);
    Response::new(Body::from(format!("{:?} {}", request.version(), authority.or(host).unwrap_or_default())))
}

#[tokio::test]
async fn requests_share_one_h2_connection_and_keep_their_hosts() {
    let origin = serve("h2", |request| told(&request)).await;
    let group = group(&Upstream { ca: Some(origin.ca.clone()), ..upstream(std::slice::from_ref(&origin.url)) });
    let asking: Vec<_> = (0..20)
        .map(|number| {
            let group = Arc::clone(&group);
            tokio::spawn(async move {
                let host = format!("host{number}.example");
                let mut ask = get("/live/a");
                ask.host = Some(HeaderValue::from_str(&host).unwrap());
                let (status, body) = whole(&group, &ask).await;
                assert_eq!((status, String::from_utf8(body).unwrap()), (200, format!("HTTP/2.0 {host}")));
            })
        })
        .collect();
    for asking in asking {
        asking.await.unwrap();
    }
    assert_eq!(origin.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_origin_that_speaks_http_1_alone_is_asked_so() {
    let origin = serve("http/1.1", |request| told(&request)).await;
    let settings = Upstream {
        ca: Some(origin.ca.clone()),
        host: Some("live.example".into()),
        ..upstream(std::slice::from_ref(&origin.url))
    };
    let group = group(&settings);
    for _ in 0..3 {
        assert_eq!(whole(&group, &get("/live/a")).await.1, b"HTTP/1.1 live.example");
    }
    assert_eq!(origin.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_no_connection() {
    let origin = serve("h2", |request| told(&request)).await;
    let another = serve("h2", |request| told(&request)).await;
    let group = group(&Upstream { ca: Some(another.ca.clone()), ..upstream(std::slice::from_ref(&origin.url)) });
    let error = group.ask(&get("/live/a")).await.unwrap_err();
    assert!(matches!(&error, Error::Failed { cause: Cause::Connect(_), .. }), "{error}");
}

#[tokio::test]
async fn an_h2_body_that_ends_early_or_is_reset_is_an_error() {
    let origin = serve("h2", |request| {
        let first = Ok(Bytes::from_static(b"byt"));
        let mut response = match request.uri().path() {
            "/early" => Response::new(Body::from_stream(stream::iter([first]))),
            _ => {
                let reset = Err(std::io::Error::other("gone"));
                Response::new(Body::from_stream(stream::iter([first, reset])))
            }
        };
        if request.uri().path() != "/reset-unsized" {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        }
        response
    })
    .await;
    let group =
        group(&Upstream { ca: Some(origin.ca.clone()), fall: 1_000, ..upstream(std::slice::from_ref(&origin.url)) });
    for target in ["/early", "/reset", "/reset-unsized"] {
        // A reset may overtake the head: then there is no answer at all, which is as visible.
        let Ok(mut answer) = group.ask(&get(target)).await else { continue };
        let (bytes, end) = read_all(&mut answer).await;
        assert!(b"byt".starts_with(&bytes), "{target}");
        assert!(matches!(end, Err(BodyError::Broken { .. } | BodyError::Length { .. })), "{target}: {end:?}");
    }
}
