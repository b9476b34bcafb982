// SPDX-License-Identifier: Apache-2.0
//! An origin as the rig sees it: its process, which may be stopped or killed, and what it was asked for.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Asked, Fault};
use crate::process::{Process, free_port};
use crate::shield::client::{Connection, Want};
use crate::shield::cores::Core;

pub(crate) struct Origin {
    process: Process,
    pub(crate) port: u16,
}

/// How often an origin was asked, by kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts([u64; Asked::ALL.len()]);

impl Counts {
    pub(crate) fn of(&self, asked: Asked) -> u64 {
        self.0[asked as usize]
    }
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let port = free_port();
        let own = std::env::current_exe().expect("a program");
        let mut command = Core::Load.command(own);
        command.args(["shield", "origin", &port.to_string()]).stderr(Stdio::inherit());
        let origin = Self { process: Process::start(&mut command).expect("this program starts"), port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while Connection::open(port).await.is_err() {
            assert!(Instant::now() < deadline, "the origin does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        origin
    }

    pub(crate) async fn fault(&self, fault: Fault) {
        self.ask(&format!("/fault/{}", fault.name())).await;
    }

    /// Holds it as it is: connections are accepted by the kernel and never answered.
    pub(crate) fn hang(&self) {
        self.process.signal("STOP");
    }

    pub(crate) fn kill(&self) {
        self.process.signal("KILL");
    }

    pub(crate) async fn counts(&self) -> Counts {
        let text = self.ask("/counts").await;
        let mut numbers = text.split_whitespace().map(|n| n.parse().expect("a count"));
        Counts(std::array::from_fn(|_| numbers.next().expect("a count of each kind")))
    }

    /// How often it was asked since then.
    pub(crate) async fn since(&self, before: Counts, asked: Asked) -> u64 {
        self.counts().await.of(asked) - before.of(asked)
    }

    async fn ask(&self, path: &str) -> String {
        let mut connection = Connection::open(self.port).await.expect("the origin listens");
        let answer = connection.get(path, Want::Body).await.expect("the origin answers");
        String::from_utf8_lossy(&answer.body).into_owned()
    }
}
