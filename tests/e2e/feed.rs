// SPDX-License-Identifier: Apache-2.0
//! Follows the live feed of a server as anybody would, with curl.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::harness::{SOON, until};

/// A follower; it ends with its handle.
#[derive(Debug)]
pub(crate) struct Feed {
    curl: Child,
    events: Arc<Mutex<Vec<Value>>>,
    reading: JoinHandle<()>,
}

impl Feed {
    /// Follows `url`, query and all.
    pub(crate) fn open(url: &str) -> Self {
        let mut command = Command::new("curl");
        command.args(["-sN", url]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut curl = command.spawn().expect("curl runs");
        let lines = BufReader::new(curl.stdout.take().expect("piped")).lines();
        let events = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&events);
        let reading = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some(json) = line.strip_prefix("data: ") else { continue };
                let event = serde_json::from_str(json).expect("an event is JSON on one line");
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        Self { curl, events, reading }
    }

    /// What has come so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server has ended it, and all that came has been read.
    pub(crate) fn has_ended(&self) -> bool {
        self.reading.is_finished()
    }

    /// Waits for the first event that `wanted` accepts.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = until(SOON, || self.events().into_iter().find(&wanted));
        found.unwrap_or_else(|| panic!("expected {what} after {:?}", self.events().last()))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}
