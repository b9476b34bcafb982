// SPDX-License-Identifier: Apache-2.0
//! An origin that is pushed to, and a shield that fetches all that its events tell of.

use std::time::Duration;

use super::{MEASURED, WAIT, reloads};
use crate::encoder::{Encoder, LADDER};
use crate::origin::Origin;
use crate::process::free_port;
use crate::shield::Rig;
use crate::shield::client::{Connection, Error, Want};
use crate::shield::cores::Core;
use crate::shield::server::{Kind, Server, Site};

const SETTLING: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// The shield follows the feed of an origin in another process.
    Apart,
    /// One process is both, as in `headwater demo`.
    Together,
}

impl Layout {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apart => "two processes",
            Self::Together => "one process",
        }
    }
}

/// An origin that is pushed to, and its shield.
pub(super) struct Nodes {
    pub(super) origin: Origin,
    /// Where the shield is a process of its own.
    _shield: Option<Server>,
    pub(super) shield_port: u16,
    encoder: tokio::task::JoinHandle<()>,
}

impl Nodes {
    /// Starts them, and an encoder that pushes for as long as a row takes.
    pub(super) async fn start(rig: &Rig, layout: Layout) -> Result<Self, String> {
        let (origin, shield, shield_port) = match layout {
            Layout::Apart => {
                let origin = Origin::start(&rig.program, 1, "").await;
                let site = Site { follows: true, ..Site::of(&rig.program, &[origin.port]) };
                let shield = Server::start(Kind::Shield, &site).await?;
                let port = shield.ports.http;
                (origin, Some(shield), port)
            }
            Layout::Together => {
                let port = free_port();
                let shield = format!("[shield]\nlisten = \"127.0.0.1:{port}\"\n[shield.follow]\nprefetch = \"all\"\n");
                (Origin::start_as(Core::Server.command(&rig.program), 1, &shield).await, None, port)
            }
        };
        let mut encoder = Encoder::start(&origin, "live", LADDER).await;
        encoder.run(SETTLING).await;
        let encoder = tokio::task::spawn_local(async move { encoder.run(MEASURED + WAIT).await });
        let nodes = Self { origin, _shield: shield, shield_port, encoder };
        // What hosts edges use the shield hears from edges.
        let mut edge = Connection::open(shield_port).await.map_err(|e| e.to_string())?;
        for (track, _) in LADDER {
            edge.get_within(&reloads::list(track), Want::Body, WAIT).await.map_err(|e| e.to_string())?;
        }
        Ok(nodes)
    }

    /// A sum or a count of the shield's histogram of what it fetched ahead.
    pub(super) async fn whole_after(&self, what: &str) -> Result<f64, Error> {
        let mut asking = Connection::open(self.shield_port).await?;
        let text = asking.get_within("/.headwater/metrics", Want::Body, WAIT).await?.body;
        let name = format!("headwater_shield_prefetch_duration_seconds_{what} ");
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(f64::NAN))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.encoder.abort();
    }
}
