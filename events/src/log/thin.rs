// SPDX-License-Identifier: Apache-2.0
//! Drops the `part.ready` of a file: it is written again without them, and takes the other's place in one step.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::cursor::{Cursor, Step};
use super::entry::Offset;
use super::folder::{self, Folder};
use super::record::Raw;
use super::volume::{Index, Volume};
use crate::config::Sync;
use crate::event::Kind;

/// How many events were dropped, by type.
pub(super) type Dropped = BTreeMap<Kind, u64>;

/// Writes a file that nobody appends to again without its `part.ready`. Says how many of them stood at `held` or behind.
pub(super) fn thin(
    folder: &Folder,
    volume: &Volume,
    held: Offset,
    sync: Sync,
) -> io::Result<(Arc<Volume>, u64, Dropped)> {
    let unfinished = volume.path.with_extension("tmp");
    let written = rewrite(volume, &unfinished, held, sync);
    let (index, dropped) = written.inspect_err(|_| folder::remove(&unfinished))?;
    let thinned = Volume::new(&folder.path, volume.first, true);
    fs::rename(&unfinished, &thinned.path)?;
    if sync != Sync::Never {
        folder.sync()?;
    }
    if thinned.path != volume.path {
        folder::remove(&volume.path);
    }
    let bytes = index.end;
    thinned.know(index);
    Ok((Arc::new(thinned), bytes, dropped))
}

fn rewrite(volume: &Volume, to: &Path, held: Offset, sync: Sync) -> io::Result<(Index, Dropped)> {
    let from = volume.open()?;
    let mut cursor = Cursor::new(volume.open()?, 0, volume.bytes()?);
    let mut out = BufWriter::new(File::create(to)?);
    let (mut index, mut dropped, mut record) = (Index::default(), Dropped::new(), Vec::new());
    while let Some(step) = cursor.next()? {
        let Step::Record(Raw { offset, stored, kind, .. }, position) = step else { continue };
        if kind == Kind::PartReady {
            *dropped.entry(kind).or_default() += u64::from(offset >= held);
            continue;
        }
        let length = usize::try_from(cursor.position() - position).map_err(io::Error::other)?;
        record.resize(length, 0);
        from.read_exact_at(&mut record, position)?;
        out.write_all(&record)?;
        let start = index.end;
        index.add(offset, stored, kind, start, start + length as u64);
    }
    let written = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    if sync != Sync::Never {
        written.sync_all()?;
    }
    Ok((index, dropped))
}

/// What goes with a file, of what stands at `held` or behind.
pub(super) fn count(volume: &Volume, held: Offset) -> io::Result<Dropped> {
    let mut cursor = Cursor::new(volume.open()?, 0, volume.bytes()?);
    let mut dropped = Dropped::new();
    while let Some(step) = cursor.next()? {
        if let Step::Record(raw, _) = step
            && raw.offset >= held
        {
            *dropped.entry(raw.kind).or_default() += 1;
        }
    }
    Ok(dropped)
}
