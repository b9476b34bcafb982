// SPDX-License-Identifier: Apache-2.0
//! `headwater events`: what nodes tell, for people and their programs.

pub(crate) mod input;
mod line;
pub(crate) mod out;
pub(crate) mod schema;
mod tail;

use std::process::ExitCode;

use headwater_net::Shutdown;

/// What to do with events.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Follow events as they are told
    Tail(tail::Tail),
    /// Print events that were told
    Replay(tail::Replay),
    /// Print the JSON Schema of a type, or write those of all
    Schema(schema::Options),
}

/// Carries it out.
///
/// # Errors
/// The verb's own.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    match options.verb {
        Verb::Tail(options) => tail::tail(options, shutdown).await?,
        Verb::Replay(options) => tail::replay(options, shutdown).await?,
        Verb::Schema(options) => schema::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
