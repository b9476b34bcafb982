// SPDX-License-Identifier: Apache-2.0
//! The program `headwater`: reads the command line and starts a verb.

mod command;
mod demo;
mod push;
mod serve;
mod watch;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = command::Headwater::parse().run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
