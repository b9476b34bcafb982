// SPDX-License-Identifier: Apache-2.0
//! The program `headwater`: reads the command line and starts a verb.

mod command;
mod push;

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    command::Headwater::parse().run().await
}
