// SPDX-License-Identifier: Apache-2.0
//! The origin under load: a process of its own, watched through the kernel's accounting.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Process, free_port};

/// A running `headwater serve`; it ends with its handle.
pub(crate) struct Origin {
    pub(crate) process: Process,
    pub(crate) port: u16,
    config: std::path::PathBuf,
}

impl Origin {
    /// Starts one that takes any push, with segments of so many seconds; `more` is what its configuration ends with:
    /// lines of the defaults, then other tables.
    pub(crate) async fn start(program: &str, segment_seconds: u32, more: &str) -> Self {
        Self::start_as(Command::new(program), segment_seconds, more).await
    }

    /// As [`Self::start`], by a command that runs the program.
    pub(crate) async fn start_as(mut command: Command, segment_seconds: u32, more: &str) -> Self {
        let port = free_port();
        let config = std::env::temp_dir().join(format!("headwater-load-{port}.toml"));
        let text =
            format!("channels_from_push = true\n[defaults]\nsegment_ms = {segment_seconds}000\npart_ms = 200\n{more}");
        std::fs::write(&config, text).expect("a scratch file");
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--config"]).arg(&config);
        let process = Process::start(command.env("RUST_LOG", "error")).unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "the origin does not listen");
            tokio::task::yield_now().await;
        }
        Self { process, port, config }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        self.server().connect().await
    }

    /// Where it listens, and its accounting.
    pub(crate) fn server(&self) -> Server<'_> {
        Server { port: self.port, process: &self.process }
    }

    /// The body of an answer.
    pub(crate) async fn body(&self, path: &str) -> Vec<u8> {
        let mut stream = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        answer.split_off(head + 4)
    }

    /// A counter of `/metrics` that has no labels.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        self.metric_sum(&format!("{name} ")).await
    }

    /// A metric over all its labels.
    pub(crate) async fn metric_sum(&self, name: &str) -> u64 {
        let text = self.body("/metrics").await;
        let text = String::from_utf8_lossy(&text);
        let values =
            text.lines().filter(|l| l.starts_with(name)).filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }
}

/// A server under load, ours or a peer.
#[derive(Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) port: u16,
    pub(crate) process: &'a Process,
}

impl Server<'_> {
    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let _ = stream.set_nodelay(true);
        stream
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.config);
    }
}
