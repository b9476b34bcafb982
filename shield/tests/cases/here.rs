// SPDX-License-Identifier: Apache-2.0
//! An origin in this process and a shield that asks it without a socket: with one thread and a paused clock every step
//! of a case has its place, and hours pass at once.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use headwater_events::event::Role;
use headwater_events::{Publisher, Source};
use headwater_net::Shutdown;
use headwater_net::listener::Connection;
use headwater_shield::store::{Kind, Purge};
use headwater_shield::upstream::Local;
use headwater_shield::{Config, Shield};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tower::util::BoxCloneSyncService;

use crate::harness::{Got, Seen, configuration};

/// Turns that are given to all tasks until none has anything left to do.
const SETTLED: usize = 500;

/// A shield and the origin that it asks.
pub(crate) struct Here {
    pub(crate) shield: Arc<Shield>,
    /// What that origin publishes by.
    pub(crate) publisher: Publisher,
    seen: Arc<Mutex<Vec<Seen>>>,
    shutdown: Shutdown,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.shutdown.close();
    }
}

impl Here {
    /// Each request is answered by `script`.
    pub(crate) fn of<F, P>(script: F) -> Self
    where
        F: Fn(Seen) -> P + Send + Sync + 'static,
        P: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::with("", "", script)
    }

    /// As [`Self::of`], with `more` of the configuration and of the upstream's keys.
    pub(crate) fn with<F, P>(more: &str, upstream: &str, script: F) -> Self
    where
        F: Fn(Seen) -> P + Send + Sync + 'static,
        P: Future<Output = Response<Body>> + Send + 'static,
    {
        // Checks would only count time.
        let upstream = format!("{upstream}\nhealth_interval_ms = 0\n");
        Self::start(configuration(&["here".to_owned()], &upstream, more), script)
    }

    fn start<F, P>(config: Config, script: F) -> Self
    where
        F: Fn(Seen) -> P + Send + Sync + 'static,
        P: Future<Output = Response<Body>> + Send + 'static,
    {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (script, noted) = (Arc::new(script), Arc::clone(&seen));
        let origin: Local = BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
            let mut request = Seen::of(&request.into_parts().0);
            let mut seen = noted.lock();
            request.nth = seen.iter().filter(|before| before.target == request.target).count();
            seen.push(request.clone());
            drop(seen);
            let answer = script(request);
            async move { Ok::<_, Infallible>(answer.await) }
        }));
        let shutdown = Shutdown::new();
        let publisher = Publisher::memory(Source::new(Role::Origin, "test"));
        let shield = Shield::start(config, Some(&origin), publisher.of(Role::Shield), shutdown.clone())
            .expect("a configuration in order");
        Self { shield, publisher, seen, shutdown }
    }

    /// Requests that the origin saw.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// How many of them were for a target.
    pub(crate) fn count(&self, target: &str) -> usize {
        self.seen.lock().iter().filter(|seen| seen.target == target).count()
    }

    /// A request's answer, on its way; nothing happens before it is polled.
    pub(crate) fn asking(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let mut request = Request::builder().method(method).uri(target).header("host", "live.example");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let shield = Arc::clone(&self.shield);
        let edge = shield.edge(&Connection::new(SocketAddr::from(([127, 0, 0, 1], 1))));
        async move { shield.answer(parts, &edge).await }
    }

    /// A client: asks and reads to the end.
    pub(crate) fn client(&self, target: &str, fields: &[(&str, &str)]) -> impl Future<Output = Got> + Send + use<> {
        read(self.asking("GET", target, fields))
    }

    pub(crate) async fn get(&self, target: &str) -> Got {
        self.client(target, &[]).await
    }

    pub(crate) async fn ask(&self, target: &str, fields: &[(&str, &str)]) -> Got {
        self.client(target, fields).await
    }

    pub(crate) async fn head(&self, target: &str) -> Got {
        read(self.asking("HEAD", target, &[])).await
    }

    /// Purges a path of the one tenant and host there are.
    pub(crate) fn purge(&self, path: &str, kind: Kind) {
        self.shield.purges().add(&Purge::Key(key(path).into()), kind);
    }

    /// Bytes that the store counts.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.shield.memory().held_bytes()
    }
}

/// The key of a path, as the shield writes it.
pub(crate) fn key(path: &str) -> String {
    format!("all\nlive.example{path}")
}

async fn read(answer: impl Future<Output = Response<Body>>) -> Got {
    let (head, mut body) = answer.await.into_parts();
    let mut bytes = Vec::new();
    let whole = loop {
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    Got { status: head.status, headers: head.headers, body: bytes.into(), whole }
}

/// The next bytes of a body.
pub(crate) async fn next(body: &mut Body) -> Option<Result<Bytes, ()>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(|_| ()))
}

/// An answer by a script.
pub(crate) fn answer(status: u16, fields: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body.into()).expect("a head")
}

/// A body that comes piece by piece, as a script writes it.
pub(crate) struct Pipe {
    pieces: mpsc::UnboundedSender<Result<Bytes, std::io::Error>>,
    taken: Arc<AtomicUsize>,
}

impl Pipe {
    pub(crate) fn new() -> (Self, Body) {
        let (pieces, mut waiting) = mpsc::unbounded_channel();
        let taken = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&taken);
        let stream = futures_util::stream::poll_fn(move |context| {
            let polled = waiting.poll_recv(context);
            counted.fetch_add(usize::from(matches!(polled, Poll::Ready(Some(_)))), Ordering::Relaxed);
            polled
        });
        (Self { pieces, taken }, Body::from_stream(stream))
    }

    /// Pieces that were read.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn send(&self, piece: &'static str) {
        let _ = self.pieces.send(Ok(Bytes::from_static(piece.as_bytes())));
    }

    pub(crate) fn send_bytes(&self, piece: Vec<u8>) {
        let _ = self.pieces.send(Ok(piece.into()));
    }

    /// Breaks off.
    pub(crate) fn fail(self) {
        let _ = self.pieces.send(Err(std::io::Error::other("broke off")));
    }
}

/// Lets every task run until it waits for something that does not come by itself.
pub(crate) async fn settled() {
    for _ in 0..SETTLED {
        tokio::task::yield_now().await;
    }
}

/// Polls once, whatever for.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Polls a future so often, all else going on in between, and drops it; its output if it came to an end before.
pub(crate) async fn cancelled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Some(output) = poll_once(future.as_mut()) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}
