// SPDX-License-Identifier: Apache-2.0
//! What holds whatever an encoder and a network do: losses, duplicates, changed places, delays, restarts and headers that
//! change, over several tracks at once.

use std::time::Duration;

use bytes::Bytes;
use headwater_media::{SegmentNumber, TrackId, UtcTime};
use headwater_packager::cmaf::{Event, Limits, Reader};
use headwater_packager::timeline::Defect;
use proptest::prelude::*;

use crate::ladder::{Delivery, Network, Shape, Source};
use crate::rig::{Rig, at, vector};

/// What befalls one fragment.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Lost,
    /// Comes once more, this much later.
    Twice(u64),
    Delayed(u64),
    /// Comes in another body.
    Strays,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        30 => Just(Fate::Arrives),
        2 => Just(Fate::Lost),
        2 => (0_u64..6_000).prop_map(Fate::Twice),
        3 => (0_u64..4_000).prop_map(Fate::Delayed),
        1 => Just(Fate::Strays),
    ]
}

#[derive(Clone, Debug)]
struct Weather {
    network: Network,
    fates: Vec<Fate>,
    /// Encoders count from zero.
    zero: bool,
    /// The encoder starts anew after so many milliseconds.
    restart: Option<u64>,
    /// A track's header comes again with another coding after so many fragments.
    change: Option<usize>,
    /// A track falls silent between these milliseconds.
    silence: Option<(u64, u64)>,
}

fn weather() -> impl Strategy<Value = Weather> {
    let network = (any::<u64>(), 1_u64..60, 0_u64..600, any::<bool>())
        .prop_map(|(seed, fragment_max, delay_ms, bodies)| Network { seed, fragment_max, delay_ms, bodies });
    let fates = prop::collection::vec(fate(), 16..96);
    let silence = prop::option::weighted(0.3, (2_000_u64..10_000, 1_000_u64..12_000));
    let restart = prop::option::weighted(0.3, 6_000_u64..12_000);
    let change = prop::option::weighted(0.2, 5_usize..60);
    (network, fates, any::<bool>(), restart, change, silence).prop_map(
        |(network, fates, zero, restart, change, silence)| Weather { network, fates, zero, restart, change, silence },
    )
}

impl Weather {
    fn sources(&self) -> Vec<Source> {
        let from_seconds = if self.zero { 0 } else { crate::rig::EPOCH_SECONDS };
        let shape = Shape { from_seconds, seconds: 16, ..Shape::PLAIN };
        vec![shape.video(0), shape.video(1), shape.sound()]
    }

    fn deliveries(&self, sources: &[Source]) -> Vec<Delivery> {
        let zero = if self.zero { at(0.0) } else { UtcTime::from_nanos(0) };
        let mut all = self.network.deliver(sources, zero);
        if let (Some(restart), true) = (self.restart, self.zero) {
            let again = at(0.0) + Duration::from_millis(restart);
            all.retain(|d| d.at < again);
            let network = Network { seed: self.network.seed ^ 7, ..self.network };
            let later = network.deliver(sources, again + Duration::from_secs(3));
            all.extend(later.into_iter().map(|d| Delivery { body: d.body + 1_000_000, ..d }));
        }
        let mut out = Vec::new();
        for (n, delivery) in all.into_iter().enumerate() {
            let since = u64::try_from((delivery.captured.nanos() - at(0.0).nanos()) / 1_000_000).unwrap_or(0);
            let silent = |(from, length): (u64, u64)| (from..from + length).contains(&since);
            if self.silence.is_some_and(silent) && delivery.id == sources[1].id {
                continue;
            }
            let later = |ms: u64| Delivery { at: delivery.at + Duration::from_millis(ms), ..delivery.clone() };
            match self.fates[n % self.fates.len()] {
                Fate::Arrives => out.push(delivery),
                Fate::Lost => {}
                Fate::Twice(ms) => out.extend([later(0), later(ms)]),
                Fate::Delayed(ms) => out.push(later(ms)),
                Fate::Strays => out.push(Delivery { body: delivery.body + 500_000, ..delivery }),
            }
        }
        out.sort_by_key(|d| d.at);
        out
    }

    /// Sends everything, then nothing follows.
    fn run(&self) -> (Rig, Vec<Source>, Vec<Delivery>) {
        let sources = self.sources();
        let deliveries = self.deliveries(&sources);
        let mut rig = Rig::new(deliveries.first().map_or(at(0.0), |d| d.at));
        for source in &sources {
            rig.assembler.header(&source.id, source.input);
        }
        for (n, delivery) in deliveries.iter().enumerate() {
            rig.pass(delivery.at.since(rig.now));
            if self.change == Some(n) {
                rig.assembler.header(&sources[0].id, sources[0].input);
                rig.follow();
            }
            rig.samples(&delivery.id, delivery.body, delivery.samples.clone());
        }
        rig.pass(Duration::from_secs(9));
        rig.assembler.end(rig.now);
        rig.follow();
        (rig, sources, deliveries)
    }
}

/// What every track of every outcome holds to; numbers, indices and times that go back are caught by the rig itself.
fn hold(rig: &Rig, id: &TrackId) {
    let parts = rig.parts(id);
    for part in &parts {
        let ticks: i64 = part.samples.iter().map(|s| i64::from(s.duration)).sum();
        assert_eq!(part.duration.ticks(), ticks, "{id}: a part lasts as long as its samples");
        assert_eq!(part.independent, part.samples[0].sync, "{id}");
        for pair in part.samples.windows(2) {
            let gap = pair[1].decode_time - pair[0].decode_time - i64::from(pair[0].duration);
            assert!(gap.abs() <= 13, "{id}: a part has no hole: {gap}");
        }
    }
    for pair in parts.windows(2) {
        let (last, next) = (&pair[0].samples[pair[0].samples.len() - 1], &pair[1].samples[0]);
        let end = last.decode_time + i64::from(last.duration);
        assert!(next.decode_time >= end - 13, "{id}: {} overlaps {end}", next.decode_time);
    }
    let mut number = SegmentNumber(0);
    for segment in rig.segments(id) {
        assert!(segment.number > number, "{id}: numbers rise");
        assert!(segment.short.is_some(), "{id}: {} has ended", segment.number);
        number = segment.number;
        let generation = rig.breaks.iter().rev().find(|(first, _)| *first <= number).map_or(0, |b| b.1.0);
        assert_eq!(segment.generation.0, generation, "{id}: {number} of {:?}", rig.breaks);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sample_is_delivered_or_counted(weather in weather()) {
        let (rig, sources, deliveries) = weather.run();
        let overflow = rig.defects.contains(&Defect::Overflow);
        for source in &sources {
            hold(&rig, &source.id);
            let sent: usize = deliveries.iter().filter(|d| d.id == source.id).map(|d| d.samples.len()).sum();
            let counts = rig.assembler.counts(&source.id);
            let told = rig.published(&source.id).len() as u64 + counts.duplicate + counts.late + counts.unjoined;
            prop_assert!(overflow || told == sent as u64, "{}: {sent} sent, {} published, {counts:?}, {:?}, resets {}",
                source.id, rig.published(&source.id).len(), rig.defects, rig.resets);
        }
    }

    #[test]
    fn the_same_arrivals_make_the_same_bytes(weather in weather()) {
        let (one, two) = (weather.run().0, weather.run().0);
        prop_assert_eq!(&one.chunks, &two.chunks);
        prop_assert_eq!(&one.ends, &two.ends);
    }

    #[test]
    fn how_the_bytes_are_cut_changes_nothing(
        name in prop::sample::select(&[
            "cmaf/v25_chunked_prft.cmfv", "fmp4/smooth_live.ismv", "fmp4/mux_av_one_moof.mp4",
            "bad/init_change_midstream.cmfv", "bad/vfr.cmfv", "bad/restart_tfdt_zero.cmfv",
        ][..]),
        cuts in prop::collection::vec(1_usize..20_000, 1..40),
    ) {
        let body = vector(name);
        let read = |cuts: &[usize]| {
            let (mut reader, mut events, mut rest) = (Reader::new(Limits::default()), Vec::new(), body.clone());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let piece: Bytes = rest.split_to((*cut).min(rest.len()));
                reader.push(piece, &mut events).expect("a good body");
            }
            reader.finish(&mut events).expect("a good body");
            events
        };
        let samples = |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Fragment(_))).count();
        let (whole, pieces) = (read(&[usize::MAX]), read(&cuts));
        prop_assert!(samples(&whole) >= 2);
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn what_never_finds_its_place_is_counted_at_the_end() {
    // Pictures from zero of which no key frame ever comes cannot be placed.
    let source = Shape { from_seconds: 0, ..Shape::PLAIN }.video(0);
    let mut rig = Rig::new(at(0.0));
    rig.assembler.header(&source.id, source.input);
    rig.samples(&source.id, 1, source.samples[1..40].to_vec());
    rig.pass(Duration::from_secs(3));
    rig.assembler.end(rig.now);
    rig.follow();
    assert_eq!((rig.published(&source.id).len(), rig.assembler.counts(&source.id).unjoined), (0, 39));
}
