// SPDX-License-Identifier: Apache-2.0
//! `headwater report`: what became of an event, from what its nodes told.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use headwater_events::feed::Since;
use headwater_events::plan::Plan;
use headwater_events::report::Reader;
use headwater_media::UtcTime;
use headwater_net::Shutdown;

use crate::follow::input::{self, Extent, Next};
use crate::follow::{out, schema};

/// What to report.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    input: input::Options,
    /// Begin with what happened at this time [default: what there is]
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    from: Option<UtcTime>,
    /// End before what happened at this time [default: what there is]
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    to: Option<UtcTime>,
    /// What was planned: the JSON of `headwater plan --json`
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write report.md, report.json and the plots into this folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Reads, writes and says where.
///
/// # Errors
/// If there is nothing to read, or nowhere to write.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    if let (Some(from), Some(to)) = (options.from, options.to)
        && from >= to
    {
        bail!("expected --from before --to, got {} and {}", from.rfc3339_millis(), to.rfc3339_millis());
    }
    let plan = options.plan.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).with_context(|| format!("expected a plan in {}", path.display()))?;
        let what = || format!("expected the JSON of `headwater plan --json` in {}", path.display());
        serde_json::from_str::<Plan>(&text).with_context(what)
    });
    let plan = plan.transpose()?;
    let from = options.from.map_or(Since::First, Since::Time);
    let mut input = options.input.open(Extent::Past { from, to: options.to }, &shutdown).await?;
    let mut reader = Reader::new(options.from, options.to);
    loop {
        let next = tokio::select! {
            next = input.next() => next,
            () = shutdown.started() => bail!("stopped before the end; nothing is written"),
        };
        match next {
            None => break,
            Some(Next::Gap) => reader.gap(),
            Some(Next::Event(event, _)) => reader.take(&event),
        }
    }
    let report = reader.finish(plan.as_ref());
    for file in report.files() {
        schema::write(&options.out.join(file.name), &file.text)?;
    }
    let (events, incidents) = (report.read.events, report.incidents.len());
    out::print(&format!("{events} events, {incidents} incidents: {}\n", options.out.join("report.md").display()))?;
    Ok(ExitCode::SUCCESS)
}
