// SPDX-License-Identifier: Apache-2.0
//! The command line: one verb per file.

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::push;

/// Live HLS and DASH: origin, packager and shield in one program
#[derive(Debug, Parser)]
#[command(name = "headwater", version)]
pub(crate) struct Headwater {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Push a ladder to an origin in real time, as an encoder would
    Push(push::Options),
}

impl Headwater {
    /// Carries out the verb, until its end or SIGINT or SIGTERM.
    ///
    /// # Errors
    /// The verb's own.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr).init();
        let shutdown = on_signal()?;
        match self.command {
            Command::Push(options) => push::run(options, shutdown).await,
        }
    }
}

/// A token cancelled by the first SIGINT or SIGTERM; the second ends the process at once.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(130);
            }
            token.cancel();
        }
    });
    Ok(shutdown)
}
