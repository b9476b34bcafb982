// SPDX-License-Identifier: Apache-2.0
//! The command line: one verb per file.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headwater_net::Shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{demo, push, serve};

/// Live HLS and DASH: origin, packager and shield in one program
#[derive(Debug, Parser)]
#[command(name = "headwater", version)]
pub(crate) struct Headwater {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve channels by a configuration
    Serve(serve::Options),
    /// Start an origin with a live sample channel, and say where to watch it
    Demo(demo::Options),
    /// Push a ladder to an origin in real time, as an encoder would
    Push(push::Options),
}

impl Headwater {
    /// Carries out the verb and says in one line why it failed, if it did.
    pub(crate) async fn main(self) -> ExitCode {
        let Err(error) = self.run().await else { return ExitCode::SUCCESS };
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    }

    /// Carries out the verb, until its end or SIGINT or SIGTERM.
    ///
    /// # Errors
    /// The verb's own.
    async fn run(self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let ansi = std::io::stderr().is_terminal();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(ansi)
            .with_writer(std::io::stderr)
            .init();
        let shutdown = on_signal()?;
        match self.command {
            Command::Serve(options) => serve::run(options, shutdown).await,
            Command::Demo(options) => demo::run(options, shutdown).await,
            Command::Push(options) => push::run(options, shutdown).await,
        }
    }
}

/// Starts the shutdown at the first SIGINT or SIGTERM; the second ends the process at once.
fn on_signal() -> anyhow::Result<Shutdown> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let shutdown = Shutdown::new();
    let asked = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked.is_started() {
                std::process::exit(130);
            }
            asked.start();
        }
    });
    Ok(shutdown)
}
