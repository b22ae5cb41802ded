//! Files that are whole or not there. Each caller says what a power cut may take:
//!
//! - [`write`]: nothing. When it returns, the file is on the disk.
//! - [`write_ordered`]: the new file, but then also all that is synced after it: whoever has the later change has this one.
//! - [`write_passing`]: the file, or what is in it. For what is made anew, or means nothing after the machine was started anew.

#![expect(clippy::disallowed_methods, reason = "piku's own files")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::write_order::{order_folder, write_out};

/// Replaces `path` by `content` with the given mode. After a power cut the file is the old or the new one, whole.
///
/// # Errors
/// When a step fails; the old file is then untouched and nothing is left beside it.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode, File::sync_all)?;
    sync_parent(path)
}

/// The same, on the disk before all that is synced later; when that is, is up to who syncs it.
///
/// # Errors
/// As [`write`].
pub fn write_ordered(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode, write_out)?;
    order_parent(path)
}

/// The same, and nothing is done for a power cut: the file may be the old one then, the new one, or hold anything. Whoever reads it
/// has to live with that.
///
/// # Errors
/// As [`write`].
pub fn write_passing(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode, |_| Ok(()))
}

/// Writes the file aside, has it put on the disk, and renames it.
fn replace(
    path: &Path,
    content: &[u8],
    mode: u32,
    put: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("no file name"))?;
    let mut aside_name = std::ffi::OsString::from(".");
    aside_name.push(name);
    aside_name.push(format!(".{}", std::process::id()));
    let aside = path.with_file_name(aside_name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&aside)?;
        file.write_all(content)?;
        put(&file)?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&aside);
    }
    written
}

/// Makes a rename in `path`'s folder survive a power cut.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    open_parent(path)?.map_or(Ok(()), |folder| folder.sync_all())
}

/// Makes a rename in `path`'s folder be on the disk before all that is synced later.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn order_parent(path: &Path) -> io::Result<()> {
    open_parent(path)?.map_or(Ok(()), |folder| order_folder(&folder))
}

/// Opens the folder that `path` lies in; the top of all lies in none.
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
