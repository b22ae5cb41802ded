//! The record of a tree of hard links to the files of an app's source. By it, a later build brings the tree up to
//! date instead of linking each file again.
//!
//! The modification time of a directory changes with each entry that is added, removed or renamed. If it has not
//! changed since the links were made, the directory still has the same entries, and the inodes of its files are
//! those of the source, which its index vouches for. The links leave each directory a time in the past, so that a change
//! right after them is seen, too. No process of an app writes to such a tree; what an operator
//! changes in it by hand is found and undone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::atomic_file;
use crate::source_index::{FOLDER_MODE, FileMark, IndexContent, IndexFolder};
use crate::tree::{FileStat, TreeHandle};

/// The first bytes of the file; the number counts its formats.
const MAGIC: &[u8; 16] = b"piku linked 001\n";
/// Length of a SHA-256.
const HASH: usize = 32;

/// The directories of a tree of links, by their paths in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkRecord {
    folders: BTreeMap<PathBuf, FolderMark>,
}

/// A directory after its links were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FolderMark {
    /// Hash of the names and files that the index of the source listed, by [`hash_entries`].
    pub(crate) entries: [u8; HASH],
    /// Metadata of the directory.
    pub(crate) mark: FileMark,
}

impl LinkRecord {
    /// Reads the file `name` of a directory. `None` if there is none, or it is damaged.
    #[must_use]
    pub fn read(folder: &TreeHandle, name: &str) -> Option<Self> {
        let bytes = folder.open_file_nofollow(name).ok()?.read_bounded(u64::MAX).ok()?;
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
        if Sha256::digest(content)[..] != *hash {
            return None;
        }
        let mut rest = content.strip_prefix(MAGIC)?;
        let mut folders = BTreeMap::new();
        while !rest.is_empty() {
            let len = u16::from_le_bytes(take(&mut rest)?);
            let (path, after) = rest.split_at_checked(len.into())?;
            rest = after;
            let entries = take(&mut rest)?;
            let mut number = || take(&mut rest).map(u64::from_le_bytes);
            let mark = FileMark { ino: number()?, len: number()?, modified: number()? };
            folders.insert(OsString::from_vec(path.to_vec()).into(), FolderMark { entries, mark });
        }
        Some(Self { folders })
    }

    /// Writes the record to the file `path`. After a power cut it may be damaged, which its readers see.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for (path, FolderMark { entries, mark }) in &self.folders {
            let path = path.as_os_str().as_bytes();
            bytes.extend_from_slice(&u16::try_from(path.len()).map_err(io::Error::other)?.to_le_bytes());
            bytes.extend_from_slice(path);
            bytes.extend_from_slice(entries);
            for number in [mark.ino, mark.len, mark.modified] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
        atomic_file::write_passing(path, &bytes, 0o600)
    }

    /// Returns the mark of the directory `path` if it has this metadata still, and links to the files with this hash.
    pub(crate) fn find_unchanged(
        &self,
        path: &Path,
        entries: &[u8; HASH],
        stat: &FileStat,
    ) -> Option<FolderMark> {
        let found = self.folders.get(path).filter(|found| found.entries == *entries)?;
        (found.mark == FileMark::of(stat) && has_folder_mode(stat)).then_some(*found)
    }

    pub(crate) fn insert(&mut self, path: PathBuf, folder: FolderMark) {
        self.folders.insert(path, folder);
    }
}

/// Returns true for the mode of a directory of a source. The rights of the group do not count.
pub(crate) fn has_folder_mode(stat: &FileStat) -> bool {
    stat.mode_without_group() == FOLDER_MODE & !0o070
}

/// Returns the hash of what an index says of the entries of one directory. Of subdirectories only the names count.
pub(crate) fn hash_entries(index: &IndexFolder) -> [u8; HASH] {
    let mut bytes = Vec::new();
    for entry in &index.entries {
        bytes.extend_from_slice(&u16::try_from(entry.name.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(&entry.name);
        match &entry.content {
            IndexContent::Folder(_) => bytes.push(0),
            IndexContent::File(file) => file.append_to(&mut bytes),
        }
    }
    Sha256::digest(&bytes).into()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_at_checked(N)?;
    *rest = after;
    taken.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_record_is_read_as_it_was_written_and_not_if_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let folder = TreeHandle::open(dir.path()).unwrap();
        assert_eq!(LinkRecord::read(&folder, "links"), None);
        let mut record = LinkRecord::default();
        for (number, path) in ["", "a", "a/\u{e4} b"].into_iter().enumerate() {
            let mark = FileMark { ino: number as u64, len: 4096, modified: u64::MAX };
            record.insert(path.into(), FolderMark { entries: [7; HASH], mark });
        }
        let path = dir.path().join("links");
        record.write(&path).unwrap();
        assert_eq!(LinkRecord::read(&folder, "links"), Some(record));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(LinkRecord::read(&folder, "links"), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(LinkRecord::read(&folder, "links"), None, "{at} bytes");
        }
    }
}
