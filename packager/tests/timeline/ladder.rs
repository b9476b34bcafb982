// SPDX-License-Identifier: Apache-2.0
//! Ladders to send: the sample ladder, which loops, and drawn-up ones of any frame rate.

use bytes::Bytes;
use headwater_media::{Kind, TrackId, UtcTime};
use headwater_packager::Sample;
use headwater_packager::timeline::assembler::TrackInput;

use crate::rig::{EPOCH_SECONDS, Rig, header_and_fragments, scale, track};

/// One track of an encoder.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) id: TrackId,
    pub(crate) input: TrackInput,
    pub(crate) samples: Vec<Sample>,
}

/// How a ladder is drawn up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Frames a second as a fraction.
    pub(crate) rate: (i64, i64),
    pub(crate) gop: i64,
    pub(crate) timescale: u32,
    pub(crate) sound_hz: u32,
    /// Where it begins.
    pub(crate) from_seconds: i64,
    pub(crate) seconds: i64,
}

impl Shape {
    pub(crate) const PLAIN: Self =
        Self { rate: (25, 1), gop: 50, timescale: 12_800, sound_hz: 48_000, from_seconds: EPOCH_SECONDS, seconds: 24 };

    /// Three pictures and a sound.
    pub(crate) fn sources(self) -> Vec<Source> {
        let mut sources: Vec<Source> = (0..3).map(|n| self.video(n)).collect();
        sources.push(self.sound());
        sources
    }

    pub(crate) fn video(self, n: u8) -> Source {
        let (rate, base) = (self.rate, i128::from(self.timescale));
        let time =
            |i: i64| i64::try_from(i128::from(i) * i128::from(rate.1) * base / i128::from(rate.0)).expect("small");
        let first = (self.from_seconds * rate.0 / rate.1).div_euclid(self.gop) * self.gop;
        let count = self.seconds * rate.0 / rate.1;
        let samples = (first..first + count).map(|i| Sample {
            decode_time: time(i),
            composition_offset: 0,
            duration: u32::try_from(time(i + 1) - time(i)).expect("a frame is short"),
            sync: i % self.gop == 0,
            data: Bytes::from(vec![n, (i % 251) as u8, (i % 7) as u8]),
        });
        let input = TrackInput { kind: Kind::Video, timescale: scale(self.timescale) };
        Source { id: track(&format!("v{n}")), input, samples: samples.collect() }
    }

    pub(crate) fn sound(self) -> Source {
        let first = self.from_seconds * i64::from(self.sound_hz) / 1_024;
        let samples = (first..first + self.seconds * i64::from(self.sound_hz) / 1_024).map(|i| Sample {
            decode_time: i * 1_024,
            composition_offset: 0,
            duration: 1_024,
            sync: true,
            data: Bytes::from(vec![9, (i % 251) as u8]),
        });
        let input = TrackInput { kind: Kind::Audio, timescale: scale(self.sound_hz) };
        Source { id: track("a0"), input, samples: samples.collect() }
    }
}

/// The sample ladder, `loops` times 8 s.
pub(crate) fn sample_ladder(loops: i64) -> Vec<Source> {
    let files: [(&str, &'static [u8]); 4] = [
        ("v0", include_bytes!("../../../cli/assets/ladder/v0.cmfv")),
        ("v1", include_bytes!("../../../cli/assets/ladder/v1.cmfv")),
        ("v2", include_bytes!("../../../cli/assets/ladder/v2.cmfv")),
        ("a0", include_bytes!("../../../cli/assets/ladder/a0.cmfa")),
    ];
    let source = |(name, file): (&str, &'static [u8])| {
        let (header, fragments) = header_and_fragments(&Bytes::from_static(file));
        let of = &header.tracks[0];
        let once: Vec<Sample> = fragments.into_iter().flat_map(|f| f.tracks).flat_map(|t| t.samples).collect();
        let per_second = i64::from(of.timescale.ticks_per_second());
        let shifted = |i: i64| {
            let shift = (EPOCH_SECONDS + 8 * i) * per_second - once[0].decode_time;
            once.iter().map(move |s| Sample { decode_time: s.decode_time + shift, ..s.clone() }).collect::<Vec<_>>()
        };
        let samples = (0..loops).flat_map(shifted).collect();
        Source { id: track(name), input: TrackInput { kind: of.kind, timescale: of.timescale }, samples }
    };
    files.map(source).into()
}

/// A fragment on its way.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) at: UtcTime,
    /// When its last sample was taken.
    pub(crate) captured: UtcTime,
    pub(crate) id: TrackId,
    pub(crate) body: u64,
    pub(crate) samples: Vec<Sample>,
}

/// How an encoder and a network cut and delay a ladder; each number decides many small things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) seed: u64,
    /// Most samples in a fragment.
    pub(crate) fragment_max: u64,
    /// Longest delay.
    pub(crate) delay_ms: u64,
    /// Each fragment is a body of its own, so they may overtake each other.
    pub(crate) bodies: bool,
}

impl Network {
    pub(crate) const QUIET: Self = Self { seed: 1, fragment_max: 5, delay_ms: 0, bodies: false };

    /// What arrives, in order of arrival. `zero` is when the sources' time zero was.
    pub(crate) fn deliver(self, sources: &[Source], zero: UtcTime) -> Vec<Delivery> {
        let mut random = self.seed | 1;
        let mut next = move |max: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % max.max(1)
        };
        let mut deliveries: Vec<Delivery> = Vec::new();
        for (n, source) in sources.iter().enumerate() {
            let (mut rest, mut earlier, mut body) = (&source.samples[..], zero, n as u64 + 1);
            while !rest.is_empty() {
                let count = usize::try_from(1 + next(self.fragment_max)).expect("small").min(rest.len());
                let (samples, left) = rest.split_at(count);
                rest = left;
                let last = &samples[count - 1];
                let end = headwater_media::MediaTime::new(
                    last.decode_time + i64::from(last.duration),
                    source.input.timescale,
                );
                let captured = UtcTime::from_nanos(zero.nanos() + end.nanos());
                let mut at = captured + std::time::Duration::from_millis(next(self.delay_ms + 1));
                if self.bodies {
                    body += 100;
                } else {
                    at = at.max(earlier);
                    earlier = at;
                }
                deliveries.push(Delivery { at, captured, id: source.id.clone(), body, samples: samples.to_vec() });
            }
        }
        deliveries.sort_by_key(|d| d.at);
        deliveries
    }
}

/// Announces the tracks and sends what arrives; then nothing follows.
pub(crate) fn send(rig: &mut Rig, sources: &[Source], deliveries: &[Delivery]) {
    send_on(rig, sources, deliveries);
    rig.pass(std::time::Duration::from_secs(3));
}

/// Announces the tracks and sends what arrives by now.
pub(crate) fn send_on(rig: &mut Rig, sources: &[Source], deliveries: &[Delivery]) {
    for source in sources {
        rig.assembler.header(&source.id, source.input);
    }
    for delivery in deliveries {
        rig.pass(delivery.at.since(rig.now));
        rig.samples(&delivery.id, delivery.body, delivery.samples.clone());
    }
}
