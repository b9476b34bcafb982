// SPDX-License-Identifier: Apache-2.0
//! The access log, off the way of requests: each thread appends its lines to a buffer of its own, and one thread writes
//! the buffers out. A buffer that is full drops the line and counts it: a slow disk slows nobody down.

mod line;

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{info, warn};

pub use line::{Answer, Line};

/// Buffers; threads share them where there are more.
const BUFFERS: usize = 16;
/// Bytes of one buffer that wait to be written.
const BUFFER_MAX: usize = 1 << 20;
/// Bytes of one buffer at which the writer collects no longer.
const BUFFER_FULL: usize = BUFFER_MAX / 4;
/// How long lines are collected before they are written.
const COLLECTED: Duration = Duration::from_millis(250);
/// How often a failing write is worth a line in the program's log.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// How often the writer looks whether there is anybody left to write for.
const IDLE: Duration = Duration::from_secs(5);

/// An access log that is open.
#[derive(Debug)]
pub struct Log {
    /// Each guards the lines of its threads; held to append one line, or to take them all.
    buffers: [Mutex<String>; BUFFERS],
    dropped: AtomicU64,
    /// There are lines that the writer has not been told of.
    told: AtomicBool,
    /// Guards what the writer is asked for; held to ask and to look.
    asked: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Asked {
    lines: bool,
    full: bool,
    reopen: bool,
    close: bool,
    closed: bool,
}

impl Asked {
    /// It is not to be waited for more lines.
    const fn hurries(&self) -> bool {
        self.full || self.reopen || self.close
    }
}

/// Where lines go.
enum Target {
    Stdout,
    File(PathBuf, File),
}

impl Target {
    fn open(name: &str) -> io::Result<Self> {
        if name == "-" {
            return Ok(Self::Stdout);
        }
        let path = PathBuf::from(name);
        let file = append(&path)?;
        Ok(Self::File(path, file))
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(_, file) => file.write_all(lines),
        }
    }

    /// Opens the file of this name anew, for the one that is open may have been given another.
    fn reopen(&mut self) {
        let Self::File(path, file) = self else { return };
        match append(path) {
            Ok(opened) => {
                *file = opened;
                info!(file = %path.display(), "access log opened anew");
            }
            Err(error) => warn!(file = %path.display(), %error, "the access log stays in the file that was open"),
        }
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Log {
    /// Opens a log: a file that is appended to, or `-` for the standard output.
    ///
    /// # Errors
    /// The file's, or the thread's.
    pub fn open(name: &str) -> io::Result<Arc<Self>> {
        let mut target = Target::open(name)?;
        let log = Arc::new(Self::detached());
        // The writer lives as long as somebody may write.
        let weak = Arc::downgrade(&log);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            let mut told = None;
            while let Some(log) = weak.upgrade() {
                let asked = log.wait();
                if asked.reopen {
                    target.reopen();
                }
                log.drain(&mut target, &mut told);
                if asked.close {
                    log.asked.lock().closed = true;
                    log.changed.notify_all();
                    return;
                }
            }
        })?;
        Ok(log)
    }

    /// A log that nobody writes out.
    fn detached() -> Self {
        Self {
            buffers: std::array::from_fn(|_| Mutex::default()),
            dropped: AtomicU64::new(0),
            told: AtomicBool::new(false),
            asked: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Lines that were dropped, for the writer was behind or could not write.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file of this name anew, as after logrotate has moved it away.
    pub fn reopen(&self) {
        self.asked.lock().reopen = true;
        self.changed.notify_all();
    }

    /// Writes what is left and ends; what is appended later is lost. Blocks until then, at most for `deadline`.
    pub fn close(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let mut asked = self.asked.lock();
        asked.close = true;
        self.changed.notify_all();
        while !asked.closed && !self.changed.wait_until(&mut asked, until).timed_out() {}
    }

    /// Appends what `render` writes.
    fn append(&self, render: impl FnOnce(&mut String)) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)));
        let mut buffer = self.buffers[OWN.with(Cell::get) % BUFFERS].lock();
        if buffer.len() >= BUFFER_MAX {
            drop(buffer);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = buffer.len();
        render(&mut buffer);
        let full = before < BUFFER_FULL && buffer.len() >= BUFFER_FULL;
        drop(buffer);
        if full {
            self.asked.lock().full = true;
            self.changed.notify_all();
        }
        // The writer is woken by the first line; later ones are collected with it.
        if !self.told.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::AcqRel) {
            self.asked.lock().lines = true;
            self.changed.notify_all();
        }
    }

    /// Waits for something to do, not for ever; lines are given time to become many.
    fn wait(&self) -> Asked {
        let mut asked = self.asked.lock();
        if !asked.lines && !asked.hurries() {
            self.changed.wait_for(&mut asked, IDLE);
        }
        if asked.lines {
            let until = Instant::now() + COLLECTED;
            while !asked.hurries() && !self.changed.wait_until(&mut asked, until).timed_out() {}
        }
        let taken = Asked { close: asked.close, ..std::mem::take(&mut *asked) };
        asked.close = taken.close;
        taken
    }

    /// Writes what all buffers hold.
    fn drain(&self, target: &mut Target, told: &mut Option<Instant>) {
        // NB: before the buffers are taken: a line that comes between the two asks again.
        self.told.store(false, Ordering::Release);
        for buffer in &self.buffers {
            let lines = std::mem::take(&mut *buffer.lock());
            if lines.is_empty() {
                continue;
            }
            let Err(error) = target.write(lines.as_bytes()) else { continue };
            let count = lines.matches('\n').count() as u64;
            self.dropped.fetch_add(count, Ordering::Relaxed);
            if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                *told = Some(Instant::now());
                warn!(%error, count, "lines of the access log are lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use http::{Request, StatusCode};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn log_one(log: &Arc<Log>, path: &str) {
        let (request, ()) = Request::get(path).body(()).unwrap().into_parts();
        let mut line = Line::new(log, "192.0.2.1".parse().unwrap(), &request);
        line.answer.status = Some(StatusCode::OK);
    }

    #[test]
    fn lines_of_every_thread_are_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = Log::open(path.to_str().unwrap()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..20 {
                let log = &log;
                scope.spawn(move || (0..50).for_each(|n| log_one(log, &format!("/{thread}/{n}"))));
            }
        });
        log.close(DEADLINE);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1_000);
        for thread in 0..20 {
            assert_eq!(text.lines().filter(|line| line.contains(&format!("\"GET /{thread}/"))).count(), 50);
        }
        assert!(text.lines().all(|line| line.starts_with("192.0.2.1 - - [") && line.ends_with("end=cut")));
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_log_that_was_moved_away_begins_anew_under_its_name() {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path();
        let (path, moved) = (folder.join("access.log"), folder.join("access.log.1"));
        let log = Log::open(path.to_str().unwrap()).unwrap();
        log_one(&log, "/before");
        // What came before the reopening may be in either, as with every log; it is not lost.
        fs::rename(&path, &moved).unwrap();
        log.reopen();
        let since = Instant::now();
        while !path.exists() {
            assert!(since.elapsed() < DEADLINE);
            std::thread::yield_now();
        }
        log_one(&log, "/after");
        log.close(DEADLINE);
        let (old, new) = (fs::read_to_string(&moved).unwrap(), fs::read_to_string(&path).unwrap());
        assert!(new.contains("GET /after") && !old.contains("/after"));
        assert_eq!((old + &new).matches("GET /before").count(), 1);
    }

    #[test]
    fn a_writer_that_is_behind_costs_lines_and_no_memory() {
        let log = Arc::new(Log::detached());
        let path = format!("/{}", "x".repeat(1_000));
        for _ in 0..2_000 {
            log_one(&log, &path);
        }
        let held: usize = log.buffers.iter().map(|buffer| buffer.lock().len()).sum();
        assert!(held > BUFFER_MAX / 2 && held < BUFFER_MAX + 10_000, "{held}");
        assert!(log.dropped() > 500, "{}", log.dropped());
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_once() {
        assert!(Log::open("/proc/no/such/access.log").is_err());
    }

    #[test]
    fn a_disk_that_is_full_costs_lines_that_are_counted() {
        let Ok(log) = Log::open("/dev/full") else { return };
        log_one(&log, "/");
        log_one(&log, "/");
        log.close(DEADLINE);
        assert_eq!(log.dropped(), 2);
    }
}
