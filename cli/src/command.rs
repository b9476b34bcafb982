// SPDX-License-Identifier: Apache-2.0
//! The command line: one verb per file.

mod reference;

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headwater_net::Shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{check, demo, follow, plan, push, report, serve, shield};

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
    /// Cache before HLS and DASH origins by a configuration
    Shield(shield::Options),
    /// Start an origin with a live sample channel and a shield, and say where to watch it
    Demo(demo::Options),
    /// Push a ladder to an origin in real time, as an encoder would
    Push(push::Options),
    /// Check whether an HLS or DASH origin keeps the rules
    Check(check::Options),
    /// Follow and replay events, and print their schemas
    Events(follow::Options),
    /// Report what became of an event, from what its nodes told
    Report(report::Options),
    /// Compute the capacity that an event needs
    Plan(plan::Options),
    /// Write the generated reference into a clone of the project
    #[command(hide = true)]
    Reference(reference::Options),
}

impl Command {
    /// Worker threads that were asked for.
    const fn workers(&self) -> Option<NonZeroUsize> {
        match self {
            Self::Serve(options) => options.workers,
            Self::Shield(options) => options.workers,
            Self::Demo(options) => options.workers,
            Self::Push(_) | Self::Check(_) | Self::Events(_) | Self::Report(_) | Self::Plan(_) | Self::Reference(_) => {
                None
            }
        }
    }
}

impl Headwater {
    /// Carries out the verb on a runtime of its own, and says in one line why it failed, if it did.
    pub(crate) fn main(self) -> ExitCode {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Some(workers) = self.command.workers() {
            runtime.worker_threads(workers.get());
        }
        let done = runtime.enable_all().build().map_err(anyhow::Error::from).and_then(|runtime| {
            let done = runtime.block_on(self.run());
            // What was left at the deadline was told; it is not waited for.
            runtime.shutdown_background();
            done
        });
        match done {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    /// Carries out the verb, until its end or SIGINT or SIGTERM.
    ///
    /// # Errors
    /// The verb's own.
    async fn run(self) -> anyhow::Result<ExitCode> {
        // foyer has a line for each object that a failed disk did not take; the disk tier says it once for all.
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,foyer=off"));
        let ansi = std::io::stderr().is_terminal();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(ansi)
            .with_writer(std::io::stderr)
            .init();
        let shutdown = on_signal()?;
        match self.command {
            Command::Serve(options) => serve::run(options, shutdown).await?,
            Command::Shield(options) => shield::run(options, shutdown).await?,
            Command::Demo(options) => demo::run(options, shutdown).await?,
            Command::Push(options) => push::run(options, shutdown).await?,
            // Its exit code is its verdict.
            Command::Check(options) => return Ok(check::run(options, shutdown).await),
            Command::Events(options) => return follow::run(options, shutdown).await,
            Command::Report(options) => return report::run(options, shutdown).await,
            Command::Plan(options) => plan::run(&options)?,
            Command::Reference(options) => reference::run(&options)?,
        }
        Ok(ExitCode::SUCCESS)
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
