// SPDX-License-Identifier: Apache-2.0
//! Starts real processes on free ports, waits for events with a deadline, and stops everything it started.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that is expected to come soon.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The program under test, built by the same cargo run.
pub(crate) fn program() -> PathBuf {
    let mut path = std::env::current_exe().expect("the test's own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let program = path.join("headwater");
    assert!(program.exists(), "expected {}: build the workspace's programs first", program.display());
    program
}

/// A child process that ends with its handle.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// What it wrote to standard error, for messages.
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        // What steers the tests is no key of the program's configuration.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER_")) {
            if !command.get_envs().any(|(own, _)| own == name) {
                command.env_remove(name);
            }
        }
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        if let Some(stderr) = child.stderr.take() {
            let log = std::sync::Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut log = log.lock().expect("no panic while logging");
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic while logging").clone()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self) {
        self.signal("TERM");
    }

    /// Any signal, by its short name.
    pub(crate) fn signal(&self, name: &str) {
        let _ = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
    }

    /// Waits until it has written `words` that often; panics with its log at the deadline.
    pub(crate) fn says(&self, words: &str, times: usize) {
        let said = until(SOON, || (self.log().matches(words).count() >= times).then_some(()));
        assert!(said.is_some(), "expected {words:?} {times} times in\n{}", self.log());
    }

    /// Waits for its end; kills it at the deadline. The exit code, if it ended by itself.
    pub(crate) fn wait(&mut self, within: Duration) -> Option<i32> {
        let status = until(within, || self.child.try_wait().ok().flatten());
        if status.is_none() {
            self.kill();
        }
        status.and_then(|s| s.code())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A running headwater.
#[derive(Debug)]
pub(crate) struct Headwater {
    pub(crate) process: Process,
    /// Scheme, host and port.
    pub(crate) base: String,
    /// The demo's JSON line, for the demo.
    pub(crate) addresses: Value,
}

impl Headwater {
    /// `headwater demo` on a free port, live when this returns.
    pub(crate) fn demo() -> Self {
        let mut command = Command::new(program());
        command.args(["demo", "--listen", "127.0.0.1:0", "--json"]).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let stdout = process.child.stdout.take().expect("piped");
        let (sender, line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            let _ = reader.read_line(&mut line);
            let _ = sender.send(line);
            let _ = reader.read_to_string(&mut String::new());
        });
        let line = line.recv_timeout(SOON).unwrap_or_else(|_| panic!("no address line: {}", process.log()));
        let addresses: Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}: {}", process.log()));
        let base = addresses["origin"].as_str().expect("origin").to_owned();
        Self { process, base, addresses }
    }

    /// A demo that tests share while any of them holds it: it ends with its last holder, as a static never would.
    pub(crate) fn shared_demo() -> Arc<Self> {
        static SHARED: Mutex<Weak<Headwater>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let demo = Arc::new(Self::demo());
            *shared = Arc::downgrade(&demo);
            demo
        })
    }

    /// `headwater serve` on a free port with a configuration in TOML (without `listen`), serving when this returns.
    pub(crate) fn serve(toml: &str, arguments: &[&str]) -> Self {
        let port = free_port();
        Self::serve_on(port, toml, arguments)
    }

    /// As [`Self::serve`], on a given port: to start one again where it was.
    pub(crate) fn serve_on(port: u16, toml: &str, arguments: &[&str]) -> Self {
        let file = Scratch::new("config");
        let path = file.path.join("headwater.toml");
        std::fs::write(&path, toml).expect("a scratch file");
        Self::serve_file(port, &path, arguments)
    }

    /// As [`Self::serve_on`], with a configuration that the test may write anew.
    pub(crate) fn serve_file(port: u16, path: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program());
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--config"])
            .arg(path)
            .args(arguments)
            .stdout(Stdio::null());
        let process = Process::spawn(&mut command);
        let base = format!("http://127.0.0.1:{port}");
        let up = until(SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        assert!(up.is_some(), "not listening: {}", process.log());
        Self { process, base, addresses: Value::Null }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        get(&self.url(path))
    }

    /// Memory of the process by the system's count.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id()));
        let status = status.expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
        line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// State of a channel by the API.
    pub(crate) fn channel(&self, id: &str) -> Value {
        serde_json::from_str(&self.get(&format!("/api/v1/channels/{id}")).text()).unwrap_or(Value::Null)
    }

    /// Waits until `ready` accepts the channel's state; panics with state and log at the deadline.
    pub(crate) fn wait_channel(&self, id: &str, ready: impl Fn(&Value) -> bool) -> Value {
        let found = until(SOON, || Some(self.channel(id)).filter(&ready));
        found
            .unwrap_or_else(|| panic!("channel {id} did not get there: {:#}\n{}", self.channel(id), self.process.log()))
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

/// `headwater push` of the sample ladder's tracks to a channel of `origin`.
pub(crate) fn push(origin: &Headwater, channel: &str, tracks: &str) -> Process {
    let to = origin.url(&format!("/ingest/{channel}"));
    let mut command = Command::new(program());
    command.args(["push", "--to", &to, "--tracks", tracks]).stdout(Stdio::null());
    Process::spawn(&mut command)
}

/// An HTTP answer, read whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The value of the last line of a field that each cache adds one to.
    pub(crate) fn last_header(&self, name: &str) -> Option<&str> {
        self.headers.iter().rfind(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET, any status.
pub(crate) fn get(url: &str) -> Response {
    request("GET", url, &[], &[])
}

/// Any method with headers and a body, any status; panics if there is no answer at all.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    try_request(method, url, headers, body).unwrap_or_else(|e| panic!("{method} {url}: {e}"))
}

/// As [`request`], for servers that may be away.
pub(crate) fn try_request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response, ureq::Error> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(SOON)).build().into();
    let mut builder = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let mut answer = agent.run(builder.body(body)?)?;
    let headers = answer.headers().iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap_or("").to_owned())).collect();
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec()?;
    Ok(Response { status, headers, body })
}

/// Asks again until there is an answer, at most `within`.
pub(crate) fn until<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = ask() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A folder that goes with its handle.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("headwater-{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).expect("a scratch folder");
        Self { path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Runs a tool to its end and returns its standard output; panics with its standard error when it fails or hangs.
pub(crate) fn run(tool: &str, arguments: &[&str], within: Duration) -> String {
    String::from_utf8_lossy(&run_bytes(tool, arguments, within).0).into_owned()
}

/// As [`run`], with the bytes of the standard output, and the standard error.
pub(crate) fn run_bytes(tool: &str, arguments: &[&str], within: Duration) -> (Vec<u8>, String) {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::spawn(&mut command);
    let mut stdout = process.child.stdout.take().expect("piped");
    let (sender, output) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    let code = process.wait(within);
    let bytes = output.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
    assert_eq!(code, Some(0), "{tool} {arguments:?}\n{}\n{}", String::from_utf8_lossy(&bytes), process.log());
    (bytes, process.log())
}

/// A file of this project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
