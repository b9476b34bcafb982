// SPDX-License-Identifier: Apache-2.0
//! The program `headwater`: reads the command line and starts a verb.

mod check;
mod command;
mod demo;
mod follow;
mod listen;
mod plan;
mod push;
mod report;
mod serve;
mod shield;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    <command::Headwater as clap::Parser>::parse().main()
}
