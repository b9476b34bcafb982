// SPDX-License-Identifier: Apache-2.0
//! MPDs as whole texts and as an independent reader sees them.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{FIRST, audio, gap, half, ladder, scale, segment, targets, text, two, utf8, video, window};
use headwater_manifests::Targets;
use headwater_manifests::dash::mpd::{self, Input, Latency, Period, State};
use headwater_manifests::dash::read;
use headwater_media::{
    Generation, Grid, Ladder, MediaDuration, MediaTime, Segment, SegmentNumber, Timescale, TrackId, UtcTime, Window,
};

const LATENCY: Latency = Latency { target_ms: 3_000, min_ms: 1_500, max_ms: 6_000 };

/// What an MPD needs, owned.
struct Channel {
    ladder: Ladder,
    grid: Grid,
    targets: Targets,
    periods: Vec<Period>,
    windows: Vec<(TrackId, Window)>,
    state: State,
}

impl Channel {
    fn new(ladder: Ladder, shown: &Window) -> Self {
        let windows = ladder.tracks().iter().map(|track| (track.id.clone(), shown.clone())).collect();
        let periods = vec![period("p0", 0, &ladder, 0)];
        Self { ladder, grid: Grid::new(two()).unwrap(), targets: targets(), periods, windows, state: State::Live }
    }

    fn with<T>(&self, render: impl Fn(&Input) -> T) -> T {
        let windows: Vec<(TrackId, &Window)> = self.windows.iter().map(|(id, window)| (id.clone(), window)).collect();
        render(&Input {
            id: "demo",
            ladder: &self.ladder,
            grid: &self.grid,
            targets: &self.targets,
            periods: &self.periods,
            windows: &windows,
            part_target: half(),
            time_shift_buffer: MediaDuration::from_millis(60_000),
            publish_time: UtcTime::from_nanos(1_700_000_008_500_000_000),
            state: self.state,
            latency: LATENCY,
            utc_timing_url: "/time",
            patch_ttl: Some(Duration::from_secs(60)),
        })
    }

    fn number(&self) -> String {
        utf8(self.with(mpd::render_number))
    }

    fn timeline(&self) -> String {
        utf8(self.with(mpd::render_timeline))
    }
}

fn period(id: &str, first: u64, ladder: &Ladder, generation: u32) -> Period {
    let generations = ladder.tracks().iter().map(|t| (t.id.clone(), Generation(generation))).collect();
    Period { id: id.into(), first: SegmentNumber(first), generations }
}

fn tracks(list: impl IntoIterator<Item = headwater_media::Track>) -> Ladder {
    Ladder::new(list.into_iter().map(Arc::new).collect())
}

/// One element a line.
fn lines(text: &str) -> String {
    text.replace("><", ">\n<")
}

fn parsed(text: &str) -> dash_mpd::MPD {
    dash_mpd::parse(text).unwrap()
}

const NAMESPACES: &str = concat!(
    " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:cenc=\"urn:mpeg:cenc:2013\"",
    " xmlns:mspr=\"urn:microsoft:playready\" xmlns:xlink=\"http://www.w3.org/1999/xlink\"",
    " xmlns:scte35=\"http://www.scte.org/schemas/35/2016\" xmlns:dvb=\"urn:dvb:dash-extensions:2014-1\"",
);

fn small() -> Ladder {
    tracks([video("v0", (640, 360), 812_000), audio("en", "en", 128_000), text("sub", "en")])
}

#[test]
fn the_low_latency_mpd_numbers_segments_since_1970() {
    let channel = Channel::new(small(), &window([segment(FIRST), segment(FIRST + 1)], None));
    assert_eq!(
        lines(&channel.number()).replace(NAMESPACES, ""),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" id=\"demo\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019,http://www.dashif.org/guidelines/low-latency-live-v5\" type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\" publishTime=\"2023-11-14T22:13:28.500Z\" minimumUpdatePeriod=\"PT2S\" minBufferTime=\"PT1.5S\" timeShiftBufferDepth=\"PT1M\" suggestedPresentationDelay=\"PT3S\" maxSegmentDuration=\"PT2.1S\">
<ServiceDescription id=\"0\">
<Latency min=\"1500\" max=\"6000\" target=\"3000\" referenceId=\"1\"/>
<PlaybackRate min=\"0.96\" max=\"1.04\"/>
</ServiceDescription>
<Period id=\"p0\" start=\"PT0S\">
<AdaptationSet id=\"733116\" contentType=\"video\" segmentAlignment=\"true\" mimeType=\"video/mp4\" startWithSAP=\"1\">
<ProducerReferenceTime id=\"1\" inband=\"true\" presentationTime=\"0\" type=\"encoder\" wallClockTime=\"1970-01-01T00:00:00Z\">
<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/time\"/>
</ProducerReferenceTime>
<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>
<Representation id=\"v0\" bandwidth=\"820000\" width=\"640\" height=\"360\" frameRate=\"25\" codecs=\"avc1.64001f\">
<Resync type=\"0\" dT=\"500\"/>
<SegmentTemplate media=\"$RepresentationID$/$Number$.m4s\" initialization=\"$RepresentationID$/init-0.mp4\" startNumber=\"0\" duration=\"2000\" timescale=\"1000\" presentationTimeOffset=\"0\" availabilityTimeOffset=\"1.5\" availabilityTimeComplete=\"false\"/>
</Representation>
</AdaptationSet>
<AdaptationSet id=\"604878\" contentType=\"audio\" lang=\"en\" segmentAlignment=\"true\" mimeType=\"audio/mp4\" startWithSAP=\"1\">
<AudioChannelConfiguration schemeIdUri=\"urn:mpeg:mpegB:cicp:ChannelConfiguration\" value=\"2\"/>
<ProducerReferenceTime id=\"1\" inband=\"true\" presentationTime=\"0\" type=\"encoder\" wallClockTime=\"1970-01-01T00:00:00Z\">
<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/time\"/>
</ProducerReferenceTime>
<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>
<Representation id=\"en\" bandwidth=\"130000\" audioSamplingRate=\"48000\" codecs=\"mp4a.40.2\">
<Resync type=\"1\" dT=\"500\"/>
<SegmentTemplate media=\"$RepresentationID$/$Number$.m4s\" initialization=\"$RepresentationID$/init-0.mp4\" startNumber=\"0\" duration=\"2000\" timescale=\"1000\" presentationTimeOffset=\"0\" availabilityTimeOffset=\"1.5\" availabilityTimeComplete=\"false\"/>
</Representation>
</AdaptationSet>
<AdaptationSet id=\"686248\" contentType=\"text\" lang=\"en\" segmentAlignment=\"true\" mimeType=\"application/mp4\" startWithSAP=\"1\">
<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"subtitle\"/>
<Representation id=\"sub\" bandwidth=\"1000\" codecs=\"wvtt\">
<SegmentTemplate media=\"$RepresentationID$/$Number$.m4s\" initialization=\"$RepresentationID$/init-0.mp4\" startNumber=\"0\" duration=\"2000\" timescale=\"1000\" presentationTimeOffset=\"0\"/>
</Representation>
</AdaptationSet>
</Period>
<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/time\"/>
<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"/time\"/>
<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-head:2014\" value=\"/time\"/>
</MPD>"
    );
}

#[test]
fn the_timeline_mpd_runs_over_what_is_here_and_signals_what_is_lost() {
    let shown = window([segment(FIRST), segment(FIRST + 1), gap(FIRST + 2), gap(FIRST + 3), segment(FIRST + 4)], None);
    let channel = Channel::new(tracks([video("v0", (640, 360), 812_000)]), &shown);
    assert_eq!(
        lines(&channel.timeline()).replace(NAMESPACES, ""),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" id=\"demo\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019\" type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\" publishTime=\"2023-11-14T22:13:28.500Z\" minimumUpdatePeriod=\"PT2S\" minBufferTime=\"PT2S\" timeShiftBufferDepth=\"PT1M\" suggestedPresentationDelay=\"PT6S\" maxSegmentDuration=\"PT2.1S\">
<PatchLocation ttl=\"60\">timeline-1700000008500.mpp</PatchLocation>
<Period id=\"p0\" start=\"PT0S\">
<AdaptationSet id=\"733116\" contentType=\"video\" segmentAlignment=\"true\" mimeType=\"video/mp4\" startWithSAP=\"1\">
<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>
<Representation id=\"v0\" bandwidth=\"820000\" width=\"640\" height=\"360\" frameRate=\"25\" codecs=\"avc1.64001f\">
<SegmentTemplate media=\"$RepresentationID$/t$Time$.m4s\" initialization=\"$RepresentationID$/init-0.mp4\" timescale=\"90000\" presentationTimeOffset=\"0\">
<FailoverContent valid=\"false\">
<FCS t=\"153000000360000\" d=\"360000\"/>
</FailoverContent>
<SegmentTimeline>
<S t=\"153000000000000\" d=\"180000\" r=\"1\"/>
<S t=\"153000000720000\" d=\"180000\" r=\"0\"/>
</SegmentTimeline>
</SegmentTemplate>
</Representation>
</AdaptationSet>
</Period>
<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/time\"/>
<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"/time\"/>
<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-head:2014\" value=\"/time\"/>
</MPD>"
    );
}

#[test]
fn a_loss_is_signalled_by_number_too() {
    let channel = Channel::new(small(), &window([segment(FIRST), gap(FIRST + 1), segment(FIRST + 2)], None));
    let read = read::parse(channel.number().as_bytes()).unwrap();
    for representation in &read.periods[0].representations {
        assert_eq!(representation.template.as_ref().unwrap().lost, [(1_700_000_002_000, 2_000)]);
    }
}

#[test]
fn video_of_one_family_is_one_switching_set_and_each_language_its_own() {
    let mpd = parsed(&Channel::new(ladder(), &Window::new()).number());
    let sets: Vec<_> = mpd.periods[0]
        .adaptations
        .iter()
        .map(|set| (set.contentType.as_deref().unwrap(), set.representations.len()))
        .collect();
    assert_eq!(sets, [("video", 3), ("audio", 1), ("audio", 1), ("text", 1)]);
}

#[test]
fn a_track_that_joins_moves_no_id() {
    let ids = |ladder: Ladder| -> Vec<(String, String)> {
        let mpd = parsed(&Channel::new(ladder, &Window::new()).number());
        let sets = mpd.periods[0].adaptations.iter();
        sets.map(|set| (set.id.clone().unwrap(), set.representations[0].id.clone().unwrap())).collect()
    };
    let before = ids(tracks([video("v0", (640, 360), 1), audio("en", "en", 1)]));
    let after = ids(tracks([audio("de", "de", 1), audio("en", "en", 1), text("t", "en"), video("v0", (640, 360), 1)]));
    assert!(before.iter().all(|id| after.contains(id)), "{before:?} {after:?}");
    let mut unique: Vec<_> = after.iter().map(|(id, _)| id).collect();
    unique.dedup();
    assert_eq!(unique.len(), 4);
}

#[test]
fn a_1001_rate_and_a_phase_stay_exact() {
    let mut channel = Channel::new(small(), &Window::new());
    let ntsc = MediaDuration::new(60_060, scale(30_000));
    channel.targets = Targets::new(ntsc, half(), MediaDuration::from_millis(60_000));
    channel.grid = Grid::new(ntsc).unwrap();
    let template = |channel: &Channel| {
        let read = read::parse(channel.number().as_bytes()).unwrap();
        (read.periods[0].start.unwrap(), read.periods[0].representations[0].template.clone().unwrap())
    };
    let (start, found) = template(&channel);
    assert_eq!((start.nanos(), found.timescale.ticks_per_second(), found.duration), (0, 1_000, Some(2_002)));
    assert_eq!(found.availability_time_offset, Some(MediaDuration::from_millis(1_502)));

    channel.grid = Grid::with_phase(two(), MediaTime::new(1_700_000_001_234, Timescale::MILLIS)).unwrap();
    channel.periods = vec![period("p0", 0, &channel.ladder, 0), period("p1", FIRST + 5, &channel.ladder, 1)];
    let (start, found) = template(&channel);
    assert_eq!((start, found.presentation_time_offset), (MediaDuration::from_millis(1_234), 1_234));
    let read = read::parse(channel.number().as_bytes()).unwrap();
    let second = &read.periods[1];
    let found = second.representations[0].template.as_ref().unwrap();
    assert_eq!(second.start, Some(MediaDuration::from_millis(1_700_000_011_234)));
    assert_eq!((found.presentation_time_offset, found.start_number), (1_700_000_011_234, FIRST + 5));
}

#[test]
fn a_new_generation_is_a_new_period_and_connected_only_where_nothing_changed() {
    let mut channel = Channel::new(small(), &window((FIRST..FIRST + 4).map(segment), None));
    let mut next = period("p1", FIRST + 2, &channel.ladder, 0);
    next.generations[0].1 = Generation(1);
    channel.periods.push(next);
    for text in [channel.number(), channel.timeline()] {
        let mpd = parsed(&text);
        assert_eq!(mpd.periods.len(), 2);
        let sets = &mpd.periods[1].adaptations;
        let connected: Vec<_> =
            sets.iter().map(|set| set.supplemental_property.first().and_then(|p| p.value.as_deref())).collect();
        assert_eq!(connected, [None, Some("p0"), Some("p0")]);
        let header = sets[0].representations[0].SegmentTemplate.as_ref().unwrap().initialization.as_deref();
        assert_eq!(header, Some("$RepresentationID$/init-1.mp4"));
    }
    let read = read::parse(channel.timeline().as_bytes()).unwrap();
    let counts: Vec<_> = read
        .periods
        .iter()
        .map(|p| p.representations[0].template.as_ref().unwrap().timeline.as_ref().unwrap()[0].repeat)
        .collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn a_period_that_has_left_every_window_is_not_written() {
    let mut channel = Channel::new(small(), &window((FIRST + 2..FIRST + 4).map(segment), None));
    channel.periods.push(period("p1", FIRST + 2, &channel.ladder, 1));
    for text in [channel.number(), channel.timeline()] {
        assert_eq!(read::parse(text.as_bytes()).unwrap().periods[0].id.as_deref(), Some("p1"));
    }
}

#[test]
fn a_track_without_a_segment_yet_waits_outside_the_timeline() {
    let mut channel = Channel::new(small(), &window([segment(FIRST)], None));
    channel.windows[2].1 = Window::new();
    channel.periods.push(period("p1", FIRST + 1, &channel.ladder, 1));
    let read = read::parse(channel.timeline().as_bytes()).unwrap();
    assert_eq!(read.periods.len(), 1);
    assert_eq!(read.periods[0].representations.len(), 2);
    assert_eq!(read::parse(channel.number().as_bytes()).unwrap().periods.len(), 2);
}

#[test]
fn an_ended_channel_is_static_and_begins_where_its_window_does() {
    let mut channel = Channel::new(small(), &window((FIRST..FIRST + 10).map(segment), None));
    channel.state = State::Ended { end: MediaTime::new(1_700_000_019_500, Timescale::MILLIS) };
    for text in [channel.number(), channel.timeline()] {
        for absent in [
            "minimumUpdatePeriod",
            "timeShiftBufferDepth",
            "PatchLocation",
            "UTCTiming",
            "availabilityTimeOffset",
            "Latency",
        ] {
            assert!(!text.contains(absent), "{absent}");
        }
        let read = read::parse(text.as_bytes()).unwrap();
        assert!(!read.dynamic);
        assert_eq!(read.duration, Some(MediaDuration::from_millis(1_700_000_019_500)));
        assert_eq!(read.periods[0].start, Some(MediaDuration::from_millis(1_700_000_000_000)));
        assert_eq!(read.periods[0].duration, Some(MediaDuration::from_millis(19_500)));
        let template = read.periods[0].representations[0].template.as_ref().unwrap();
        let offset = template.presentation_time_offset / u64::from(template.timescale.ticks_per_second());
        assert_eq!(offset, 1_700_000_000);
    }
    let read = read::parse(channel.number().as_bytes()).unwrap();
    assert_eq!(read.periods[0].representations[0].template.as_ref().unwrap().start_number, FIRST);
    assert!(channel.number().contains(&format!(" endNumber=\"{}\"", FIRST + 9)));
}

#[test]
fn the_rest_of_a_segment_that_was_cut_short_is_lost_too() {
    let cut = Segment { duration: MediaDuration::new(36_000, common::scale(90_000)), ..segment(FIRST + 1) };
    let shown = window([segment(FIRST), cut, segment(FIRST + 2)], None);
    let text = Channel::new(tracks([video("v0", (640, 360), 812_000)]), &shown).timeline();
    let at = FIRST * 180_000 + 216_000;
    assert!(text.contains(&format!("<FCS t=\"{at}\" d=\"144000\"/>")), "{text}");
}

#[test]
fn what_is_written_is_read_back_by_the_model_it_was_written_from() {
    let channel = Channel::new(ladder(), &window((FIRST..FIRST + 4).map(segment), None));
    let mpd = parsed(&channel.timeline());
    assert_eq!(mpd.mpdtype.as_deref(), Some("dynamic"));
    assert_eq!(mpd.publishTime.map(|t| t.timestamp_millis()), Some(1_700_000_008_500));
    assert_eq!(mpd.availabilityStartTime.map(|t| t.timestamp()), Some(0));
    let template = mpd.periods[0].adaptations[0].representations[2].SegmentTemplate.as_ref().unwrap();
    let run = &template.SegmentTimeline.as_ref().unwrap().segments[0];
    assert_eq!((run.t, run.d, run.r), (Some(FIRST * 180_000), 180_000, Some(3)));
    assert!(!channel.timeline().contains("xlink:"));
}

#[test]
fn overlapping_segments_give_way_to_the_later_one() {
    let mut long = segment(FIRST);
    long.duration = MediaDuration::new(181_024, scale(90_000));
    let channel = Channel::new(small(), &window([long, segment(FIRST + 1)], None));
    let read = read::parse(channel.timeline().as_bytes()).unwrap();
    let runs = read.periods[0].representations[0].template.as_ref().unwrap().timeline.clone().unwrap();
    assert!(runs.windows(2).all(|pair| pair[0].time.unwrap() + pair[0].duration == pair[1].time.unwrap()), "{runs:?}");
}
