// SPDX-License-Identifier: Apache-2.0
//! The folder of a log: its lock, its identity, and the files in it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::error::Error;
use super::settings;
use super::volume::Volume;

/// What this boot of the machine is called; none where the system does not say.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// A folder that this process alone writes, as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) identity: Arc<str>,
    /// Locked; the system gives it back with the process, however that ends.
    _lock: File,
}

impl Folder {
    /// Takes a folder; makes it where there is none.
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|cause| Error::io("to make", path, cause))?;
        let at = path.join("lock");
        let lock = File::create(&at).map_err(|cause| Error::io("to write", &at, cause))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Locked { path: path.to_owned() },
            TryLockError::Error(cause) => Error::io("to lock", &at, cause),
        })?;
        let identity = identify(path).map_err(|cause| Error::io("to write the identity in", path, cause))?;
        Ok(Self { path: path.to_owned(), identity: identity.into(), _lock: lock })
    }

    /// The log ends in order: all of it is on the disk.
    pub(super) fn close(&self) -> io::Result<()> {
        write_identity(&self.path, &self.identity, "closed")
    }

    /// Makes what was renamed or made in it last.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// The log's name. It gets a new one where the machine went down under it: then events may be gone that followers have
/// seen, and their offsets be given to others.
fn identify(dir: &Path) -> io::Result<String> {
    let boot = boot();
    let text = fs::read_to_string(dir.join("identity")).unwrap_or_default();
    let known = match text.split_whitespace().collect::<Vec<_>>()[..] {
        [name, then, state] if name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            (state == "closed" || then == boot).then(|| name.to_owned())
        }
        _ => None,
    };
    let identity = known.unwrap_or_else(settings::identity);
    write_identity(dir, &identity, "open")?;
    Ok(identity)
}

fn boot() -> String {
    fs::read_to_string(BOOT).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn write_identity(dir: &Path, identity: &str, state: &str) -> io::Result<()> {
    let unfinished = dir.join("identity.tmp");
    let mut file = File::create(&unfinished)?;
    // Not forced to the disk: one that a crash of the machine takes is a new identity, as it is to be then.
    writeln!(file, "{identity} {} {state}", boot())?;
    fs::rename(unfinished, dir.join("identity"))
}

/// The files of a log, oldest first. Where a file and its thinned copy are both there, the copy is whole and counts.
pub(super) fn volumes(dir: &Path) -> io::Result<Vec<Arc<Volume>>> {
    let mut volumes = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let Some(volume) = Volume::named(dir, &entry?.file_name()) else { continue };
        if volume.is_thinned || !volumes.contains_key(&volume.first) {
            volumes.insert(volume.first, Arc::new(volume));
        }
    }
    Ok(volumes.into_values().collect())
}

/// Removes what an end in the middle of something left behind.
pub(super) fn tidy(dir: &Path, volumes: &[Arc<Volume>]) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_left = path.extension().is_some_and(|extension| extension == "tmp");
        let is_replaced = volumes.iter().any(|volume| volume.is_thinned && volume.path.with_extension("log") == path);
        if is_left || is_replaced {
            remove(&path);
        }
    }
    Ok(())
}

/// Removes a file; one that stays costs room and nothing else.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        warn!(path = %path.display(), %error, "a file of the events cannot be removed");
    }
}
