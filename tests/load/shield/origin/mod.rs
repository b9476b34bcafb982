// SPDX-License-Identifier: Apache-2.0
//! The origin behind every server under test: a process of its own, scripted by the URLs that it is asked for.
//!
//! | URL | answer |
//! |---|---|
//! | `/object/{size}/{name}` | at once, with ranges and a strong validator; told to by `/fault/{kind}`, an error or half |
//! | `/drip/{length or chunked}/{size}/{first ms}/{last ms}/{name}` | evenly from the first moment to the last |
//! | `/live/{rendition}/media.m3u8`, `/live/{rendition}/{segment}.m4s` | a live channel |
//! | `/parts/{lasting or no-cache}/{name}/media.m3u8?_HLS_msn=…&_HLS_part=…` | when the part is released |
//! | `/counts` | how often each kind was asked for |

mod answer;
mod handle;
pub(crate) mod live;
mod request;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::net::{TcpListener, TcpStream};

pub(crate) use handle::Origin;
use request::Request;

/// What an origin is told to do wrong with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Answers 500.
    Errors,
    /// Closes after half of the body.
    Cut,
}

impl Fault {
    const ALL: [Self; 3] = [Self::None, Self::Errors, Self::Cut];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Errors => "errors",
            Self::Cut => "cut",
        }
    }
}

/// What an origin is asked for, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Object,
    Drip,
    Playlist,
    Segment,
    Reload,
}

impl Asked {
    const ALL: [Self; 5] = [Self::Object, Self::Drip, Self::Playlist, Self::Segment, Self::Reload];
}

#[derive(Default)]
struct State {
    fault: AtomicU8,
    counts: [AtomicU64; Asked::ALL.len()],
}

impl State {
    fn count(&self, asked: Asked) {
        self.counts[asked as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn fault(&self) -> Fault {
        Fault::ALL[usize::from(self.fault.load(Ordering::Relaxed))]
    }
}

/// Runs an origin on this port until it is killed.
pub(crate) async fn serve(port: u16) {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    let _ = socket.set_reuseaddr(true);
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, 1], port))).expect("a free port");
    let listener: TcpListener = socket.listen(4_096).expect("a listener");
    let state: &'static State = Box::leak(Box::default());
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(connection(stream, state));
        }
    }
}

async fn connection(mut stream: TcpStream, state: &'static State) {
    let mut unread = Vec::with_capacity(4 * 1024);
    // A client that goes away ends its connection, and so does an answer that is cut on purpose.
    while let Ok(Some(request)) = Request::read(&mut stream, &mut unread).await {
        let answered = answer::write(&mut stream, &request, state).await;
        if answered.is_err() || request.is_last() {
            return;
        }
    }
}

/// Milliseconds of Unix time: every process of the machine has the same.
pub(crate) fn now_ms() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64() * 1e3)
}
