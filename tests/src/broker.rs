// SPDX-License-Identifier: Apache-2.0
//! Apache Kafka itself on free ports of this machine: one node, or three that hold every message three times.
//!
//! `scripts/jars.sh kafka` fetches it; `make test` does that. Its data lie in a temporary folder, and it ends with its
//! handle, or with the thread that started it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a node may take to be up: four seconds on an idle machine.
const UP: Duration = Duration::from_secs(120);
/// Any will do.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// The user that a TLS listener knows.
pub const USER: &str = "headwater";
/// Its password.
pub const PASSWORD: &str = "a-password-of-tests";

/// A cluster.
#[derive(Debug)]
pub struct Broker {
    nodes: Vec<Node>,
    folder: PathBuf,
}

#[derive(Debug)]
struct Node {
    folder: PathBuf,
    port: u16,
    tls_port: Option<u16>,
    child: Option<Child>,
}

/// Keys of a TLS listener: PEM.
#[derive(Debug)]
pub struct Tls<'a> {
    /// Its private key (PKCS #8), and the certificate for `127.0.0.1` behind it.
    pub key_and_certificate: &'a str,
}

impl Broker {
    /// One node, up when this returns.
    pub fn single() -> Self {
        Self::start(1, None)
    }

    /// Three nodes; topics with three replicas outlive one of them.
    pub fn three() -> Self {
        Self::start(3, None)
    }

    /// One node that speaks TLS too, on [`Self::tls`], and asks [`USER`] for [`PASSWORD`] by SCRAM-SHA-512 there.
    pub fn with_tls(tls: &Tls<'_>) -> Self {
        Self::start(1, Some(tls))
    }

    fn start(count: usize, tls: Option<&Tls<'_>>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("headwater-kafka-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(unique);
        let mut broker = Self { nodes: Vec::new(), folder: folder.clone() };
        // All at once, so that no two are the same.
        let ports = free_ports(count * 3);
        let voters: Vec<String> = (0..count).map(|n| format!("{}@127.0.0.1:{}", n + 1, ports[count + n])).collect();
        for n in 0..count {
            let node = Node {
                folder: folder.join(format!("{}", n + 1)),
                port: ports[n],
                tls_port: tls.map(|_| ports[2 * count + n]),
                child: None,
            };
            fs::create_dir_all(&node.folder).expect("a temporary folder");
            if let Some(tls) = tls {
                fs::write(node.folder.join("listener.pem"), tls.key_and_certificate).expect("a temporary file");
            }
            let properties = node.properties(n + 1, count, ports[count + n], &voters.join(","));
            fs::write(node.folder.join("server.properties"), properties).expect("a temporary file");
            broker.nodes.push(node);
        }
        let formats: Vec<Child> = broker.nodes.iter().map(Node::format).collect();
        for mut format in formats {
            assert!(format.wait().is_ok_and(|status| status.success()), "formatting failed: {}", broker.log(0));
        }
        for node in 0..count {
            broker.nodes[node].launch();
        }
        for node in 0..count {
            broker.wait_up(node);
        }
        broker
    }

    /// `host:port` of every node.
    pub fn bootstrap(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        nodes.join(",")
    }

    /// `host:port` of its TLS listener.
    ///
    /// # Panics
    /// If it was started without.
    pub fn tls(&self) -> String {
        format!("127.0.0.1:{}", self.nodes[0].tls_port.expect("a TLS listener"))
    }

    /// kill -9 of a node, from 0.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a node that was killed, where it was; it is up when this returns.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].launch();
        self.wait_up(node);
    }

    /// Stops a node where it stands (SIGSTOP): its connections stay open, and nothing answers.
    pub fn freeze(&self, node: usize) {
        self.signal(node, "STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self, node: usize) {
        self.signal(node, "CONT");
    }

    fn signal(&self, node: usize, name: &str) {
        let child = self.nodes[node].child.as_ref().expect("a node that runs");
        let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    fn wait_up(&mut self, node: usize) {
        let deadline = Instant::now() + UP;
        while !self.log(node).contains("Kafka Server started") {
            let child = self.nodes[node].child.as_mut().expect("a node that was launched");
            let ended = child.try_wait().expect("its status");
            assert!(ended.is_none(), "a node ended: {ended:?}\n{}", self.log(node));
            assert!(Instant::now() < deadline, "a node is not up\n{}", self.log(node));
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// What a node has said since it was last launched.
    pub fn log(&self, node: usize) -> String {
        fs::read_to_string(self.nodes[node].folder.join("out.log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for node in 0..self.nodes.len() {
            self.kill(node);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Node {
    fn properties(&self, id: usize, count: usize, controller_port: u16, voters: &str) -> String {
        let replicas = count.min(3);
        let quorum = replicas.div_ceil(2).max(1);
        let (port, data) = (self.port, self.folder.join("data"));
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id={id}\n\
             controller.quorum.voters={voters}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             min.insync.replicas={quorum}\n\
             offsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor={replicas}\n\
             transaction.state.log.num.partitions=4\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={quorum}\n\
             group.initial.rebalance.delay.ms=0\n\
             broker.heartbeat.interval.ms=500\n\
             broker.session.timeout.ms=3000\n",
            data.display()
        );
        let mut listeners = format!("PLAINTEXT://127.0.0.1:{port}");
        if let Some(tls_port) = self.tls_port {
            listeners.push_str(&format!(",SASL_SSL://127.0.0.1:{tls_port}"));
            text.push_str(&format!(
                "listener.name.sasl_ssl.ssl.keystore.type=PEM\n\
                 listener.name.sasl_ssl.ssl.keystore.location={}\n\
                 listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
                 listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
                self.folder.join("listener.pem").display()
            ));
        }
        text + &format!(
            "listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}\nadvertised.listeners={listeners}\n"
        )
    }

    fn format(&self) -> Child {
        let properties = self.folder.join("server.properties");
        let mut command = java("kafka.tools.StorageTool", &[]);
        command.args(["format", "-t", CLUSTER, "-c"]).arg(properties);
        if self.tls_port.is_some() {
            command.args(["--add-scram", &format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]")]);
        }
        self.spawn(command)
    }

    fn launch(&mut self) {
        let mut command = java("kafka.Kafka", &["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC"]);
        command.arg(self.folder.join("server.properties"));
        self.child = Some(self.spawn(command));
    }

    fn spawn(&self, mut command: Command) -> Child {
        let out = File::create(self.folder.join("out.log")).expect("a temporary file");
        let error = out.try_clone().expect("the same file");
        command.stdin(Stdio::null()).stdout(out).stderr(error).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }
}

fn java(class: &str, options: &[&str]) -> Command {
    let jars = jars("kafka");
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/log4j2.properties");
    // It ends with the thread that starts it, even if that is killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "java", "-XX:TieredStopAtLevel=1"])
        .args(options)
        .arg(format!("-Dlog4j2.configurationFile={}", log.display()))
        .arg("-cp")
        .arg(format!("{}/*", jars.display()))
        .arg(class);
    command
}

/// The folder of a Java program's jars.
///
/// # Panics
/// If they were not fetched.
pub fn jars(name: &str) -> PathBuf {
    find_jars(name).unwrap_or_else(|| panic!("expected jars/{name} in the target folder: run scripts/jars.sh {name}"))
}

/// As [`jars`]; `None` if they were not fetched.
pub fn find_jars(name: &str) -> Option<PathBuf> {
    // Programs and tests lie in `debug` or `dist` of the target folder, tests one folder deeper.
    let own = std::env::current_exe().expect("the path of this program");
    own.ancestors().map(|up| up.join("jars").join(name)).find(|folder| folder.join("pom.xml").exists())
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its address").port()).collect()
}
