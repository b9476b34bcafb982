// SPDX-License-Identifier: Apache-2.0
//! As much of the ISO base media file format as tests need: header and fragments apart, times moved, samples told.

/// A CMAF track file in the pieces that an encoder sends.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    /// `ftyp` and `moov`.
    pub(crate) header: Vec<u8>,
    /// Each `moof` with its `mdat`.
    pub(crate) fragments: Vec<Vec<u8>>,
}

impl Pieces {
    /// Takes a file apart.
    pub(crate) fn of(file: &[u8]) -> Self {
        let mut pieces = Self { header: Vec::new(), fragments: Vec::new() };
        let mut rest = file;
        while rest.len() >= 8 {
            let length = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let (whole, after) = rest.split_at(length);
            match &whole[4..8] {
                b"ftyp" | b"moov" => pieces.header.extend_from_slice(whole),
                b"moof" => pieces.fragments.push(whole.to_vec()),
                b"mdat" => pieces.fragments.last_mut().expect("a moof before its mdat").extend_from_slice(whole),
                _ => {}
            }
            rest = after;
        }
        pieces
    }

    /// Moves every fragment by so many ticks.
    pub(crate) fn shift(&mut self, ticks: i64) {
        for fragment in &mut self.fragments {
            let at = time_at(fragment);
            let time = decode_time(fragment).checked_add_signed(ticks).expect("a time after zero");
            fragment[at..at + 8].copy_from_slice(&time.to_be_bytes());
        }
    }

    /// Fragments that begin in `[from, to)` ticks, as one segment.
    pub(crate) fn between(&self, from: u64, to: u64) -> Vec<u8> {
        self.fragments.iter().filter(|f| (from..to).contains(&decode_time(f))).flatten().copied().collect()
    }
}

/// A sample as its fragment tells it, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) decode_time: i64,
    pub(crate) duration: i64,
    pub(crate) offset: i64,
}

/// Timescale and samples of a track file of one header and fragments of one track each.
pub(crate) fn samples(file: &[u8]) -> (i64, Vec<Sample>) {
    let at = file.windows(4).position(|w| w == b"mdhd").expect("a track has an mdhd") + 4;
    let times = if file[at] == 1 { 16 } else { 8 };
    let scale = i64::from(word(file, at + 4 + times));
    let mut samples = Vec::new();
    for fragment in Pieces::of(file).fragments {
        let mut time = i64::try_from(decode_time(&fragment)).expect("this century");
        let tfhd = find(&fragment, b"tfhd").expect("a tfhd");
        let flags = word(&fragment, tfhd) & 0x00ff_ffff;
        let before =
            [(0x1, 8), (0x2, 4)].iter().filter(|(flag, _)| flags & flag != 0).map(|(_, size)| size).sum::<usize>();
        let usual = if flags & 0x8 == 0 { 0 } else { word(&fragment, tfhd + 8 + before) };
        let trun = find(&fragment, b"trun").expect("a trun");
        let flags = word(&fragment, trun) & 0x00ff_ffff;
        let has = |flag: u32| flags & flag != 0;
        let mut at = trun + 8 + [0x1, 0x4].iter().filter(|flag| has(**flag)).count() * 4;
        for _ in 0..word(&fragment, trun + 4) {
            let mut field = |flag: u32| {
                has(flag).then(|| {
                    at += 4;
                    word(&fragment, at - 4)
                })
            };
            let duration = i64::from(field(0x100).unwrap_or(usual));
            let (_size, _flags) = (field(0x200), field(0x400));
            let offset = field(0x800).map_or(0, |o| i64::from(i32::from_be_bytes(o.to_be_bytes())));
            samples.push(Sample { decode_time: time, duration, offset });
            time += duration;
        }
    }
    (scale, samples)
}

/// Where the version and flags of a box stand.
fn find(bytes: &[u8], kind: &[u8; 4]) -> Option<usize> {
    bytes.windows(4).position(|w| w == kind).map(|at| at + 4)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// `baseMediaDecodeTime` of a fragment's first track.
pub(crate) fn decode_time(fragment: &[u8]) -> u64 {
    let at = time_at(fragment);
    u64::from_be_bytes(fragment[at..at + 8].try_into().expect("eight bytes"))
}

/// Where the 64-bit time of the fragment's `tfdt` stands.
fn time_at(fragment: &[u8]) -> usize {
    let at = find(fragment, b"tfdt").expect("a fragment has a tfdt");
    assert_eq!(fragment[at], 1, "expected a tfdt of version 1");
    at + 4
}
