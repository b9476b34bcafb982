// SPDX-License-Identifier: Apache-2.0
//! From samples in order to cuts with their generation, and what becomes of tracks that stay away.

use headwater_media::{Generation, MediaDuration, MediaTime, SegmentNumber, TrackId, UtcTime};

use super::output::{Defect, Output};
use super::track::TrackState;
use super::{Assembler, Segmenter};
use crate::Sample;
use crate::timeline::cut::Cut;

/// Generations remembered: tracks are not further apart than these.
const GENERATIONS_MAX: usize = 16;

impl Assembler {
    /// Sends samples through the track's segmenter, or holds them until there is one.
    pub(super) fn cut(&mut self, id: &TrackId, ready: &[Sample]) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        let confirmed = self.learning.confirmed;
        if (!confirmed || track.segmenter.is_none()) && !track.hold(ready, self.config.held_samples_max) {
            self.outputs.push(Output::Defect(Some(id.clone()), Defect::Overflow));
        }
        let Some(grid) = self.grid else { return };
        let mut cuts = Vec::new();
        if let Some(segmenter) = &mut track.segmenter {
            ready.iter().for_each(|sample| segmenter.push(sample.clone(), &mut cuts));
        } else if !track.held.is_empty()
            && let Some(plan) = track.plan(&self.config, confirmed)
        {
            self.outputs.push(Output::Plan(id.clone(), plan));
            track.start_segmenter(plan, grid);
            if let Some(segmenter) = &mut track.segmenter {
                track.held.iter().for_each(|sample| segmenter.push(sample.clone(), &mut cuts));
            }
        }
        if confirmed && track.segmenter.is_some() {
            track.held = Vec::new();
        }
        self.deliver(id, cuts);
    }

    /// Ends what is open of a track in the way of `how`.
    pub(super) fn interrupt(&mut self, id: &TrackId, how: fn(&mut Segmenter, &mut Vec<Cut>)) {
        let mut cuts = Vec::new();
        if let Some(segmenter) = self.tracks.get_mut(id).and_then(|t| t.segmenter.as_mut()) {
            how(segmenter, &mut cuts);
        }
        self.deliver(id, cuts);
    }

    /// Announces the generation of each track that has changed: one that it has not reached yet, else a new one.
    ///
    /// A generation begins at the same segment on every track, so at one that none of them has begun; what a changed
    /// track brings before that is dropped. NB: when the change is known, not when its first part is cut: by then
    /// other tracks may be past the border.
    pub(super) fn announce_generations(&mut self) {
        let anchored = |t: &TrackState| self.sessions.iter().any(|s| Some(s.id) == t.session && s.anchor.is_some());
        let changed: Vec<TrackId> =
            self.tracks.iter().filter(|(_, t)| t.changed && anchored(t)).map(|(id, _)| id.clone()).collect();
        for id in changed {
            let lands = self.lands(&id);
            let told = self.tracks.values().filter_map(|t| t.told).max();
            let Some(track) = self.tracks.get_mut(&id) else { continue };
            let joins = track.generation < self.generation && track.told < Some(self.first);
            if !joins {
                self.generation = self.generation.next();
                self.first = told.map_or(lands, |told| told.next().max(lands));
                if self.generations.len() == GENERATIONS_MAX {
                    self.generations.remove(0);
                }
                self.generations.push((self.first, self.generation));
                self.outputs.push(Output::Generation { first: self.first, generation: self.generation });
            }
            track.changed = false;
            if let Some(before) = self.first.0.checked_sub(1).map(SegmentNumber) {
                track.resume_after = track.resume_after.max(Some(before));
                let segmenters = track.segmenter.iter_mut().chain(&mut track.earlier);
                segmenters.for_each(|segmenter| segmenter.resume_after(before));
            }
        }
    }

    /// The segment that the first sample which waits to be mapped falls into.
    fn lands(&self, id: &TrackId) -> SegmentNumber {
        let lands = self.tracks.get(id).and_then(|track| {
            let anchor = self.sessions.iter().find(|s| Some(s.id) == track.session)?.anchor?;
            let start = track.raw.first()?.samples.first()?.presentation_time().saturating_add(track.half_frame());
            Some(self.grid?.number_at(anchor.map(MediaTime::new(start, track.input.timescale))))
        });
        lands.unwrap_or_default()
    }

    /// Gives each cut the generation of its segment.
    fn deliver(&mut self, id: &TrackId, cuts: Vec<Cut>) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        for cut in cuts {
            let part = match cut {
                Cut::Part(part) => part,
                Cut::End { number, short } => {
                    self.outputs.push(Output::End { track: id.clone(), number, short });
                    continue;
                }
            };
            let number = part.number;
            if part.index.0 == 0 {
                track.generation = generation_of(number, &self.generations);
            }
            track.told = track.told.max(Some(number));
            self.outputs.push(Output::Part(id.clone(), track.generation, part));
        }
        let irregular = track.segmenter.as_ref().map_or(0, Segmenter::irregular_borders);
        if irregular > track.irregular_seen {
            track.irregular_seen = irregular;
            self.outputs.push(Output::Defect(Some(id.clone()), Defect::GopMisfit));
        }
    }

    /// A track that is far behind the others has lost what they have: they go on without it.
    pub(super) fn give_up_lost(&mut self, now: UtcTime) {
        let Some(grid) = self.grid else { return };
        let edge = self.tracks.values().filter_map(|t| t.segmenter.as_ref()?.position()).max();
        let Some(edge) = edge.filter(|edge| edge.0 > 0) else { return };
        let late = MediaDuration::from_std(self.config.late) + grid.duration();
        let mut lost = Vec::new();
        for (id, track) in &mut self.tracks {
            let (scale, end) = (track.input.timescale, track.end());
            let Some(segmenter) = &mut track.segmenter else { continue };
            let Some(position) = segmenter.position() else { continue };
            let behind = grid.start(edge, scale).since(grid.start(position.next(), scale));
            let silence = track.progress.received().map_or(late, |at| MediaDuration::from_std(now.since(at)));
            // Once it is given up its gaps keep pace with what the others complete.
            if !track.absent && (behind < late || silence < late) {
                continue;
            }
            // It cannot have lost more than the time it was silent, however far ahead another track claims to be.
            let reached = end.unwrap_or(grid.start(position.next(), scale)) + silence;
            let through = SegmentNumber(edge.0 - 1).min(grid.number_at(reached));
            if position >= through {
                continue;
            }
            let mut cuts = Vec::new();
            segmenter.skip_to(through, &mut cuts);
            track.give_up_through(through, &grid);
            track.told = track.told.max(Some(through));
            lost.push((id.clone(), cuts, through, !std::mem::replace(&mut track.absent, true)));
        }
        for (id, cuts, through, news) in lost {
            self.deliver(&id, cuts);
            if news {
                self.outputs.push(Output::Defect(Some(id.clone()), Defect::Lost));
            }
            self.outputs.push(Output::Lost(id, through));
        }
    }
}

/// The generation that a segment belongs to; those before the first remembered are of the one before it.
fn generation_of(number: SegmentNumber, generations: &[(SegmentNumber, Generation)]) -> Generation {
    let before = generations.first().map_or(0, |(_, generation)| generation.0.saturating_sub(1));
    let begun = generations.iter().rev().find(|(first, _)| *first <= number);
    begun.map_or(Generation(before), |(_, generation)| *generation)
}
