// SPDX-License-Identifier: Apache-2.0
//! Why a log cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or the folder.
    #[error("expected {doing} {}: {cause}", path.display())]
    Io {
        /// What was tried, `to open`.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// Another process has it.
    #[error("expected a folder for events that no other process writes, {} is in use", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// It has no log.
    #[error("expected a log of events in {}, there is none", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

impl Error {
    pub(super) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause }
    }

    /// True where the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}
