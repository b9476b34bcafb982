// SPDX-License-Identifier: Apache-2.0
//! `headwater events tail` and `replay`: events on standard output, one a line.

use std::time::Duration;

use headwater_events::feed::Since;
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use tokio::time::{Instant, sleep_until};

use super::input::{self, Extent, Input, Next};
use super::{line, out};

/// How lines look.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Form {
    /// Print each event as the JSON it is
    #[arg(long, conflicts_with = "pretty")]
    json: bool,
    /// Print each event for people: time, offset, type, subject, essence; so without `--json`
    #[arg(long)]
    pretty: bool,
}

/// What to follow.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    input: input::Options,
    #[command(flatten)]
    form: Form,
    /// Begin there: `first`, `end`, an offset or a time of RFC 3339
    #[arg(long, value_name = "FROM", default_value = "end", value_parser = input::since)]
    from: Since,
}

/// What to replay.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    input: input::Options,
    #[command(flatten)]
    form: Form,
    /// Begin there: `first`, an offset or a time of RFC 3339
    #[arg(long, value_name = "FROM", default_value = "first", value_parser = input::since)]
    from: Since,
    /// End before what happened at this time [default: what there is]
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    to: Option<UtcTime>,
    /// As fast as it happened, or so many times faster [default: as fast as it can be read]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    speed: Option<u32>,
}

/// Follows until it is stopped.
///
/// # Errors
/// If it can never be followed, or standard output not be written.
pub(crate) async fn tail(options: Tail, shutdown: Shutdown) -> anyhow::Result<()> {
    let input = options.input.open(Extent::Live(options.from), &shutdown).await?;
    print(input, &options.form, None, &shutdown).await
}

/// Replays to the end.
///
/// # Errors
/// If it cannot be read, or standard output not be written.
pub(crate) async fn replay(options: Replay, shutdown: Shutdown) -> anyhow::Result<()> {
    let extent = Extent::Past { from: options.from, to: options.to };
    let input = options.input.open(extent, &shutdown).await?;
    print(input, &options.form, options.speed.map(Pace::new), &shutdown).await
}

async fn print(mut input: Input, form: &Form, mut pace: Option<Pace>, shutdown: &Shutdown) -> anyhow::Result<()> {
    loop {
        let next = tokio::select! {
            next = input.next() => next,
            () = shutdown.started() => return Ok(()),
        };
        match next {
            None => return Ok(()),
            Some(Next::Gap) => eprintln!("events may be missing here"),
            Some(Next::Event(event, position)) => {
                if let Some(pace) = &mut pace {
                    tokio::select! {
                        () = sleep_until(pace.due(event.time.0)) => {}
                        () = shutdown.started() => return Ok(()),
                    }
                }
                let line = if form.json { event.to_json() } else { line::pretty(&event, &position) };
                if !out::line(&format!("{line}\n"))? {
                    return Ok(());
                }
            }
        }
    }
}

/// The pace of what happened, so many times faster.
#[derive(Debug)]
struct Pace {
    speed: u32,
    begun: Option<(UtcTime, Instant)>,
}

impl Pace {
    const fn new(speed: u32) -> Self {
        Self { speed, begun: None }
    }

    /// When an event of that time is due; one out of order at once.
    fn due(&mut self, time: UtcTime) -> Instant {
        let (first, at) = *self.begun.get_or_insert_with(|| (time, Instant::now()));
        // No event is a year off; one that says so does not stop the others for longer.
        at + (time.since(first) / self.speed).min(Duration::from_secs(86_400 * 366))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_replay_keeps_the_pace_times_its_speed() {
        let mut pace = Pace::new(10);
        let at = |second: i64| UtcTime::from_nanos(second * 1_000_000_000);
        let first = pace.due(at(100));
        assert_eq!(pace.due(at(130)) - first, Duration::from_secs(3));
        assert_eq!(pace.due(at(90)), first);
    }
}
