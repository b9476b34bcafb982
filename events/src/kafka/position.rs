// SPDX-License-Identifier: Apache-2.0
//! Up to where the brokers have acknowledged the log: a small file beside it.
//!
//! It is written after the acknowledgement and may be a little old; what lies between is sent again.

use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::log::Offset;

/// The file, if there is a folder.
#[derive(Debug)]
pub(super) struct Position {
    path: Option<PathBuf>,
    /// Of the log that is acknowledged.
    identity: String,
    written: Option<Offset>,
}

impl Position {
    /// Reads what was acknowledged of the log `identity`; `None` if nothing is known.
    pub(super) fn open(folder: Option<&Path>, prefix: &str, identity: &str) -> (Self, Option<Offset>) {
        let path = folder.map(|folder| folder.join(format!("kafka-{prefix}.position")));
        let written = path.as_deref().and_then(|path| read(path, identity));
        (Self { path, identity: identity.to_owned(), written }, written)
    }

    /// Keeps `position`; whoever reads the file sees the old number or the new one.
    pub(super) fn keep(&mut self, position: Offset) {
        let Some(path) = self.path.as_deref().filter(|_| self.written != Some(position)) else { return };
        match replace(path, &self.identity, position) {
            Ok(()) => self.written = Some(position),
            Err(error) => {
                warn!(path = %path.display(), %error, "kafka: what is acknowledged could not be written down")
            }
        }
    }
}

fn read(path: &Path, identity: &str) -> Option<Offset> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(path = %path.display(), %error, "kafka: what is acknowledged cannot be read: the whole log is sent");
            return None;
        }
    };
    let known = text.trim().split_once(' ').and_then(|(log, offset)| Some((log, Offset(offset.parse().ok()?))));
    match known {
        Some((log, offset)) if log == identity => return Some(offset),
        Some(_) => warn!(path = %path.display(), "kafka: another log was acknowledged: the whole log is sent"),
        None => warn!(path = %path.display(), "kafka: expected a log and a number here: the whole log is sent"),
    }
    None
}

fn replace(path: &Path, identity: &str, position: Offset) -> io::Result<()> {
    let next = path.with_extension("position.next");
    std::fs::write(&next, format!("{identity} {}\n", position.0))?;
    std::fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_rubbish_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut position, known) = Position::open(Some(folder.path()), "headwater", "log");
        assert_eq!(known, None);
        position.keep(Offset(41));
        position.keep(Offset(42));
        assert_eq!(Position::open(Some(folder.path()), "headwater", "log").1, Some(Offset(42)));
        assert_eq!(Position::open(Some(folder.path()), "other", "log").1, None);
        assert_eq!(Position::open(Some(folder.path()), "headwater", "another").1, None);
        std::fs::write(folder.path().join("kafka-headwater.position"), "").unwrap();
        assert_eq!(Position::open(Some(folder.path()), "headwater", "log").1, None);
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let (mut position, known) = Position::open(None, "headwater", "log");
        position.keep(Offset(1));
        assert_eq!(known, None);
    }
}
