// SPDX-License-Identifier: Apache-2.0
//! Which core does what: the server under test has the first to itself, load generator and origins share the second.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

#[derive(Clone, Copy)]
pub(crate) enum Core {
    Server,
    Load,
}

impl Core {
    fn number(self) -> &'static str {
        match self {
            Self::Server => "0",
            Self::Load => "1",
        }
    }

    /// A command that runs `program` on this core; with one core only, anywhere.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        if !several() {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", self.number()]).arg(program);
        command
    }

    /// Moves this process here, before it starts threads.
    pub(crate) fn take(self) {
        if several() {
            let id = std::process::id().to_string();
            let _ = Command::new("taskset").args(["-c", "-p", self.number(), &id]).stdout(Stdio::null()).status();
        }
    }
}

fn several() -> bool {
    // Not the cores that this process may use: it may use one alone by now.
    std::path::Path::new("/sys/devices/system/cpu/cpu1").exists()
}
