// SPDX-License-Identifier: Apache-2.0
//! Parameter sets that come in band and contradict the header.
//!
//! A relay that copies its input keeps the header it began with: when the encoder behind it changes, the new SPS stands
//! only in the samples. A decoder that was set up by the header alone then shows nothing or noise, so such samples get a
//! header of their own (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1: sets in the header, other ones not in band).

use bytes::{BufMut, Bytes};
use shiguredo_mp4::bitstream::h264::{self, H264SampleEntryConfig, LengthSize};
use shiguredo_mp4::bitstream::h265::{self, H265ConstantFrameRate, H265SampleEntryConfig};
use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::{Decode, Encode};

use crate::Sample;
use crate::cmaf::boxes::Cursor;
use crate::cmaf::boxes::FourCc;
use crate::cmaf::track::TrackHeader;

/// More sets than this in one sample are noise.
const SETS_MAX: usize = 64;
/// Bytes of the fields of a visual sample entry, its own header included; width and height stand at 32.
const FIELDS_BYTES: usize = 86;
const WIDTH_AT: usize = 32;

/// Lists by kind: VPS (HEVC only), SPS, PPS.
type Sets = [Vec<Vec<u8>>; 3];

const VPS: usize = 0;
const SPS: usize = 1;
const PPS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Avc,
    Hevc,
}

impl Coding {
    const fn config_box(self) -> &'static [u8; 4] {
        match self {
            Self::Avc => b"avcC",
            Self::Hevc => b"hvcC",
        }
    }

    /// Which list a NAL unit belongs to; `Err` for the first of the picture itself.
    fn list(self, nal: &[u8]) -> Result<Option<usize>, ()> {
        let Some(&first) = nal.first() else { return Ok(None) };
        match self {
            Self::Avc => match first & 0x1f {
                1..=5 => Err(()),
                7 => Ok(Some(SPS)),
                8 => Ok(Some(PPS)),
                _ => Ok(None),
            },
            Self::Hevc => match first >> 1 & 0x3f {
                0..=31 => Err(()),
                32 => Ok(Some(VPS)),
                33 => Ok(Some(SPS)),
                34 => Ok(Some(PPS)),
                _ => Ok(None),
            },
        }
    }
}

/// What a header says of its parameter sets.
struct Known {
    coding: Coding,
    length_bytes: usize,
    /// Other sets may come in band without contradicting it (`avc3`, `hev1`).
    open: bool,
    sets: Sets,
}

impl Known {
    fn of(track: &TrackHeader) -> Option<Self> {
        let four_cc = track.codec.four_cc();
        // Read as the entry of the same shape that the decoder of entries knows.
        let (entry, open) = match &four_cc {
            b"avc1" | b"hvc1" => (track.sample_entry.to_vec(), false),
            b"avc3" => ([&track.sample_entry[..4], b"avc1", &track.sample_entry[8..]].concat(), true),
            b"hev1" => (track.sample_entry.to_vec(), true),
            _ => return None,
        };
        let (decoded, _) = SampleEntry::decode(&entry).ok()?;
        let (coding, length_bytes, sets) = match decoded {
            SampleEntry::Avc1(entry) => {
                let config = entry.avcc_box;
                (Coding::Avc, config.length_size_minus_one.get(), [Vec::new(), config.sps_list, config.pps_list])
            }
            SampleEntry::Hvc1(entry) => {
                (Coding::Hevc, entry.hvcc_box.length_size_minus_one.get(), hevc(&entry.hvcc_box))
            }
            SampleEntry::Hev1(entry) => {
                (Coding::Hevc, entry.hvcc_box.length_size_minus_one.get(), hevc(&entry.hvcc_box))
            }
            _ => return None,
        };
        let sets = sets.map(|list| list.into_iter().map(|nal| trimmed(&nal).to_vec()).collect());
        Some(Self { coding, length_bytes: usize::from(length_bytes) + 1, open, sets })
    }

    /// The sets that stand before the picture in `data`.
    fn in_band(&self, data: &[u8]) -> Sets {
        let mut found = Sets::default();
        let mut rest = data;
        while let Some((length, after)) = rest.split_at_checked(self.length_bytes) {
            let length = length.iter().fold(0_usize, |n, byte| n << 8 | usize::from(*byte));
            let Some((nal, after)) = after.split_at_checked(length) else { break };
            rest = after;
            match self.coding.list(nal) {
                Err(()) => break,
                Ok(Some(list)) if found[list].len() < SETS_MAX => {
                    let nal = trimmed(nal).to_vec();
                    if !found[list].contains(&nal) {
                        found[list].push(nal);
                    }
                }
                Ok(_) => {}
            }
        }
        found
    }

    fn contradicted_by(&self, found: &Sets) -> bool {
        let lists = if self.open { SPS..=SPS } else { VPS..=PPS };
        !self.sets[SPS].is_empty()
            && lists.clone().any(|list| found[list].iter().any(|set| !self.sets[list].contains(set)))
    }
}

fn hevc(config: &shiguredo_mp4::boxes::HvccBox) -> Sets {
    [32, 33, 34].map(|kind| {
        let of_kind = config.nalu_arrays.iter().filter(|array| array.nal_unit_type.get() == kind);
        of_kind.flat_map(|array| array.nalus.iter().cloned()).collect()
    })
}

/// Without the zeros that may follow a NAL unit.
fn trimmed(nal: &[u8]) -> &[u8] {
    let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    &nal[..end]
}

/// The header that `sample` needs because parameter sets in it contradict `track`'s; `None` if it needs no other, or
/// none can be made of what it carries.
pub(crate) fn contradicted(track: &TrackHeader, sample: &Sample) -> Option<TrackHeader> {
    let known = Known::of(track)?;
    let found = known.in_band(&sample.data);
    if !known.contradicted_by(&found) {
        return None;
    }
    let [vps, sps, pps] =
        std::array::from_fn(|list| if found[list].is_empty() { &known.sets[list] } else { &found[list] });
    let length_size = LengthSize::from_length_size_minus_one(u8::try_from(known.length_bytes - 1).ok()?).ok()?;
    let (config, width, height) = match known.coding {
        Coding::Avc => {
            let entry = h264::build_avc1_box(sps, pps, &H264SampleEntryConfig { length_size }).ok()?;
            (entry.avcc_box.encode_to_vec().ok()?, entry.visual.width, entry.visual.height)
        }
        Coding::Hevc => {
            let config = H265SampleEntryConfig {
                length_size,
                avg_frame_rate: H265SampleEntryConfig::AVG_FRAME_RATE_UNSPECIFIED,
                constant_frame_rate: H265ConstantFrameRate::Unknown,
            };
            let built = |open: bool| {
                if open {
                    h265::build_hev1_box(vps, sps, pps, &config).map(|e| (e.hvcc_box, e.visual))
                } else {
                    h265::build_hvc1_box(vps, sps, pps, &config).map(|e| (e.hvcc_box, e.visual))
                }
            };
            let (config, visual) = built(known.open).ok()?;
            (config.encode_to_vec().ok()?, visual.width, visual.height)
        }
    };
    track.with_sample_entry(entry_with(&track.sample_entry, known.coding.config_box(), &config, width, height)?)
}

/// The entry with another configuration and size; what else it holds stays.
fn entry_with(entry: &Bytes, kind: &[u8; 4], config: &[u8], width: u16, height: u16) -> Option<Bytes> {
    let mut out = entry.get(..FIELDS_BYTES)?.to_vec();
    out[WIDTH_AT..WIDTH_AT + 2].copy_from_slice(&width.to_be_bytes());
    out[WIDTH_AT + 2..WIDTH_AT + 4].copy_from_slice(&height.to_be_bytes());
    let mut children = Cursor::new(FourCc(*kind), entry.get(FIELDS_BYTES..)?);
    while let Some(child) = children.child().ok()? {
        match &child.kind.0 {
            found if found == kind => out.put_slice(config),
            // It was told of pictures of another size.
            b"clap" => {}
            b"pasp" if !is_square(child.payload) => {}
            _ => out.put_slice(child.raw),
        }
    }
    let size = u32::try_from(out.len()).ok()?;
    out[..4].copy_from_slice(&size.to_be_bytes());
    Some(out.into())
}

fn is_square(pasp: &[u8]) -> bool {
    pasp.len() == 8 && pasp[..4] == pasp[4..]
}
