// SPDX-License-Identifier: Apache-2.0
//! A process under load and those it starts, watched through the kernel's accounting; they end with its handle.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ticks of `/proc` in a second; 100 on every Linux there is.
const TICKS: f64 = 100.0;

pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it with nothing to read and its output thrown away.
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Self { child })
    }

    /// True once it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// Sends a signal by its name, `STOP` say, to it alone.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, &[self.child.id()]);
    }

    /// CPU seconds spent so far by it and its descendants, user and system.
    pub(crate) fn cpu(&self) -> f64 {
        self.tree().into_iter().map(cpu).sum()
    }

    /// Resident bytes of it alone.
    pub(crate) fn resident_bytes(&self) -> u64 {
        kilobytes(&format!("/proc/{}/status", self.child.id()), "VmRSS:") * 1024
    }

    /// Resident bytes of it and its descendants; of several processes, a page that they share counts once.
    pub(crate) fn resident_bytes_of_all(&self) -> u64 {
        let tree = self.tree();
        if tree.len() == 1 {
            return self.resident_bytes();
        }
        tree.into_iter().map(|id| kilobytes(&format!("/proc/{id}/smaps_rollup"), "Pss:") * 1024).sum()
    }

    /// It and its descendants.
    fn tree(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while let Some(id) = found.get(at) {
            let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
            let texts = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
            let children: Vec<u32> =
                texts.flat_map(|t| t.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect();
            found.extend(children);
            at += 1;
        }
        found
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let descendants = self.tree().split_off(1);
        if !descendants.is_empty() {
            // A master ends its workers and waits for them, if it is asked and not killed.
            self.signal("TERM");
            let deadline = Instant::now() + Duration::from_secs(2);
            while !self.has_ended() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            signal("KILL", &descendants);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(name: &str, ids: &[u32]) {
    let ids = ids.iter().map(u32::to_string);
    let _ = Command::new("kill").arg(format!("-{name}")).args(ids).stderr(Stdio::null()).status();
}

/// In nanoseconds of every thread where the kernel counts them: a lightly loaded process spends few ticks.
fn cpu(id: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let nanos: Option<Vec<f64>> = threads
        .map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        })
        .collect();
    if let Some(nanos) = nanos {
        return nanos.iter().sum::<f64>() / 1e9;
    }
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

fn kilobytes(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
}

/// Processor and cores, for the table.
pub(crate) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or(": unknown");
    // Not the cores that this process may use: it may have chosen one.
    let cores = info.lines().filter(|l| l.starts_with("processor")).count().max(1);
    format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':']))
}

/// A port nobody listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A folder that goes with its handle.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// In memory where the system has a place for that.
    pub(crate) fn in_memory(name: &str) -> Self {
        let shared = Path::new("/dev/shm");
        if shared.is_dir() { Self::below(shared, name) } else { Self::new(name) }
    }

    fn below(parent: &Path, name: &str) -> Self {
        let folder = parent.join(format!("headwater-bench-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a scratch folder");
        Self(folder)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it; its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a scratch file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
