// SPDX-License-Identifier: Apache-2.0
//! `headwater events`: what nodes tell, for people and their programs.

pub(crate) mod out;
pub(crate) mod schema;

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
    /// Print the JSON Schema of a type, or write those of all
    Schema(schema::Options),
}

/// Carries it out.
///
/// # Errors
/// The verb's own.
pub(crate) async fn run(options: Options, _shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    match options.verb {
        Verb::Schema(options) => schema::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}
