// SPDX-License-Identifier: Apache-2.0
//! The program `headwater`: reads the command line and starts a verb.

mod command;
mod demo;
mod push;
mod serve;
mod watch;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    command::Headwater::parse().main().await
}
