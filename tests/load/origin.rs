// SPDX-License-Identifier: Apache-2.0
//! The origin under load: a process of its own, watched through the kernel's accounting.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A running `headwater serve`; it ends with its handle.
pub(crate) struct Origin {
    child: Child,
    pub(crate) port: u16,
    config: std::path::PathBuf,
}

impl Origin {
    /// Starts one that takes any push, with segments of so many seconds; `defaults` are more lines of that table.
    pub(crate) async fn start(program: &str, segment_seconds: u32, defaults: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let config = std::env::temp_dir().join(format!("headwater-load-{port}.toml"));
        let text = format!(
            "channels_from_push = true\n[defaults]\nsegment_ms = {segment_seconds}000\npart_ms = 200\n{defaults}"
        );
        std::fs::write(&config, text).expect("a scratch file");
        let mut command = Command::new(program);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--config"]).arg(&config);
        let child = command.env("RUST_LOG", "error").stdout(Stdio::null()).stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|e| panic!("{program}: {e}"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "the origin does not listen");
            tokio::task::yield_now().await;
        }
        Self { child, port, config }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let _ = stream.set_nodelay(true);
        stream
    }

    /// CPU seconds spent so far, user and system.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        // utime and stime, in ticks of a hundredth of a second on Linux.
        (ticks(11) + ticks(12)) / 100.0
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// A counter of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let mut stream = self.connect().await;
        let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a request sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// Processor and cores, for the table.
pub(crate) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':']))
}
