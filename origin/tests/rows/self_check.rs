// SPDX-License-Identifier: Apache-2.0
//! The origin tests its own manifests: a healthy channel breaks no rule, a corrupted text is counted by its rule.

use bytes::Bytes;
use headwater_origin::Config;
use headwater_origin::config::SelfCheck;
use headwater_origin::metrics::{ChannelLabel, Metrics, RuleLabel};
use headwater_origin::self_check::{Judge, PlaylistText, Texts};

use crate::encoder::{Encoder, Source, at};
use crate::stage::{CHANNEL, Stage, settings};

/// Looks every second of the test's clock, whatever they cost.
const ALWAYS: SelfCheck = SelfCheck { cpu_ms_per_channel_hour: u32::MAX };

fn counted(metrics: &Metrics, rule: &'static str) -> u64 {
    metrics.self_check_violations.get_or_create(&RuleLabel { channel: CHANNEL.to_owned(), rule }).get()
}

fn texts(metrics: &Metrics) -> u64 {
    metrics.self_check_texts.get_or_create(&ChannelLabel { channel: CHANNEL.to_owned() }).get()
}

fn checking(self_check: SelfCheck) -> Stage {
    Stage::configured(Config { self_check, ..Config::default() }, settings())
}

/// Every violation that is counted, as `/metrics` tells it.
async fn violations(stage: &Stage) -> Vec<String> {
    let text = stage.get("/metrics").await.text();
    let lines = text.lines().filter(|l| l.starts_with("headwater_self_check_violations_total{"));
    lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_healthy_channel_breaks_no_rule_from_its_start_to_its_end() {
    let stage = checking(ALWAYS);
    let sources = vec![Source::video("v0"), Source::video("v1"), Source::audio("a0")];
    let mut encoder = Encoder::of(&stage, sources);
    encoder.until(at(41_300)).await;
    drop(encoder);
    stage.end_channel().await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(violations(&stage).await, [""; 0]);
    assert!(texts(stage.origin.metrics()) >= 100, "{} texts in 40 s", texts(stage.origin.metrics()));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tested_where_it_is_turned_off() {
    let stage = checking(SelfCheck { cpu_ms_per_channel_hour: 0 });
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0")]);
    encoder.until(at(9_300)).await;
    assert_eq!(texts(stage.origin.metrics()), 0);
}

#[tokio::test(start_paused = true)]
async fn testing_renders_nothing_that_readers_are_counted_for() {
    let stage = checking(ALWAYS);
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(9_300)).await;
    assert!(texts(stage.origin.metrics()) > 0);
    assert_eq!(stage.renders(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_corrupted_is_counted_by_its_rule() {
    let stage = checking(SelfCheck { cpu_ms_per_channel_hour: 0 });
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(21_300)).await;
    let metrics = Metrics::new();
    let mut judge = Judge::default();
    let text = async |track: &str| stage.get(&format!("{track}/media.m3u8")).await.text();
    let (video, audio) = (text("v0").await, text("a0").await);
    let mpd = stage.get("manifest.mpd").await.text();
    let look = |judge: &mut Judge, video: &str, mpd: &str| {
        let playlist = |track: &str, text: &str| PlaylistText {
            track: track.to_owned(),
            video: track == "v0",
            text: Bytes::from(text.to_owned()),
            after: None,
        };
        let playlists = vec![playlist("v0", video), playlist("a0", &audio)];
        let mpds = vec![("manifest.mpd".to_owned(), Bytes::from(mpd.to_owned()))];
        judge.look(CHANNEL, &Texts { playlists, mpds, multivariant: None }, &metrics);
    };
    look(&mut judge, &video, &mpd);
    let changed = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from:?} is in\n{text}");
        text.replace(from, to)
    };
    for (rule, video, mpd) in [
        ("target-duration-changed", changed(&video, "TARGETDURATION:2", "TARGETDURATION:3"), mpd.clone()),
        ("rendition-report-missing", changed(&video, "../a0/", "../a9/"), mpd.clone()),
        ("manifest-unreadable", changed(&video, "#EXTM3U", "#EXTM3V"), mpd.clone()),
        ("availability-start-changed", video.clone(), changed(&mpd, "1970-01-01", "1970-01-02")),
    ] {
        assert_eq!(counted(&metrics, rule), 0, "{rule}");
        look(&mut judge, &video, &mpd);
        assert!(counted(&metrics, rule) > 0, "{rule}");
    }
}
