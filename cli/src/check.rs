// SPDX-License-Identifier: Apache-2.0
//! `headwater check`: whether an HLS or DASH origin, anybody's, keeps the rules; from outside, as players and caches see it.

mod boxes;
pub(crate) mod client;
mod dash;
mod hls;
mod http;
mod report;
mod trust;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use headwater_manifests::{dash as mpd, hls as m3u8};
use headwater_net::Shutdown;
use url::Url;

use client::Client;
use report::Report;

/// Rules that say MUST were broken.
const BROKEN: u8 = 1;
/// Nothing could be judged.
const UNCHECKED: u8 = 2;
/// What the probes after following may take.
const PROBES_MAX: Duration = Duration::from_secs(120);

/// What to check, for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Multivariant or media playlist, or MPD; http or https
    url: String,
    /// Follow for this long
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Print one JSON object instead of words
    #[arg(long)]
    json: bool,
    /// Take any certificate
    #[arg(long)]
    insecure: bool,
}

/// Checks, prints what was found, and says by its exit code how it went: 0 kept, 1 broken, 2 could not check.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> ExitCode {
    let report = tokio::select! {
        report = check(&options) => report,
        () = shutdown.started() => Err(anyhow::anyhow!("stopped before the end")),
    };
    match report {
        Ok(report) => {
            let text = if options.json { format!("{}\n", report.json()) } else { report.words() };
            print!("{text}");
            if report.is_broken() { ExitCode::from(BROKEN) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(UNCHECKED)
        }
    }
}

async fn check(options: &Options) -> anyhow::Result<Report> {
    let url = Url::parse(&options.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else { bail!("expected an http or https URL of a playlist or MPD, got {}", options.url) };
    let client = Client::new(options.insecure)?;
    let first = client.manifest(&url).await?;
    if !first.is_ok() {
        bail!("expected a playlist or MPD at {url}, got {}", first.status);
    }
    let seconds = u64::from(options.seconds);
    let longest = Duration::from_secs(seconds) + PROBES_MAX;
    let begun = tokio::time::Instant::now();
    let (kind, rules, checking) = match (m3u8::read::parse(&first.body), mpd::read::parse(&first.body)) {
        (Ok(playlist), _) => {
            let checked = tokio::time::timeout(longest, hls::check(&client, &first, playlist, seconds));
            ("hls", hls::all_rules(), checked.await)
        }
        (_, Ok(mpd)) => {
            let checked = tokio::time::timeout(longest, dash::check(&client, &first, mpd, seconds));
            ("dash", dash::all_rules(), checked.await)
        }
        (Err(playlist), Err(mpd)) => bail!("{url} is neither a playlist ({playlist}) nor an MPD ({mpd})"),
    };
    let mut findings =
        checking.with_context(|| format!("expected {url} to be checked within {} s", longest.as_secs()))?;
    findings.measured.insert("first answer s".to_owned(), first.headed.as_secs_f64());
    if findings.verdict.tallies().all(|tally| tally.judged == tally.broken)
        && findings.fetched.values().sum::<u64>() <= 1
    {
        let why = findings.verdict.violations().next().map(|v| v.found.clone()).or(findings.notes.pop());
        bail!("nothing of {url} can be checked: {}", why.unwrap_or_else(|| "it names nothing".to_owned()));
    }
    let requests = client.counts.requests.load(std::sync::atomic::Ordering::Relaxed);
    let bytes = client.counts.bytes.load(std::sync::atomic::Ordering::Relaxed);
    findings.fetched.insert("requests", requests);
    findings.fetched.insert("bytes", bytes);
    let report::Findings { verdict, fetched, measured, notes } = findings;
    let seconds = begun.elapsed().as_secs_f64();
    let protocol = format!("{:?}", first.version);
    Ok(Report { url: url.to_string(), kind, protocol, seconds, verdict, rules, fetched, measured, notes })
}

/// The reference page of the rules.
pub(crate) fn reference() -> String {
    let mut text = String::from(
        "# Rules\n\n<!-- Written by `make reference` from the rules in manifests/src/rules and cli/src/check. -->\n\n\
         What [`headwater check`](check.md) judges, and the origin of its own manifests.\n",
    );
    for (title, rules) in [("HLS", hls::all_rules()), ("DASH", dash::all_rules())] {
        text.push_str(&format!("\n## {title}\n\n| rule | level | kept when | clause |\n|---|---|---|---|\n"));
        for rule in rules {
            let level = rule.level.as_str();
            text.push_str(&format!("| `{}` | {level} | {} | {} |\n", rule.name, rule.says, rule.clause));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_rules_name_means_one_thing() {
        for rules in [hls::all_rules(), dash::all_rules()] {
            let mut named = BTreeMap::new();
            for rule in rules {
                assert_eq!(named.insert(rule.name, rule), None, "two rules are called {}", rule.name);
            }
        }
    }
}
