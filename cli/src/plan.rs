// SPDX-License-Identifier: Apache-2.0
//! `headwater plan`: the capacity that an event needs, each number with its formula.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use headwater_events::plan::{Assumptions, Plan, Region, Rendition};

use crate::follow::out;

/// What is assumed of the event. Flags stand before the file, the file before the defaults.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Assumptions, TOML or JSON
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Viewers at once, at the peak
    #[arg(long, value_name = "N")]
    viewers: Option<u64>,
    /// Channels that are watched
    #[arg(long, value_name = "N")]
    channels: Option<u64>,
    /// A rendition, its bits per second and the percentage of viewers that watch it; again for each
    #[arg(long, value_name = "NAME=BITS@SHARE", value_parser = rendition)]
    rendition: Vec<Rendition>,
    /// Sound, bits per second
    #[arg(long, value_name = "BITS", value_parser = bits)]
    audio: Option<u64>,
    /// A region, the percentage of viewers there and the caches there that ask shields; again for each
    #[arg(long, value_name = "NAME=SHARE@EDGES", value_parser = region)]
    region: Vec<Region>,
    /// What HTTP, TLS, TCP and IP add to media, percent
    #[arg(long, value_name = "PERCENT")]
    overhead: Option<u64>,
    /// Segment duration, milliseconds
    #[arg(long, value_name = "MS")]
    segment_ms: Option<u64>,
    /// Part duration, milliseconds; 0: no low latency
    #[arg(long, value_name = "MS")]
    part_ms: Option<u64>,
    /// How long media stays reachable, seconds
    #[arg(long, value_name = "S")]
    window: Option<u64>,
    /// Shields
    #[arg(long, value_name = "N")]
    shields: Option<u64>,
    /// Origins
    #[arg(long, value_name = "N")]
    origins: Option<u64>,
    /// Hit ratio of the edges as measured, thousandths [default: one request an edge and object]
    #[arg(long, value_name = "PERMILLE")]
    edge_hit: Option<u64>,
    /// Hit ratio of the shields as measured, thousandths [default: one request a shield and object]
    #[arg(long, value_name = "PERMILLE")]
    shield_hit: Option<u64>,
    /// Print one JSON object, which `headwater report --plan` takes
    #[arg(long)]
    json: bool,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Computes and prints.
///
/// # Errors
/// For a file that is none, and assumptions that cannot be.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let plan = Plan::of(&assumptions(options)?)?;
    let text = match (options.json, options.markdown) {
        (true, _) => format!("{}\n", serde_json::to_string_pretty(&plan)?),
        (_, true) => plan.markdown(),
        _ => plan.text(),
    };
    out::print(&text)
}

fn assumptions(options: &Options) -> anyhow::Result<Assumptions> {
    let mut a = options.from.as_deref().map_or_else(|| Ok(Assumptions::default()), read)?;
    let set = |value: &mut u64, flag: Option<u64>| *value = flag.unwrap_or(*value);
    set(&mut a.viewers, options.viewers);
    set(&mut a.channels, options.channels);
    set(&mut a.audio_bits_per_second, options.audio);
    set(&mut a.overhead_percent, options.overhead);
    set(&mut a.segment_ms, options.segment_ms);
    set(&mut a.part_ms, options.part_ms);
    set(&mut a.window_seconds, options.window);
    set(&mut a.shields, options.shields);
    set(&mut a.origins, options.origins);
    a.edge_hit_permille = options.edge_hit.or(a.edge_hit_permille);
    a.shield_hit_permille = options.shield_hit.or(a.shield_hit_permille);
    if !options.rendition.is_empty() {
        a.ladder.clone_from(&options.rendition);
    }
    if !options.region.is_empty() {
        a.regions.clone_from(&options.region);
    }
    Ok(a)
}

/// JSON where the name says so, else TOML.
fn read(path: &Path) -> anyhow::Result<Assumptions> {
    let text = std::fs::read_to_string(path).with_context(|| format!("expected assumptions in {}", path.display()))?;
    let read = match path.extension().is_some_and(|extension| extension == "json") {
        true => serde_json::from_str(&text).map_err(anyhow::Error::from),
        false => toml::from_str(&text).map_err(anyhow::Error::from),
    };
    read.with_context(|| format!("expected assumptions in {}", path.display()))
}

fn rendition(text: &str) -> anyhow::Result<Rendition> {
    let (name, rate, share) = parts(text)?;
    Ok(Rendition { name: name.to_owned(), bits_per_second: bits(rate)?, share_percent: number(share)? })
}

fn region(text: &str) -> anyhow::Result<Region> {
    let (name, share, edges) = parts(text)?;
    Ok(Region { name: name.to_owned(), share_percent: number(share)?, edges: number(edges)? })
}

fn parts(text: &str) -> anyhow::Result<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=').unwrap_or_default();
    match rest.split_once('@') {
        Some((first, second)) if !name.is_empty() => Ok((name, first, second)),
        _ => bail!("expected a name, `=`, a number, `@` and a number, got {text}"),
    }
}

fn number(text: &str) -> anyhow::Result<u64> {
    text.parse().with_context(|| format!("expected a whole number, got {text}"))
}

/// Bits per second, with `k` or `M` behind a whole number as one likes.
fn bits(text: &str) -> anyhow::Result<u64> {
    let (digits, unit) = match text.strip_suffix(['k', 'M']) {
        Some(digits) => (digits, if text.ends_with('k') { 1_000 } else { 1_000_000 }),
        None => (text, 1),
    };
    number(digits)?.checked_mul(unit).with_context(|| format!("expected bits per second, got {text}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn assumed(flags: &[&str]) -> anyhow::Result<Assumptions> {
        let line = Line::try_parse_from(std::iter::once(&"plan").chain(flags))?;
        assumptions(&line.options)
    }

    #[test]
    fn flags_stand_before_the_file_and_the_file_before_the_defaults() {
        let dir = std::env::temp_dir().join(format!("headwater-plan-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in [("a.toml", "viewers = 7\nshields = 3\n"), ("a.json", "{\"viewers\":7,\"shields\":3}")] {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            let a = assumed(&["--from", path.to_str().unwrap(), "--viewers", "9", "--region", "x=100@4"]).unwrap();
            assert_eq!((a.viewers, a.shields, a.origins), (9, 3, Assumptions::default().origins));
            assert_eq!(a.regions, [Region { name: "x".to_owned(), share_percent: 100, edges: 4 }]);
        }
        let path = dir.join("b.toml");
        std::fs::write(&path, "viewer = 7\n").unwrap();
        let error = format!("{:#}", assumed(&["--from", path.to_str().unwrap()]).unwrap_err());
        assert!(error.contains("unknown field `viewer`"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_rendition_is_a_name_a_rate_and_a_share() {
        let expected = Rendition { name: "720p".to_owned(), bits_per_second: 3_000_000, share_percent: 100 };
        assert_eq!(assumed(&["--rendition", "720p=3M@100"]).unwrap().ladder, [expected]);
        for odd in ["720p", "720p=3M", "=3M@100", "720p=3Q@100", "720p=99999999999999999M@1"] {
            let error = assumed(&["--rendition", odd]).unwrap_err().to_string();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
