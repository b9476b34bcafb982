// SPDX-License-Identifier: Apache-2.0
//! Sample rate and channels as the decoder's configuration states them.
//!
//! The sample entry's own fields are unreliable: 16 bits for the rate, a fixed 2 channels for AC-3, the core's rate for
//! HE-AAC. A configuration that cannot be read gives `None`, and the entry's fields stand.

use headwater_media::Audio;

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for at in self.at..self.at + count {
            let bit = self.bytes.get(at / 8)? >> (7 - at % 8) & 1;
            value = value << 1 | u32::from(bit);
        }
        self.at += count;
        Some(value)
    }
}

const AAC_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Channels of each `channelConfiguration`; 0 is told elsewhere.
const AAC_CHANNELS: [u16; 15] = [0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8];
const SBR: u32 = 5;
const PS: u32 = 29;

/// AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1). Explicit SBR gives the output's rate, PS its two channels.
pub(crate) fn aac(config: &[u8]) -> Option<Audio> {
    let mut bits = Bits::new(config);
    let object_type = aac_object_type(&mut bits)?;
    let mut sample_rate = aac_rate(&mut bits)?;
    let mut channels = *AAC_CHANNELS.get(bits.take(4)? as usize).unwrap_or(&0);
    if object_type == SBR || object_type == PS {
        sample_rate = aac_rate(&mut bits)?;
    }
    if object_type == PS && channels == 1 {
        channels = 2;
    }
    Some(Audio { sample_rate, channels })
}

fn aac_object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5)? {
        31 => Some(32 + bits.take(6)?),
        short => Some(short),
    }
}

fn aac_rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(4)? {
        15 => bits.take(24).filter(|&rate| rate > 0),
        index => AAC_RATES.get(index as usize).copied(),
    }
}

const DOLBY_RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// Full-bandwidth channels of each `acmod`.
const DOLBY_CHANNELS: [u16; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

fn dolby_channels(acmod: u32, lfe: u32) -> u16 {
    DOLBY_CHANNELS[acmod as usize & 7] + u16::from(lfe == 1)
}

/// `dac3` (ETSI TS 102 366, F.4).
pub(crate) fn ac3(config: &[u8]) -> Option<Audio> {
    let mut bits = Bits::new(config);
    let sample_rate = *DOLBY_RATES.get(bits.take(2)? as usize)?;
    let _bsid_bsmod = bits.take(8)?;
    let (acmod, lfe) = (bits.take(3)?, bits.take(1)?);
    Some(Audio { sample_rate, channels: dolby_channels(acmod, lfe) })
}

/// `dec3` (ETSI TS 102 366, F.6): the first independent substream and what depends on it.
pub(crate) fn eac3(config: &[u8]) -> Option<Audio> {
    let mut bits = Bits::new(config);
    let _data_rate_and_substreams = bits.take(16)?;
    let sample_rate = *DOLBY_RATES.get(bits.take(2)? as usize)?;
    let _bsid_reserved_asvc_bsmod = bits.take(10)?;
    let (acmod, lfe) = (bits.take(3)?, bits.take(1)?);
    let _reserved = bits.take(3)?;
    let mut channels = dolby_channels(acmod, lfe);
    if bits.take(4)? > 0 {
        // F.6.2.13: these locations are pairs (Lc/Rc, Lrs/Rrs, Lsd/Rsd, Lw/Rw, Lvh/Rvh), the others single.
        const PAIRS: u32 = 0b0_0111_0011;
        let location = bits.take(9)?;
        channels += (location.count_ones() + (location & PAIRS).count_ones()) as u16;
    }
    Some(Audio { sample_rate, channels })
}

/// `dOps` (Encapsulation of Opus in ISOBMFF, 4.3.2); Opus always decodes at 48 kHz.
pub(crate) fn opus(config: &[u8]) -> Option<Audio> {
    let channels = u16::from(*config.get(1)?);
    Some(Audio { sample_rate: 48_000, channels })
}

/// `dfLa` (Encapsulation of FLAC in ISOBMFF, 3.3.2), whose first block is STREAMINFO (RFC 9639, 8.2).
pub(crate) fn flac(config: &[u8]) -> Option<Audio> {
    let version_flags_and_block_header = 8;
    let mut bits = Bits::new(config.get(version_flags_and_block_header + 10..)?);
    let sample_rate = bits.take(20).filter(|&rate| rate > 0)?;
    Some(Audio { sample_rate, channels: bits.take(3)? as u16 + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(sample_rate: u32, channels: u16) -> Option<Audio> {
        Some(Audio { sample_rate, channels })
    }

    #[test]
    fn aac_configurations_give_the_rate_and_channels_that_come_out() {
        assert_eq!(aac(&[0x11, 0x90]), shape(48_000, 2));
        assert_eq!(aac(&[0x12, 0x08]), shape(44_100, 1));
        assert_eq!(aac(&[0x11, 0xb8]), shape(48_000, 8));
        // HE-AAC: AOT 5, core 24 kHz stereo, extension 48 kHz.
        assert_eq!(aac(&[0x2b, 0x11, 0x88, 0x00]), shape(48_000, 2));
        // HE-AAC v2: AOT 29, core 24 kHz mono, extension 48 kHz; parametric stereo makes two.
        assert_eq!(aac(&[0xeb, 0x09, 0x88, 0x00]), shape(48_000, 2));
        assert_eq!(aac(&[0x11]), None);
    }

    #[test]
    fn dolby_configurations_count_the_channels_themselves() {
        assert_eq!(ac3(&[0x10, 0x3d, 0x40]), shape(48_000, 6));
        assert_eq!(ac3(&[0x10, 0x10, 0x80]), shape(48_000, 2));
        assert_eq!(eac3(&[0x06, 0x00, 0x20, 0x0f, 0x00]), shape(48_000, 6));
        // A dependent substream with Lrs/Rrs makes 7.1.
        assert_eq!(eac3(&[0x06, 0x00, 0x20, 0x0f, 0x02, 0x02]), shape(48_000, 8));
        assert_eq!(ac3(&[0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn flac_gives_rates_past_16_bits() {
        let mut config = vec![0, 0, 0, 0, 0x80, 0, 0, 34];
        config.extend([0; 10]);
        config.extend([0x17, 0x70, 0x02, 0xf0]);
        assert_eq!(flac(&config), shape(96_000, 2));
    }
}
