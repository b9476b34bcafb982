// SPDX-License-Identifier: Apache-2.0
//! Timed metadata that comes with the media (`emsg`, ISO/IEC 23009-1, 5.10.3.3), SCTE-35 for one: told once each, at its
//! time on the channel's timeline.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater_events::Data;
use headwater_events::event::{Marker, Timestamp};
use headwater_media::{Kind, MediaTime, TrackId};
use headwater_packager::Sample;
use headwater_packager::cmaf::{EventMessage, EventTime, TrackHeader};

use super::task::Task;

/// Messages that may wait for the timeline to be known; past it the oldest goes.
const WAITING_MAX: usize = 64;
/// Messages whose copies are known: each is sent with several segments and tracks.
const KNOWN_MAX: usize = 256;
/// A longer scheme or value is nobody's.
const NAME_BYTES_MAX: usize = 1 << 10;
/// A longer message is no marker.
const DATA_BYTES_MAX: usize = 64 << 10;

/// What came and is not told yet, and what was told.
#[derive(Debug, Default)]
pub(super) struct Markers {
    waiting: VecDeque<Waiting>,
    known: VecDeque<(String, String, u32)>,
}

#[derive(Debug)]
struct Waiting {
    track: TrackId,
    /// Of a track of such messages alone, rather than of media that all tracks go with.
    own: bool,
    /// When it happens, in the source's time.
    time: MediaTime,
    message: EventMessage,
}

impl Markers {
    /// Takes a message; false if it cannot be one that anybody needs, or another had to go for it.
    fn take(&mut self, waiting: Waiting) -> bool {
        let EventMessage { scheme_id_uri, value, id, message_data, .. } = &waiting.message;
        if scheme_id_uri.len() > NAME_BYTES_MAX || value.len() > NAME_BYTES_MAX || message_data.len() > DATA_BYTES_MAX {
            return false;
        }
        // ISO/IEC 23009-1, 5.10.3.3.4: messages of one scheme, value and id are one event.
        let key = (scheme_id_uri.clone(), value.clone(), *id);
        if self.known.contains(&key) {
            return true;
        }
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(key);
        self.waiting.push_back(waiting);
        self.waiting.len() <= WAITING_MAX || self.waiting.pop_front().is_none()
    }
}

/// When a message happens in source time: `samples`, its segment's first, were moved by `moved` ticks to unroll their
/// clock, and so is a time that was written beside theirs.
fn source_time(message: &EventMessage, header: &TrackHeader, samples: &[Sample], moved: i64) -> Option<MediaTime> {
    let scale = header.timescale;
    let ticks = |time: u64| Some(MediaTime::new(i64::try_from(time).ok()?, message.timescale).rescale(scale).ticks());
    let ticks = match message.time {
        EventTime::Absolute(time) => ticks(time)?.saturating_add(moved),
        EventTime::AfterSegmentStart(delta) => {
            let start = samples.iter().map(Sample::presentation_time).min()?;
            start.saturating_add(ticks(u64::from(delta))?)
        }
    };
    Some(MediaTime::new(ticks, scale))
}

impl Task {
    /// Takes the messages that came before a fragment: its samples in source time, edit list applied.
    pub(super) fn take_messages(
        &mut self,
        track: &TrackId,
        messages: Vec<EventMessage>,
        header: &TrackHeader,
        samples: &[Sample],
        moved: i64,
    ) {
        for message in messages {
            let time = source_time(&message, header, samples, moved);
            let own = header.kind == Kind::Metadata;
            let taken =
                time.is_some_and(|time| self.markers.take(Waiting { track: track.clone(), own, time, message }));
            if !taken {
                self.count_defect("event_message");
            }
        }
    }

    /// Tells those whose time is known by now.
    pub(super) fn tell_markers(&mut self) {
        for waiting in std::mem::take(&mut self.markers.waiting) {
            let Some(start) = self.assembler.place(&waiting.track, waiting.time) else {
                self.markers.waiting.push_back(waiting);
                continue;
            };
            let EventMessage { scheme_id_uri, value, timescale, duration, id, message_data, .. } = waiting.message;
            let duration = duration.map(|ticks| u64::from(ticks) * 1_000 / u64::from(timescale.ticks_per_second()));
            let data = Marker {
                channel: self.channel.id.to_string(),
                track: waiting.own.then(|| waiting.track.to_string()),
                scheme: scheme_id_uri,
                value,
                id,
                start: Timestamp(start.utc()),
                duration_ms: duration,
                data: STANDARD.encode(&message_data),
            };
            self.context.publisher.publish(start.utc(), Data::Marker(data));
        }
    }
}
