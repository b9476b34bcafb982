// SPDX-License-Identifier: Apache-2.0
//! Standard output of verbs that print without end: who reads may leave.

use std::io::{ErrorKind, Write};

/// Prints, and flushes.
///
/// # Errors
/// If standard output cannot be written. A reader that has left is none: what nobody reads is not missing.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    line(text).map(|_| ())
}

/// Prints, and flushes; false if whoever read has left.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn line(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
