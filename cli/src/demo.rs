// SPDX-License-Identifier: Apache-2.0
//! `headwater demo`: an origin on its defaults, a shield before it, and the sample ladder pushed into it, so that there
//! is something to see.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use headwater_net::Shutdown;
use headwater_origin::channel::State;
use tracing::warn;

use crate::{push, serve};

const CHANNEL: &str = "demo";
/// What the demo has for a configuration file; variables override it too.
const CONFIGURATION: &str = "listen = \"127.0.0.1:8080\"\nchannels_from_push = true\n\
                             [channels.demo]\nsegment_ms = 1000\n[shield]\nlisten = \"127.0.0.1:8081\"\n";
/// Where that has the shield listen.
const UNSAID: ([u8; 4], u16) = ([127, 0, 0, 1], 8_081);
/// The first part is there within this, or something is wrong.
const FIRST_PART: Duration = Duration::from_secs(20);

/// Where to listen, and how to say it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Listen here; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Have the shield listen here [default: the next port; a free one beside a free one]
    #[arg(long, value_name = "ADDRESS:PORT")]
    shield: Option<SocketAddr>,
    /// Print one line of JSON with the addresses instead of words
    #[arg(long)]
    json: bool,
    /// Keep headers, numbering and events here across restarts
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Publish events to Kafka too, through these brokers
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Threads that serve [default: one for each processor]
    #[arg(long, value_name = "N", env = "HEADWATER_WORKERS")]
    pub(crate) workers: Option<NonZeroUsize>,
}

/// Runs the demo until `shutdown`. The addresses are printed when the first part is published.
///
/// # Errors
/// If the address cannot be had or the ladder does not arrive.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut config =
        serve::Options::over(options.listen, options.shield, options.data_dir, options.kafka).layer(CONFIGURATION)?;
    // Neither an option nor a variable said where: beside the origin, wherever that is.
    if let Some(shield) = config.shield.as_mut().filter(|shield| shield.listen == SocketAddr::from(UNSAID)) {
        shield.listen = beside(config.origin.listen);
    }
    let running = serve::start(config, &shutdown).await?;
    let base = running.listening.base();
    let Some(shield) = running.shield.as_ref().map(|shield| shield.listening.base()) else {
        bail!("the demo's shield is missing")
    };
    let pushing = tokio::spawn(push::run(push::Options::sample(format!("{base}/ingest/{CHANNEL}")), shutdown.clone()));
    let Some(channel) = running.origin.channel(CHANNEL) else { bail!("the demo's channel is missing") };
    let mut view = channel.watch();
    let live = view.wait_for(|v| v.state == State::Live);
    tokio::select! {
        live = tokio::time::timeout(FIRST_PART, live) => if !matches!(live, Ok(Ok(_))) {
            bail!("expected the first part of the sample ladder within {} s", FIRST_PART.as_secs());
        },
        () = shutdown.started() => return Ok(()),
    }
    say(&Addresses { base: &base, shield: &shield }, options.json);
    shutdown.started().await;
    running.drain(&shutdown).await;
    if let Ok(Err(error)) = pushing.await {
        warn!(%error, "the sample push ended");
    }
    Ok(())
}

/// Where the shield of an origin listens that listens here.
fn beside(mut origin: SocketAddr) -> SocketAddr {
    origin.set_port(match origin.port() {
        0 | u16::MAX => 0,
        port => port + 1,
    });
    origin
}

fn say(addresses: &Addresses<'_>, json: bool) {
    if json {
        println!("{}", addresses.json());
    } else {
        print!("{}", addresses.words());
    }
}

struct Addresses<'a> {
    base: &'a str,
    shield: &'a str,
}

impl Addresses<'_> {
    fn json(&self) -> String {
        let Self { base, shield } = self;
        serde_json::json!({
            "origin": base,
            "shield": shield,
            "hls": format!("{base}/live/{CHANNEL}/multivariant.m3u8"),
            "dash": format!("{base}/live/{CHANNEL}/manifest.mpd"),
            "watch": format!("{shield}/watch/?channel={CHANNEL}"),
            "metrics": format!("{base}/metrics"),
            "events": format!("{base}/events"),
            "ingest": format!("{base}/ingest"),
            "channel": CHANNEL,
        })
        .to_string()
    }

    fn words(&self) -> String {
        let Self { base, shield } = self;
        format!(
            "\n  Headwater is live.\n\n\
             \x20 watch    {shield}/watch/?channel={CHANNEL}\n\
             \x20 shield   {shield}/live/{CHANNEL}/multivariant.m3u8\n\
             \x20 HLS      {base}/live/{CHANNEL}/multivariant.m3u8\n\
             \x20 DASH     {base}/live/{CHANNEL}/manifest.mpd\n\
             \x20 state    {base}/api/v1/channels/{CHANNEL}\n\
             \x20 metrics  {base}/metrics\n\
             \x20 events   {base}/events\n\n\
             \x20 Play it elsewhere:\n\
             \x20   ffplay {base}/live/{CHANNEL}/multivariant.m3u8\n\n\
             \x20 Push a channel of your own, then watch it at {shield}/watch/?channel=mine\n\
             \x20   ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 \\\n\
             \x20     -c:v libx264 -preset veryfast -tune zerolatency -g 50 -keyint_min 50 -sc_threshold 0 -pix_fmt yuv420p -c:a aac \\\n\
             \x20     -f dash -method PUT -http_persistent 1 -streaming 1 -ldash 1 -seg_duration 2 -frag_type duration -frag_duration 0.2 \\\n\
             \x20     -use_template 1 -use_timeline 0 -format_options movflags=+cmaf {base}/ingest/mine/manifest.mpd\n\n\
             \x20 Ctrl-C stops it.\n\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_line_names_every_address_and_the_page_is_watched_through_the_shield() {
        let line = Addresses { base: "http://127.0.0.1:1", shield: "http://127.0.0.1:2" }.json();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for key in ["origin", "shield", "hls", "dash", "watch", "metrics", "events", "ingest", "channel"] {
            assert!(value[key].is_string(), "{key}");
        }
        assert!(value["watch"].as_str().unwrap().starts_with("http://127.0.0.1:2/watch/"));
    }

    #[test]
    fn the_shield_listens_beside_the_origin() {
        let beside = |address: &str| beside(address.parse().unwrap()).to_string();
        assert_eq!(beside("127.0.0.1:8080"), "127.0.0.1:8081");
        assert_eq!(beside("[::]:0"), "[::]:0");
        assert_eq!(beside("127.0.0.1:65535"), "127.0.0.1:0");
    }
}
