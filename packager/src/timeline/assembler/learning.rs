// SPDX-License-Identifier: Apache-2.0
//! Fixes the grid: guessed early so that the picture comes soon, confirmed once the GOP is known to have a rule.

use std::time::Duration;

use headwater_media::{Grid, Kind, MediaDuration, MediaTime, Timescale, UtcTime};

use super::Assembler;
use super::output::{Defect, Output};
use crate::timeline::anchor::{Anchor, Basis};
use crate::timeline::learner::{self, Evidence, Gop, nearest_multiple};

/// Without pictures for this long, sound is cut alone.
const PICTURE_WAIT: Duration = Duration::from_secs(1);
/// A video track that has been announced is waited for this long.
const PICTURE_WAIT_MAX: Duration = Duration::from_secs(6);
/// Tracks whose GOP is known wait this long for the others'.
const OTHERS_WAIT: Duration = Duration::from_secs(6);

/// How far learning has come.
#[derive(Debug, Default)]
pub(super) struct Learning {
    /// The grid is final: the GOP has a rule and fits, or there is none to be had.
    pub(super) confirmed: bool,
    /// Segment duration told by a pushed manifest.
    pub(super) hint: Option<MediaDuration>,
    /// When the first track's GOP became known.
    told: Option<UtcTime>,
}

impl Assembler {
    /// Learns the segment duration from the GOPs, guesses it, or checks the guess against them.
    pub(super) fn learn(&mut self, now: UtcTime) {
        let Some(anchor) = self.sessions.iter().rev().find_map(|s| s.anchor) else { return };
        let videos = || self.tracks.values().filter(|t| t.input.kind == Kind::Video);
        let evidence: Vec<Evidence> = videos().filter_map(|t| learner::read(&t.held, t.input.timescale)).collect();
        let Some(leading) = evidence.first().copied() else { return self.learn_without_pictures(anchor, now) };
        let wish = self.config.segment;
        // A rendition that has been announced and is still to come counts as well.
        let undecided =
            evidence.len() < videos().count() || evidence.iter().any(|e| matches!(e.gop, Gop::Unknown | Gop::Seen(_)));
        let regular = most_common(&evidence, wish);
        let leading = regular.map_or(leading, |(evidence, _)| evidence);
        if !undecided || regular.is_some() {
            let told = *self.learning.told.get_or_insert(now);
            if !undecided || now.since(told) >= OTHERS_WAIT {
                let segment = match (regular, self.learning.hint) {
                    (Some((_, gop)), _) => nearest_multiple(gop, wish),
                    (None, Some(hint)) => nearest_multiple(hint, wish),
                    (None, None) => wish,
                };
                return self.confirm(segment, anchor, leading);
            }
        }
        if self.grid.is_some() {
            return;
        }
        let opening = videos().find_map(|t| t.opening);
        self.grid = self.guess(leading, opening, anchor).and_then(|segment| grid(segment, anchor, Some(leading)));
        self.outputs.extend(self.grid.map(Output::Grid));
    }

    fn learn_without_pictures(&mut self, anchor: Anchor, now: UtcTime) {
        let waited = self.first_media.map_or(Duration::ZERO, |first| now.since(first));
        let expected = self.tracks.values().any(|t| t.input.kind == Kind::Video);
        let wait = if expected { PICTURE_WAIT_MAX } else { PICTURE_WAIT };
        let sound = self.tracks.values().any(|t| !t.held.is_empty());
        if sound && waited >= wait {
            if self.grid.is_none() {
                self.grid = grid(self.config.segment, anchor, None);
                self.outputs.extend(self.grid.map(Output::Grid));
            }
            self.end_learning();
        }
    }

    /// The segment duration, before the GOP has been seen twice.
    fn guess(&self, evidence: Evidence, opening: Option<MediaDuration>, anchor: Anchor) -> Option<MediaDuration> {
        let wish = self.config.segment;
        match evidence.gop {
            Gop::Seen(gop) | Gop::Regular(gop) => return Some(nearest_multiple(gop, wish)),
            Gop::Irregular => return Some(wish),
            Gop::Unknown => {}
        }
        // A whole fragment that opens with its only sync sample and is about as long as the wish: one GOP.
        if let Some(opening) = opening.filter(|opening| opening.times(4) >= wish.times(3)) {
            return Some(nearest_multiple(opening, wish));
        }
        if let Some(hint) = self.learning.hint {
            return Some(nearest_multiple(hint, wish));
        }
        if anchor.basis != Basis::Epoch {
            return Some(wish);
        }
        let grid = Grid::new(wish)?;
        let nearest = grid.start(grid.number_at(evidence.first + evidence.frame), evidence.first.timescale());
        let off = evidence.first.ticks().saturating_sub(nearest.ticks()).saturating_abs();
        (off * 2 <= evidence.frame.ticks()).then_some(wish)
    }

    /// The segment duration is final: what was cut by another is withdrawn.
    fn confirm(&mut self, segment: MediaDuration, anchor: Anchor, evidence: Evidence) {
        let Some(grid) = grid(segment, anchor, Some(evidence)) else { return };
        if let Some(guess) = self.grid {
            // NB: along the grid differences add up, so the least one is a misfit.
            let fits = guess.duration() == segment && (anchor.basis != Basis::Manifest || guess == grid);
            if fits {
                return self.end_learning();
            }
            if (guess.duration() - segment).nanos().saturating_abs() > evidence.frame.nanos() / 2 {
                self.outputs.push(Output::Defect(None, Defect::GopMisfit));
            }
            self.outputs.push(Output::Reset);
            for track in self.tracks.values_mut() {
                track.segmenter = None;
                track.irregular_seen = 0;
                track.apart = false;
            }
        }
        self.grid = Some(grid);
        self.outputs.push(Output::Grid(grid));
        self.end_learning();
    }

    /// From now on the grid is final.
    pub(super) fn end_learning(&mut self) {
        if !std::mem::replace(&mut self.learning.confirmed, true) {
            self.outputs.push(Output::Confirmed);
        }
    }
}

/// The GOP that most renditions go by, of equally common ones the first's, and one of those renditions.
fn most_common(evidence: &[Evidence], wish: MediaDuration) -> Option<(Evidence, MediaDuration)> {
    let regular: Vec<(Evidence, MediaDuration)> =
        evidence.iter().filter_map(|e| if let Gop::Regular(gop) = e.gop { Some((*e, gop)) } else { None }).collect();
    let alike = |gop: MediaDuration| {
        let segment = nearest_multiple(gop, wish);
        regular.iter().filter(|(_, other)| nearest_multiple(*other, wish) == segment).count()
    };
    regular.iter().rev().max_by_key(|(_, gop)| alike(*gop)).copied()
}

/// The grid of a source. One that tells UTC is cut on the epoch; any other on its own zero, or where its first key frame
/// stands when that is a little later (priming, reordering): the same for every join of a regular source.
fn grid(segment: MediaDuration, anchor: Anchor, evidence: Option<Evidence>) -> Option<Grid> {
    let origin = match (anchor.basis, evidence) {
        (Basis::Epoch, _) => MediaTime::new(0, segment.timescale()),
        (Basis::Arrival | Basis::Continued, Some(evidence)) => evidence.first,
        (Basis::Manifest, Some(evidence)) => {
            let gop = match evidence.gop {
                Gop::Seen(gop) | Gop::Regular(gop) => gop,
                Gop::Unknown | Gop::Irregular => segment,
            };
            let gop = gop.nanos().max(1);
            let past = evidence.first.nanos().saturating_sub(anchor.offset.nanos()).rem_euclid(gop);
            let little = past.saturating_mul(4) <= gop;
            anchor.offset + MediaDuration::new(if little { past } else { 0 }, Timescale::NANOS)
        }
        (_, None) => anchor.offset,
    };
    Grid::with_phase(segment, origin)
}
