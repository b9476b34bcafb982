// SPDX-License-Identifier: Apache-2.0
//! Small files that a crash leaves whole: the old one or the new one, never half of either.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

/// Writes `content` under a checksum beside the file and puts it in its place.
///
/// # Errors
/// What the file system says; the file is as it was.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(&xxh3_64(content).to_le_bytes())?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // The name is kept in the folder, which is written on its own.
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads what [`write`] wrote; `None` if there is no such file.
///
/// # Errors
/// What the file system says; [`io::ErrorKind::InvalidData`] for a file of another content than was written.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let content = file.split_off(file.len().min(8));
    if file != xxh3_64(&content).to_le_bytes() {
        let message = format!("expected {} to end as it was written, its checksum differs", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_or_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small");
        assert_eq!(read(&path).unwrap(), None);
        for content in [&b""[..], b"a", b"longer than the first"] {
            write(&path, content).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(content));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for length in 0..fs::read(&path).unwrap().len() {
            let cut = fs::read(&path).unwrap()[..length].to_vec();
            let damaged = folder.path().join("damaged");
            fs::write(&damaged, cut).unwrap();
            assert_eq!(read(&damaged).unwrap_err().kind(), io::ErrorKind::InvalidData, "{length}");
        }
        assert!(write(&folder.path().join("no/such/folder"), b"a").is_err());
    }
}
