// SPDX-License-Identifier: Apache-2.0
//! An origin that does what a test's script says, byte by byte, and the group that asks it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use headwater_shield::config::Upstream;
use headwater_shield::upstream::{Answer, Ask, BodyError, Group, Identity};
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long anything that is waited for may take before a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Bytes),
    /// Waits until it is told to go on.
    Wait(Arc<Notify>),
    /// Ends the connection, with whatever was sent.
    Close,
    /// Ends the connection with a reset.
    Reset,
    /// Says nothing more, until the other end leaves.
    Hang,
}

/// Bytes to send.
pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(Bytes::copy_from_slice(bytes.as_ref()))
}

/// A whole answer with its length.
pub(crate) fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<Step> {
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    vec![send(bytes)]
}

/// A 200 with its length.
pub(crate) fn ok(body: &[u8]) -> Vec<Step> {
    answer("200 OK", "", body)
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its number on its connection, from 0.
    pub(crate) number: usize,
    /// Method and target.
    pub(crate) line: String,
    fields: String,
}

impl Asked {
    /// A field's first value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).into_iter().next()
    }

    /// A field's values, a line each.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.fields.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The path and query.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

type Script = Arc<dyn Fn(&Asked) -> Vec<Step> + Send + Sync>;

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    news: Notify,
}

/// A scripted origin.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

impl Origin {
    /// Listens; every request but the health check is answered by `script`, that one with 200.
    pub(crate) async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_all(move |asked| if asked.target() == "/healthz" { ok(b"ok\n") } else { script(asked) }).await
    }

    /// Listens; every request is answered by `script`.
    pub(crate) async fn start_all(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, script): (Arc<Seen>, Script) = (Arc::default(), Arc::new(script));
        let noted = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream, Arc::clone(&script), Arc::clone(&noted)));
            }
        });
        Self { address, seen, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far but health checks.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().iter().filter(|asked| asked.target() != "/healthz").cloned().collect()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Waits until something that the origin sees makes `true`.
    pub(crate) async fn until(&self, what: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let news = self.seen.news.notified();
                if what(self) {
                    return;
                }
                news.await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the origin sees what is waited for");
    }

    /// Ends like a process that is killed: its connections are gone, new ones are refused.
    pub(crate) async fn kill(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }
}

async fn serve(stream: TcpStream, script: Script, seen: Arc<Seen>) {
    seen.open.fetch_add(1, Ordering::SeqCst);
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    let _ = converse(&mut stream, &script, &seen).await;
    drop(stream);
    seen.open.fetch_sub(1, Ordering::SeqCst);
    seen.news.notify_waiters();
}

async fn converse(stream: &mut BufReader<TcpStream>, script: &Script, seen: &Seen) -> std::io::Result<()> {
    for number in 0.. {
        let Some(asked) = read(stream, number).await? else { return Ok(()) };
        seen.asked.lock().push(asked.clone());
        seen.news.notify_waiters();
        for step in script(&asked) {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await?,
                Step::Wait(told) => told.notified().await,
                Step::Close => return Ok(()),
                Step::Reset => {
                    stream.get_ref().set_zero_linger()?;
                    return Ok(());
                }
                Step::Hang => {
                    let mut byte = [0];
                    while stream.read(&mut byte).await? > 0 {}
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>, number: usize) -> std::io::Result<Option<Asked>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await? == 0 {
            return Ok(None);
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let (line, fields) = text.split_once("\r\n").unwrap_or_default();
    Ok(Some(Asked { number, line: line.to_owned(), fields: fields.to_owned() }))
}

/// An address that refuses connections.
pub(crate) async fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Settings for origins at `urls` that are never checked; anything slow enough not to matter is set so.
pub(crate) fn upstream(urls: &[String]) -> Upstream {
    Upstream { origins: urls.to_vec(), health_interval_ms: 0, ..Upstream::default() }
}

/// A group of these settings.
pub(crate) fn group(upstream: &Upstream) -> Arc<Group> {
    Group::new("main", upstream, None, &Identity::new()).unwrap()
}

/// GET of `target`.
pub(crate) fn get(target: &'static str) -> Ask {
    Ask::get(PathAndQuery::from_static(target))
}

/// Reads a body to its end.
pub(crate) async fn read_all(answer: &mut Answer) -> (Vec<u8>, Result<(), BodyError>) {
    let mut all = Vec::new();
    let read = async {
        loop {
            match answer.body.next().await {
                Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                Ok(None) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    let end = tokio::time::timeout(DEADLINE, read).await.expect("a body ends, one way or another");
    (all, end)
}

/// Asks, and reads what comes.
pub(crate) async fn whole(group: &Group, ask: &Ask) -> (u16, Vec<u8>) {
    let mut answer = tokio::time::timeout(DEADLINE, group.ask(ask)).await.expect("in time").expect("an answer");
    let (body, end) = read_all(&mut answer).await;
    end.expect("a whole body");
    (answer.head.status.as_u16(), body)
}
