// SPDX-License-Identifier: Apache-2.0
//! Event messages in the media (`emsg`, ISO/IEC 23009-1, 5.10.3.3): SCTE-35, ID3 and the like.

use bytes::{BufMut, Bytes, BytesMut};
use headwater_media::Timescale;

use crate::cmaf::Error;
use crate::cmaf::boxes::{Cursor, FourCc, write_full_box};

/// When an event happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// Presentation time on the track's timeline, in ticks of the message's timescale (`emsg` version 1).
    Absolute(u64),
    /// Ticks after the earliest presentation time of the segment that carries it (`emsg` version 0).
    AfterSegmentStart(u32),
}

/// One event message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventMessage {
    /// What the message is, `urn:scte:scte35:2013:bin` for one.
    pub scheme_id_uri: String,
    /// Sub-type within the scheme.
    pub value: String,
    /// Unit of `time` and `duration`.
    pub timescale: Timescale,
    /// When it happens.
    pub time: EventTime,
    /// How long; `None` when unknown.
    pub duration: Option<u32>,
    /// Equal for repeats of one event.
    pub id: u32,
    /// The message itself, copied: events outlive the body's buffers.
    pub message_data: Bytes,
}

impl EventMessage {
    /// Reads the payload of an `emsg` box.
    ///
    /// # Errors
    /// [`Error::Truncated`], and [`Error::Field`] for an unknown version or a timescale of zero.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let kind = FourCc(*b"emsg");
        let mut cursor = Cursor::new(kind, payload);
        let (version, _) = cursor.version_and_flags()?;
        let text = |cursor: &mut Cursor<'_>| (cursor.text(), cursor.text());
        let (names, timescale, time, duration, id) = match version {
            0 => {
                let names = text(&mut cursor);
                let timescale = cursor.u32()?;
                let delta = cursor.u32()?;
                (names, timescale, EventTime::AfterSegmentStart(delta), cursor.u32()?, cursor.u32()?)
            }
            1 => {
                let timescale = cursor.u32()?;
                let time = EventTime::Absolute(cursor.u64()?);
                let (duration, id) = (cursor.u32()?, cursor.u32()?);
                (text(&mut cursor), timescale, time, duration, id)
            }
            other => {
                return Err(Error::Field { kind, field: "version", value: u64::from(other) });
            }
        };
        Ok(Self {
            scheme_id_uri: names.0,
            value: names.1,
            timescale: Timescale::new(timescale).ok_or(Error::Field { kind, field: "timescale", value: 0 })?,
            time,
            duration: (duration != u32::MAX).then_some(duration),
            id,
            message_data: Bytes::copy_from_slice(cursor.rest()),
        })
    }
}

/// Appends `message` as an `emsg` box: version 1 for an absolute time, else version 0.
pub fn write_emsg(out: &mut BytesMut, message: &EventMessage) {
    let names = |out: &mut BytesMut| {
        for text in [&message.scheme_id_uri, &message.value] {
            out.put_slice(text.as_bytes());
            out.put_u8(0);
        }
    };
    let duration = message.duration.unwrap_or(u32::MAX);
    let timescale = message.timescale.ticks_per_second();
    match message.time {
        EventTime::Absolute(time) => write_full_box(out, b"emsg", 1, 0, |out| {
            out.put_u32(timescale);
            out.put_u64(time);
            out.put_u32(duration);
            out.put_u32(message.id);
            names(out);
            out.put_slice(&message.message_data);
        }),
        EventTime::AfterSegmentStart(delta) => write_full_box(out, b"emsg", 0, 0, |out| {
            names(out);
            out.put_u32(timescale);
            out.put_u32(delta);
            out.put_u32(duration);
            out.put_u32(message.id);
            out.put_slice(&message.message_data);
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_read_back_what_was_written() {
        for time in [EventTime::Absolute(1 << 40), EventTime::AfterSegmentStart(7)] {
            let message = EventMessage {
                scheme_id_uri: "urn:scte:scte35:2013:bin".into(),
                value: "1001".into(),
                timescale: Timescale::new(90_000).unwrap(),
                time,
                duration: None,
                id: 9,
                message_data: Bytes::from_static(&[0xfc, 0x30]),
            };
            let mut out = BytesMut::new();
            write_emsg(&mut out, &message);
            assert_eq!(EventMessage::parse(&out[8..]), Ok(message));
        }
    }

    /// A splice at 300 s for 30 s, as the clause writes both versions.
    const SCTE35: &str = "urn:scte:scte35:2013:bin";

    fn splice(time: EventTime) -> EventMessage {
        EventMessage {
            scheme_id_uri: SCTE35.into(),
            value: "1".into(),
            timescale: Timescale::new(90_000).unwrap(),
            time,
            duration: Some(2_700_000),
            id: 0x0102_0304,
            message_data: Bytes::from_static(&[0xfc, 0x00, 0x14]),
        }
    }

    #[test]
    fn the_fields_stand_where_the_clause_has_them() {
        let names = b"urn:scte:scte35:2013:bin\x001\x00";
        let [scale, duration, id, data]: [&[u8]; 4] =
            [&[0, 1, 0x5f, 0x90], &[0, 0x29, 0x32, 0xe0], &[1, 2, 3, 4], &[0xfc, 0x00, 0x14]];
        let version_0 = [&[0, 0, 0, 0][..], names, scale, &[0, 0, 0x0b, 0xb8], duration, id, data].concat();
        let version_1 =
            [&[1, 0, 0, 0][..], scale, &[0, 0, 0, 0, 1, 0x9b, 0xfc, 0xc0], duration, id, names, data].concat();
        assert_eq!(EventMessage::parse(&version_0), Ok(splice(EventTime::AfterSegmentStart(3_000))));
        assert_eq!(EventMessage::parse(&version_1), Ok(splice(EventTime::Absolute(27_000_000))));
        for length in 0..version_1.len() - names.len() - data.len() {
            assert!(matches!(EventMessage::parse(&version_1[..length]), Err(Error::Truncated { .. })), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_hold_no_more_than_they_are(
            version in 0_u8..3, rest in prop::collection::vec(any::<u8>(), 0..128),
        ) {
            let payload = [&[version, 0, 0, 0][..], &rest].concat();
            if let Ok(message) = EventMessage::parse(&payload) {
                prop_assert!(message.message_data.len() <= rest.len());
                let mut out = BytesMut::new();
                write_emsg(&mut out, &message);
                prop_assert_eq!(EventMessage::parse(&out[8..]), Ok(message));
            }
        }
    }

    #[test]
    fn a_timescale_of_zero_is_refused() {
        assert!(matches!(EventMessage::parse(&[0; 64]), Err(Error::Field { field: "timescale", .. })));
    }
}
