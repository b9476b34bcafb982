// SPDX-License-Identifier: Apache-2.0
//! A record in a file: it tells its own length and digest, and begins with bytes that no JSON has, so that records
//! around damage are found again. Little endian:
//!
//! `marker [4] · length u32 · digest u64 · offset u64 · stored i64 · kind u8 · channel u16 · key u16 · names · JSON`;
//! the length is of what follows the digest, the digest of the same (XXH3); a channel of 65535 bytes is none.

use headwater_media::UtcTime;
use xxhash_rust::xxh3::xxh3_64;

use super::entry::{Entry, JSON_BYTES_MAX, NAME_BYTES_MAX, Offset, Record};
use crate::event::Kind;

/// Never in UTF-8.
const MARKER: [u8; 4] = [0xf5, b'h', b'w', 0xf6];
/// Marker, length, digest.
const HEAD: usize = 16;
/// Offset, time, kind, lengths of names.
const FIXED: usize = 21;
const NO_CHANNEL: u16 = u16::MAX;
/// Bytes of the longest record.
pub const BYTES_MAX: usize = HEAD + FIXED + 2 * NAME_BYTES_MAX + JSON_BYTES_MAX;

/// A record where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its number.
    pub offset: Offset,
    /// When the log took it.
    pub stored: UtcTime,
    /// Its type.
    pub kind: Kind,
    /// Its channel.
    pub channel: Option<&'a str>,
    /// What orders it.
    pub key: &'a str,
    /// Its event.
    pub json: &'a [u8],
}

impl Raw<'_> {
    pub(super) fn to_record(self) -> Record {
        Record::new(self.offset, self.stored, self.kind, self.channel.map(Into::into), self.key.into(), self.json)
    }
}

/// What bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A record of so many bytes.
    Record(Raw<'a>, usize),
    /// The beginning of a record, as far as can be seen; its rest is not there.
    Partial,
    /// At least so many bytes that are none.
    Damage(usize),
}

/// Adds the record of an entry to `out`.
pub fn encode(entry: &Entry, offset: Offset, stored: UtcTime, out: &mut Vec<u8>) {
    let start = out.len();
    let length = |text: &str| u16::try_from(text.len()).expect("an entry's names are below 4 KiB");
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0; HEAD - 4]);
    out.extend_from_slice(&offset.0.to_le_bytes());
    out.extend_from_slice(&stored.nanos().to_le_bytes());
    out.push(entry.kind as u8);
    out.extend_from_slice(&entry.channel.as_deref().map_or(NO_CHANNEL, length).to_le_bytes());
    out.extend_from_slice(&length(&entry.key).to_le_bytes());
    out.extend_from_slice(entry.channel.as_deref().unwrap_or_default().as_bytes());
    out.extend_from_slice(entry.key.as_bytes());
    out.extend_from_slice(&entry.json);
    let (head, body) = out[start..].split_at_mut(HEAD);
    let bytes = u32::try_from(body.len()).expect("an entry is below 1 MiB");
    head[4..8].copy_from_slice(&bytes.to_le_bytes());
    head[8..].copy_from_slice(&xxh3_64(body).to_le_bytes());
}

/// Reads what `bytes` begin with; they are not empty.
pub fn next(bytes: &[u8]) -> Next<'_> {
    match read(bytes) {
        Ok(next) => next,
        Err(NotARecord) => {
            let rest = bytes.get(1..).unwrap_or_default();
            // A marker that is cut off counts: its rest may come.
            let found = (0..rest.len()).find(|at| {
                let seen = &rest[*at..rest.len().min(at + MARKER.len())];
                MARKER.starts_with(seen)
            });
            Next::Damage(found.map_or(bytes.len(), |at| at + 1))
        }
    }
}

struct NotARecord;

fn read(bytes: &[u8]) -> Result<Next<'_>, NotARecord> {
    let seen = bytes.len().min(MARKER.len());
    if bytes[..seen] != MARKER[..seen] {
        return Err(NotARecord);
    }
    let (Some(length), Some(digest)) = (u32_at(bytes, 4), u64_at(bytes, 8)) else { return Ok(Next::Partial) };
    let length = length as usize;
    if !(FIXED..=BYTES_MAX - HEAD).contains(&length) {
        return Err(NotARecord);
    }
    let Some(body) = bytes.get(HEAD..HEAD + length) else { return Ok(Next::Partial) };
    if xxh3_64(body) != digest {
        return Err(NotARecord);
    }
    let raw = fields(body).ok_or(NotARecord)?;
    Ok(Next::Record(raw, HEAD + length))
}

/// The fields of a body whose digest is right; none if another version wrote it.
fn fields(body: &[u8]) -> Option<Raw<'_>> {
    let offset = Offset(u64_at(body, 0)?);
    let stored = UtcTime::from_nanos(u64_at(body, 8)? as i64);
    let kind = Kind::numbered(*body.get(16)?)?;
    let (channel, key) = (u16_at(body, 17)?, u16_at(body, 19)?);
    let rest = &body[FIXED..];
    let has_channel = channel != NO_CHANNEL;
    let (channel, rest) = rest.split_at_checked(if has_channel { channel.into() } else { 0 })?;
    let (key, json) = rest.split_at_checked(key.into())?;
    let channel = std::str::from_utf8(channel).ok()?;
    Some(Raw {
        offset,
        stored,
        kind,
        channel: has_channel.then_some(channel),
        key: std::str::from_utf8(key).ok()?,
        json,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(channel: Option<&str>, json: &[u8]) -> Entry {
        Entry {
            kind: Kind::Alert,
            channel: channel.map(Into::into),
            key: "key".into(),
            json: bytes::Bytes::copy_from_slice(json),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for channel in [None, Some(""), Some("news")] {
            let mut bytes = Vec::new();
            encode(&entry(channel, b"{}"), Offset(7), UtcTime::from_nanos(-5), &mut bytes);
            let raw = Raw {
                offset: Offset(7),
                stored: UtcTime::from_nanos(-5),
                kind: Kind::Alert,
                channel,
                key: "key",
                json: b"{}",
            };
            assert_eq!(next(&bytes), Next::Record(raw, bytes.len()));
            for cut in 1..bytes.len() {
                assert_eq!(next(&bytes[..cut]), Next::Partial, "cut to {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_byte_of_a_record_can_change_unnoticed(at in 0_usize..200, flip in 1_u8..) {
            let mut bytes = Vec::new();
            encode(&entry(Some("news"), b"{\"id\":\"1\"}"), Offset(1), UtcTime::from_nanos(1), &mut bytes);
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let read = next(&bytes);
            prop_assert!(!matches!(read, Next::Record(..)), "{read:?}");
        }

        #[test]
        fn a_record_is_found_behind_any_bytes(garbage in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = garbage.clone();
            encode(&entry(None, b"{}"), Offset(1), UtcTime::from_nanos(1), &mut bytes);
            let mut at = 0;
            let found = loop {
                match next(&bytes[at..]) {
                    Next::Record(raw, _) => break raw.offset,
                    Next::Damage(skip) => at += skip,
                    // A marker by chance and a length beyond the end: it is none, as nothing more will come.
                    Next::Partial => at += 1,
                }
            };
            prop_assert_eq!((at, found), (garbage.len(), Offset(1)));
        }
    }
}
