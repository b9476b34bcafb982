// SPDX-License-Identifier: Apache-2.0
//! High-water marks: how far each playlist has been served, so that no answer after it is older.
//!
//! An answer that is older than the mark is refused: it comes from a twin that is behind, or from a cache in between.
//! But an origin may begin anew and count from zero, and must not be refused for ever. The two are told apart so:
//!
//! - What counts lower yet has later dates, from the origin that set the mark, is a beginning ([`Step::Anew`]).
//! - What says lower numbers for longer than 1.5 target durations, in at least three answers, with nobody meanwhile
//!   telling the mark or more, and all of it from the origin that set the mark, is a beginning too: an origin does not
//!   fall behind itself.
//! - From another origin it takes three target durations, or where its list overlaps with the mark's as much time as
//!   it needs to catch up: a twin that is only behind has caught up by then, and never was served.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use headwater_net::durable;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::progress::{Dash, Hls, Position, Progress, Step};
use super::recent::Recent;

/// Older answers that make a beginning, at least.
const ANSWERS_MIN: u32 = 3;
/// What a file of marks begins with; another number for another form.
const MAGIC: &[u8; 8] = b"hwmarks1";

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it: it is newer, the same, or a beginning ([`Step::Anew`]).
    Serve(Step),
    /// It is older than what has been served: ask elsewhere, or serve what there is.
    Refuse,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    position: Position,
    origin: u64,
    older: Option<Older>,
}

/// Answers older than the mark, one after the other.
#[derive(Clone, Copy, Debug)]
struct Older {
    since: Instant,
    answers: u32,
    /// All of them from the origin that set the mark.
    own: bool,
}

/// A bounded table of marks; those of playlists that nobody asks for are forgotten first.
#[derive(Debug)]
pub struct Marks {
    /// Held for one look.
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    marks: Recent<u64, Mark>,
    changed: bool,
}

impl Marks {
    /// No mark yet, and never more than so many.
    pub fn new(marks_max: usize) -> Self {
        Self { table: Mutex::new(Table { marks: Recent::new(marks_max), changed: false }) }
    }

    /// Judges an answer under this key, and moves the mark. Allocates nothing for a known key.
    pub fn judge(&self, key: &str, origin: &str, told: &Progress, now: Instant) -> Verdict {
        let (key, origin) = (xxh3_64(key.as_bytes()), xxh3_64(origin.as_bytes()));
        let mut table = self.table.lock();
        let set = Mark { position: told.position, origin, older: None };
        let Some(mark) = table.marks.get_mut(key) else {
            table.marks.insert(key, set);
            table.changed = true;
            return Verdict::Serve(Step::Forward);
        };
        let step = match told.position.against(&mark.position) {
            Step::Same => {
                mark.older = None;
                return Verdict::Serve(Step::Same);
            }
            Step::Anew if mark.origin != origin => Step::Back,
            step => step,
        };
        if step == Step::Back && !mark.is_begun_anew(told, origin, now) {
            return Verdict::Refuse;
        }
        *mark = set;
        table.changed = true;
        Verdict::Serve(if step == Step::Back { Step::Anew } else { step })
    }

    /// How far a playlist has been served.
    pub fn position(&self, key: &str) -> Option<Position> {
        self.table.lock().marks.get_mut(xxh3_64(key.as_bytes())).map(|mark| mark.position)
    }

    /// Forgets a playlist: it was purged, and may be what it likes.
    pub fn forget(&self, key: &str) {
        let mut table = self.table.lock();
        table.marks.remove(xxh3_64(key.as_bytes()));
        table.changed = true;
    }

    /// Marks that are kept.
    pub fn len(&self) -> usize {
        self.table.lock().marks.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the marks to a file if any has moved since the last time; a crash leaves the old file or the new one.
    /// Blocks: not for a thread that serves.
    ///
    /// # Errors
    /// What the file system says; the marks count as not written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let content = {
            let mut table = self.table.lock();
            if !std::mem::take(&mut table.changed) {
                return Ok(());
            }
            encode(&table.marks)
        };
        durable::write(path, &content).inspect_err(|_| self.table.lock().changed = true)
    }

    /// Reads the marks of an earlier run; none if there is no file.
    ///
    /// # Errors
    /// What the file system says, and [`io::ErrorKind::InvalidData`] for a file that no shield wrote: begin with
    /// [`Marks::new`] then.
    pub fn open(path: &Path, marks_max: usize) -> io::Result<Self> {
        let marks = Self::new(marks_max);
        if let Some(content) = durable::read(path)? {
            let found = decode(&content).ok_or_else(|| {
                let message =
                    format!("expected marks in {}, got {} bytes of something else", path.display(), content.len());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            let mut table = marks.table.lock();
            for (key, mark) in found {
                table.marks.insert(key, mark);
            }
        }
        Ok(marks)
    }
}

impl Mark {
    /// Takes note of one more older answer; true once there is no doubt that the stream began anew.
    fn is_begun_anew(&mut self, told: &Progress, origin: u64, now: Instant) -> bool {
        let older = self.older.get_or_insert(Older { since: now, answers: 0, own: true });
        older.answers = older.answers.saturating_add(1);
        older.own &= origin == self.origin;
        let patience = if older.own {
            told.target * 3 / 2
        } else {
            let behind = told.position.lag(&self.position, told.target).unwrap_or(Duration::ZERO);
            behind.max(told.target * 3)
        };
        older.answers >= ANSWERS_MIN && now.saturating_duration_since(older.since) > patience
    }
}

fn encode(marks: &Recent<u64, Mark>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (key, mark) in marks.iter() {
        let (kind, numbers) = match mark.position {
            Position::Hls(Hls { first, next, parts, discontinuities, ended, date_ms }) => {
                let flags = u8::from(ended) << 1 | u8::from(date_ms.is_some()) << 2;
                (flags, [first, next, parts, discontinuities, date_ms.unwrap_or(0).cast_unsigned()])
            }
            Position::Dash(Dash { start_ms, period_us, end_us, publish_ms, ended }) => {
                let told = [start_ms, period_us, end_us, publish_ms];
                let flags = told.iter().enumerate().fold(1 | u8::from(ended) << 1, |flags, (index, told)| {
                    flags | u8::from(told.is_some()) << (index + 2)
                });
                let [a, b, c, d] = told.map(|told| told.unwrap_or(0).cast_unsigned());
                (flags, [a, b, c, d, 0])
            }
        };
        bytes.push(kind);
        for number in [*key, mark.origin].into_iter().chain(numbers) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<(u64, Mark)>> {
    const RECORD_BYTES: usize = 1 + 7 * 8;
    let records = bytes.strip_prefix(MAGIC)?;
    if records.len() % RECORD_BYTES != 0 {
        return None;
    }
    let marks = records.chunks_exact(RECORD_BYTES).map(|record| {
        let (flags, numbers) = (record[0], &record[1..]);
        let number =
            |index: usize| numbers[index * 8..].first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_le_bytes(*bytes));
        let told = |index: usize, flag: u8| (flags >> flag & 1 == 1).then(|| number(index).cast_signed());
        let ended = flags & 2 != 0;
        let position = if flags & 1 == 0 {
            let [first, next, parts, discontinuities] = [number(2), number(3), number(4), number(5)];
            Position::Hls(Hls { first, next, parts, discontinuities, ended, date_ms: told(6, 2) })
        } else {
            let [start_ms, period_us, end_us, publish_ms] = [told(2, 2), told(3, 3), told(4, 4), told(5, 5)];
            Position::Dash(Dash { start_ms, period_us, end_us, publish_ms, ended })
        };
        (number(0), Mark { position, origin: number(1), older: None })
    });
    Some(marks.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scan;
    use super::*;

    const A: &str = "http://a";
    const B: &str = "http://b";

    /// A playlist of six segments of two seconds before `next`, the last of which ends at the second `date`.
    fn playlist(next: u64, date: u64) -> Progress {
        let first = next.saturating_sub(6);
        let segments = "#EXTINF:2,\na.ts\n".repeat((next - first) as usize);
        let date = headwater_media::UtcTime::from_nanos((date as i64 - 2 * (next - first) as i64) * 1_000_000_000);
        let text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-PROGRAM-DATE-TIME:{}\n{segments}",
            date.rfc3339_millis()
        );
        scan(text.as_bytes()).unwrap()
    }

    /// Judges answers of `(second, origin, next, date)` one after the other.
    fn judged(marks: &Marks, answers: &[(f64, &str, u64, u64)]) -> Vec<Verdict> {
        let start = Instant::now();
        let judge = |&(second, origin, next, date): &(f64, &str, u64, u64)| {
            marks.judge("/v.m3u8", origin, &playlist(next, date), start + Duration::from_secs_f64(second))
        };
        answers.iter().map(judge).collect()
    }

    const FORWARD: Verdict = Verdict::Serve(Step::Forward);
    const SAME: Verdict = Verdict::Serve(Step::Same);
    const ANEW: Verdict = Verdict::Serve(Step::Anew);

    #[test]
    fn a_twin_behind_is_refused_until_it_has_caught_up() {
        let answers =
            [(0.0, A, 100, 500), (2.0, B, 98, 496), (4.0, B, 99, 498), (6.0, B, 100, 500), (8.0, B, 101, 502)];
        assert_eq!(judged(&Marks::new(10), &answers), [FORWARD, Verdict::Refuse, Verdict::Refuse, SAME, FORWARD]);
    }

    #[test]
    fn a_twin_that_is_always_behind_is_always_refused() {
        let answers: Vec<_> =
            (0..50).flat_map(|n| [(n as f64 * 2.0, A, 100 + n, 500), (n as f64 * 2.0 + 1.0, B, 98 + n, 500)]).collect();
        let verdicts = judged(&Marks::new(10), &answers);
        assert!(verdicts.chunks(2).all(|pair| pair == [FORWARD, Verdict::Refuse]));
    }

    #[test]
    fn the_same_origin_with_later_dates_begins_anew_at_once_and_another_does_not() {
        assert_eq!(judged(&Marks::new(10), &[(0.0, A, 100, 500), (1.0, A, 3, 520)]), [FORWARD, ANEW]);
        assert_eq!(judged(&Marks::new(10), &[(0.0, A, 100, 500), (1.0, B, 3, 520)]), [FORWARD, Verdict::Refuse]);
    }

    #[test]
    fn an_origin_that_stays_lower_has_begun_anew() {
        let answers =
            [(0.0, A, 100, 0), (1.0, A, 1, 0), (2.0, A, 1, 0), (3.9, A, 2, 0), (4.1, A, 2, 0), (5.0, A, 3, 0)];
        let refused = Verdict::Refuse;
        assert_eq!(judged(&Marks::new(10), &answers), [FORWARD, refused, refused, refused, ANEW, FORWARD]);
        // Two answers are too few, however far apart.
        assert_eq!(judged(&Marks::new(10), &[(0.0, A, 100, 0), (1.0, A, 1, 0), (60.0, A, 9, 0)])[2], refused);
    }

    #[test]
    fn another_origin_that_stays_lower_is_believed_later() {
        let answers: Vec<_> = [(0.0, A, 100, 0)].into_iter().chain((1..=8).map(|n| (n as f64, B, n, 0))).collect();
        let verdicts = judged(&Marks::new(10), &answers);
        assert!(verdicts[1..=7].iter().all(|verdict| *verdict == Verdict::Refuse));
        assert_eq!(verdicts[8], ANEW);
    }

    #[test]
    fn one_answer_at_the_mark_clears_the_doubt() {
        let answers =
            [(0.0, A, 100, 0), (1.0, A, 99, 0), (2.0, A, 99, 0), (3.0, B, 100, 0), (4.5, A, 99, 0), (5.0, A, 99, 0)];
        assert!(!judged(&Marks::new(10), &answers).contains(&ANEW));
    }

    #[test]
    fn marks_outlive_a_restart_and_a_broken_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marks");
        let marks = Marks::open(&path, 1_000).unwrap();
        judged(&marks, &[(0.0, A, 100, 500)]);
        let mpd =
            scan(b"<MPD type=\"dynamic\" publishTime=\"2026-11-21T10:00:00Z\"><Period start=\"PT0S\"/></MPD>").unwrap();
        marks.judge("/m.mpd", B, &mpd, Instant::now());
        marks.save(&path).unwrap();
        let again = Marks::open(&path, 1_000).unwrap();
        assert_eq!(again.position("/v.m3u8"), marks.position("/v.m3u8"));
        assert_eq!(again.position("/m.mpd"), Some(mpd.position));
        assert_eq!(judged(&again, &[(0.0, B, 99, 498)]), [Verdict::Refuse]);
        std::fs::write(&path, b"not marks at all, but long enough").unwrap();
        assert_eq!(Marks::open(&path, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        durable::write(&path, b"hwmarks1 and something").unwrap();
        assert_eq!(Marks::open(&path, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_has_not_moved_is_not_written_and_what_failed_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/marks");
        let marks = Marks::new(10);
        marks.save(&path).unwrap();
        judged(&marks, &[(0.0, A, 100, 500)]);
        assert!(marks.save(&path).is_err());
        std::fs::create_dir(folder.path().join("later")).unwrap();
        marks.save(&path).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn the_table_is_bounded() {
        let marks = Marks::new(100);
        let (told, now) = (playlist(9, 0), Instant::now());
        for key in 0..10_000 {
            marks.judge(&key.to_string(), A, &told, now);
            marks.judge("watched", A, &told, now);
        }
        assert!(marks.len() <= 100 && marks.position("watched").is_some());
    }

    proptest! {
        #[test]
        fn any_position_comes_back(numbers in any::<[u64; 4]>(), times in any::<[Option<i64>; 4]>(), ended in any::<bool>(), date_ms in any::<Option<i64>>()) {
            let [first, next, parts, discontinuities] = numbers;
            let [start_ms, period_us, end_us, publish_ms] = times;
            for position in [
                Position::Hls(Hls { first, next, parts, discontinuities, ended, date_ms }),
                Position::Dash(Dash { start_ms, period_us, end_us, publish_ms, ended }),
            ] {
                let mut marks = Recent::new(10);
                marks.insert(first, Mark { position, origin: next, older: None });
                let back = decode(&encode(&marks)).unwrap();
                prop_assert_eq!(back.len(), 1);
                prop_assert_eq!((back[0].0, back[0].1.position, back[0].1.origin), (first, position, next));
            }
        }
    }
}
