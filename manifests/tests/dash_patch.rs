// SPDX-License-Identifier: Apache-2.0
//! Patches, applied as a player applies them.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{FIRST, audio, gap, half, segment, targets, two, utf8, video, window};
use headwater_manifests::dash::mpd::{self, Document, Input, Latency, Period, State};
use headwater_manifests::dash::patch;
use headwater_media::{
    Generation, Grid, Ladder, MediaDuration, MediaTime, Segment, SegmentNumber, TrackId, UtcTime, Window,
};
use proptest::prelude::*;

fn document(window: &Window, publish_ms: i64, ladder: &Ladder, state: State) -> Document {
    let (grid, targets) = (Grid::new(two()).unwrap(), targets());
    let generations = ladder.tracks().iter().map(|t| (t.id.clone(), Generation(0))).collect();
    let periods = [Period { id: "p0".into(), first: SegmentNumber(0), generations }];
    let windows: Vec<(TrackId, &Window)> = ladder.tracks().iter().map(|t| (t.id.clone(), window)).collect();
    mpd::timeline(&Input {
        id: "demo",
        ladder,
        grid: &grid,
        targets: &targets,
        periods: &periods,
        windows: &windows,
        part_target: half(),
        time_shift_buffer: MediaDuration::from_millis(60_000),
        publish_time: UtcTime::from_nanos(publish_ms * 1_000_000),
        state,
        latency: Latency { target_ms: 3_000, min_ms: 1_500, max_ms: 6_000 },
        utc_timing_url: "/time",
        patch_ttl: Some(Duration::from_secs(60)),
    })
}

fn one_track(peak: u64) -> Ladder {
    Ladder::new(vec![Arc::new(video("v0", (640, 360), peak))])
}

fn live(window: &Window, publish_ms: i64) -> Document {
    document(window, publish_ms, &one_track(812_000), State::Live)
}

const PATH: &str =
    "/MPD/Period[@id='p0']/AdaptationSet[@id='733116']/Representation[@id='v0']/SegmentTemplate/SegmentTimeline";

#[test]
fn a_patch_drops_the_oldest_and_adds_the_newest_run() {
    let odd = |number| Segment { duration: MediaDuration::new(179_000, common::scale(90_000)), ..segment(number) };
    let old = window([odd(FIRST), segment(FIRST + 1), segment(FIRST + 2)], None);
    let new = window([segment(FIRST + 1), segment(FIRST + 2), segment(FIRST + 3), odd(FIRST + 4)], None);
    let text = utf8(patch::between(&live(&old, 1_000), &live(&new, 3_500)).unwrap());
    assert_eq!(
        text.replace("><", ">\n<").replace(PATH, "PATH"),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<Patch xmlns=\"urn:mpeg:dash:schema:mpd-patch:2020\" mpdId=\"demo\" originalPublishTime=\"1970-01-01T00:00:01Z\" publishTime=\"1970-01-01T00:00:03.500Z\">
<replace sel=\"/MPD/@publishTime\">1970-01-01T00:00:03.500Z</replace>
<replace sel=\"/MPD/PatchLocation[1]\">
<PatchLocation ttl=\"60\">timeline-3500.mpp</PatchLocation>
</replace>
<remove sel=\"PATH/S[1]\"/>
<replace sel=\"PATH/S[1]\">
<S t=\"153000000180000\" d=\"180000\" r=\"2\"/>
</replace>
<add sel=\"PATH\">
<S t=\"153000000720000\" d=\"179000\" r=\"0\"/>
</add>
</Patch>"
    );
}

#[test]
fn a_misfit_names_its_mpd_and_changes_nothing() {
    let shown = window((FIRST..FIRST + 4).map(segment), None);
    assert_eq!(
        utf8(patch::misfit(&live(&shown, 1_000))),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Patch xmlns=\"urn:mpeg:dash:schema:mpd-patch:2020\" mpdId=\"demo\" \
         originalPublishTime=\"1970-01-01T00:00:01Z\" publishTime=\"1970-01-01T00:00:01Z\"/>"
    );
}

#[test]
fn what_is_more_than_a_moving_timeline_is_not_patched() {
    let shown = window((FIRST..FIRST + 4).map(segment), None);
    let from = live(&shown, 1_000);
    let lost =
        window([segment(FIRST), segment(FIRST + 1), segment(FIRST + 2), segment(FIRST + 3), gap(FIRST + 4)], None);
    assert_eq!(patch::between(&from, &live(&lost, 2_000)), None);
    let wider = Ladder::new(vec![Arc::new(video("v0", (640, 360), 812_000)), Arc::new(audio("en", "en", 1))]);
    assert_eq!(patch::between(&from, &document(&shown, 2_000, &wider, State::Live)), None);
    let end = MediaTime::new((FIRST as i64 + 4) * 180_000, common::scale(90_000));
    assert_eq!(patch::between(&from, &document(&shown, 2_000, &one_track(812_000), State::Ended { end })), None);
    let elsewhere = window((FIRST + 100..FIRST + 104).map(segment), None);
    assert_eq!(patch::between(&from, &live(&elsewhere, 2_000)), None);
}

#[test]
fn a_bitrate_that_moved_does_not_cost_the_patch() {
    let shown = window((FIRST..FIRST + 4).map(segment), None);
    let to = document(&shown, 2_000, &one_track(999_000), State::Live);
    assert!(patch::between(&live(&shown, 1_000), &to).is_some());
}

#[derive(Clone, Debug, PartialEq)]
struct Run(u64, u64, i64);

fn runs(document: &Document) -> Vec<Run> {
    let mpd = dash_mpd::parse(&utf8(document.render())).unwrap();
    let template = mpd.periods[0].adaptations[0].representations[0].SegmentTemplate.clone().unwrap();
    let segments = template.SegmentTimeline.unwrap().segments;
    segments.iter().map(|s| Run(s.t.unwrap(), s.d, s.r.unwrap())).collect()
}

fn attribute(text: &str, name: &str) -> u64 {
    text.split_once(&format!(" {name}=\"")).unwrap().1.split_once('"').unwrap().0.parse().unwrap()
}

/// RFC 5261 on the elements that our patches touch.
fn apply(patch: &str, mut held: Vec<Run>) -> Vec<Run> {
    let run = |text: &str| Run(attribute(text, "t"), attribute(text, "d"), attribute(text, "r") as i64);
    for operation in
        patch.replace("<remove", "\n<remove").replace("<replace", "\n<replace").replace("<add", "\n<add").lines()
    {
        let position =
            operation.split_once("/S[").map(|(_, rest)| rest.split_once(']').unwrap().0.parse::<usize>().unwrap());
        match position {
            _ if !operation.contains("SegmentTimeline") => {}
            Some(position) if operation.starts_with("<remove") => drop(held.remove(position - 1)),
            Some(position) => held[position - 1] = run(operation),
            None => held.push(run(operation)),
        }
    }
    held
}

proptest! {
    #[test]
    fn an_applied_patch_is_the_later_timeline(odd in prop::collection::vec(prop::bool::weighted(0.2), 4..60),
                                              length in 3_usize..30, behind in 0_usize..6) {
        let mut segments = Vec::new();
        for (number, odd) in (FIRST..).zip(&odd) {
            let ticks = if *odd { 179_000 } else { 180_000 };
            segments.push(Segment { duration: MediaDuration::new(ticks, common::scale(90_000)), ..segment(number) });
        }
        let shown = |end: usize| window(segments[end.saturating_sub(length)..end].iter().cloned(), None);
        let from = live(&shown(segments.len().saturating_sub(behind).max(1)), 1_000);
        let to = live(&shown(segments.len()), 2_000);
        // Without anything in common there is no patch.
        if let Some(patch) = patch::between(&from, &to) {
            prop_assert_eq!(apply(&utf8(patch), runs(&from)), runs(&to));
        } else {
            prop_assert!(behind >= length, "a patch was due");
        }
    }
}
