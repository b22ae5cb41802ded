//! Writes files atomically. Each caller chooses what a power cut may undo:
//!
//! - [`write()`]: nothing. When it returns, the file is on the disk.
//! - [`write_ordered`]: the new file, together with everything that is synced after it.
//! - [`write_passing`]: the file or its content. For files that are written again, or have no meaning
//!   after a boot.

#![expect(clippy::disallowed_methods, reason = "piku's own files")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::write_order::{order_folder, write_out};

/// Replaces the file `path`. After a power cut it has the old or the new content, complete.
///
/// # Errors
/// Fails if a step fails. The old file then stays and no temporary file is left.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode, File::sync_all)?;
    sync_parent(path)
}

/// Replaces the file `path` and writes it to the disk before anything that is synced later.
///
/// # Errors
/// As [`write()`].
pub fn write_ordered(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode, write_out)?;
    order_parent(path)
}

/// Replaces the file `path` without a sync: after a power cut it may have any content, which its readers
/// must handle.
///
/// # Errors
/// As [`write()`].
pub fn write_passing(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode, |_| Ok(()))
}

/// Writes a temporary file, syncs it with `sync` and renames it.
fn replace(
    path: &Path,
    content: &[u8],
    mode: u32,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("no file name"))?;
    let mut aside_name = std::ffi::OsString::from(".");
    aside_name.push(name);
    aside_name.push(format!(".{}", std::process::id()));
    let aside = path.with_file_name(aside_name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&aside)?;
        file.write_all(content)?;
        sync(&file)?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        // The first error matters.
        let _ = fs::remove_file(&aside);
    }
    written
}

/// Renames a file in its directory. After a power cut it has the old or the new name.
///
/// # Errors
/// Fails if a step fails.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Gives a file a second name in its directory, unless an entry has it.
///
/// # Errors
/// Fails if a step fails.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
        _ => sync_parent(to),
    }
}

/// Syncs the directory of `path`, so that a rename in it survives a power cut.
///
/// # Errors
/// Fails if the folder cannot be opened or synced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    open_parent(path)?.map_or(Ok(()), |dir| dir.sync_all())
}

/// Writes a rename in the directory of `path` to the disk before anything that is synced later.
///
/// # Errors
/// Fails if the folder cannot be opened or synced.
pub fn order_parent(path: &Path) -> io::Result<()> {
    open_parent(path)?.map_or(Ok(()), |dir| order_folder(&dir))
}

/// Opens the directory of `path`; `None` for the root directory.
fn open_parent(path: &Path) -> io::Result<Option<File>> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".").map(Some),
        Some(parent) => File::open(parent).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_whole_and_leaves_nothing_beside() {
        let dir = std::env::temp_dir().join(format!("piku-durable-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("config.json");
        for put in [write, write_ordered, write_passing] {
            put(&path, b"one", 0o600).unwrap();
            put(&path, b"two", 0o600).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"two");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        }
        assert!(write_passing(&dir.join("none/file"), b"", 0o600).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
