// SPDX-License-Identifier: Apache-2.0
//! An origin over TLS that speaks HTTP/2 and ends its streams as it is told.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use headwater_shield::Config;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;

use crate::harness::configuration;

/// How a stream ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// As announced.
    Whole,
    /// In good order, before the announced length.
    Short,
    /// By a reset of the stream.
    Reset,
    /// With its connection.
    Gone,
}

/// The origin.
pub(crate) struct Secure {
    url: String,
    authority: PathBuf,
    seen: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = std::fs::remove_file(&self.authority);
    }
}

impl Secure {
    /// Serves `body` under every path; all but a whole one ends after its first half.
    pub(crate) async fn start(body: &'static str, fields: &'static str, ending: Ending) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate and its key");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = socket.local_addr().expect("an address").port();
        let authority = std::env::temp_dir().join(format!("headwater-case-{}-{port}.pem", std::process::id()));
        std::fs::write(&authority, made.cert.pem()).expect("a file");
        let seen = Arc::<AtomicUsize>::default();
        let noted = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let gone = Arc::new(tokio::sync::Notify::new());
                    let leaving = Arc::clone(&gone);
                    let service = service_fn(move |request: Request<Incoming>| {
                        let checked = request.uri().path() == "/healthz";
                        noted.fetch_add(usize::from(!checked), Ordering::Relaxed);
                        let ending = if checked { Ending::Whole } else { ending };
                        let response = respond(body, fields, ending, Arc::clone(&leaving));
                        async move { Ok::<_, io::Error>(response) }
                    });
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::select! {
                        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
                        () = gone.notified() => {}
                    }
                });
            }
        });
        Self { url: format!("https://localhost:{port}"), authority, seen, serving }
    }

    /// A configuration with a route to it.
    pub(crate) fn config(&self, more: &str) -> Config {
        configuration(std::slice::from_ref(&self.url), &format!("ca = {:?}\nfall = 1000", self.authority), more)
    }

    /// Requests so far, without health checks.
    pub(crate) fn count(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

fn respond(body: &'static str, fields: &'static str, ending: Ending, gone: Arc<tokio::sync::Notify>) -> Response<Body> {
    let half = Bytes::from_static(&body.as_bytes()[..body.len() / 2]);
    let mut response = Response::builder().header("content-length", body.len());
    for line in fields.lines() {
        let (name, value) = line.split_once(": ").expect("a field");
        response = response.header(name, value);
    }
    let body = match ending {
        Ending::Whole => Body::from(body),
        Ending::Short => Body::from_stream(stream::iter([Ok::<_, io::Error>(half)])),
        Ending::Reset => Body::from_stream(stream::iter([Ok(half), Err(io::Error::other("told to"))])),
        Ending::Gone => Body::from_stream(stream::unfold(Some(half), move |half| {
            let gone = Arc::clone(&gone);
            async move {
                match half {
                    Some(half) => Some((Ok::<_, io::Error>(half), None)),
                    None => {
                        gone.notify_one();
                        std::future::pending().await
                    }
                }
            }
        })),
    };
    response.body(body).expect("a head")
}
