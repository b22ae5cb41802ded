//! The index of an app's source: which object of the repository each of its files is, and the metadata by
//! which a later export sees a change of the file.
//!
//! `apps/APP/source` is the tree of the last exported commit, `apps/APP/source.index` its index. Both belong
//! to piku alone: no process and no build step sees them. The next export writes only what differs from
//! them, and a release is made of hard links to the files.
//!
//! The index may be lost or damaged at any time. A missing one means that nothing is known of the tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::atomic_file;
use crate::tree::{FileKind, FileStat, TreeHandle};

/// The first bytes of the file; the number counts its formats.
const MAGIC: &[u8; 16] = b"piku source 001\n";
/// Length of the SHA-256 at the end of the file.
const HASH: usize = 32;
/// Deepest nesting of directories.
const MAX_DEPTH: usize = 256;
/// Kinds of entries in the file, and flags of files.
const FOLDER: u8 = 0;
const FILE: u8 = 1;
const PROGRAM: u8 = 2;
const LINK: u8 = 3;
const KIND: u8 = 0x0f;
const NATIVE: u8 = 0x40;
const POINTER: u8 = 0x80;

/// Mode of each directory of a source.
pub const FOLDER_MODE: u32 = 0o755;

/// Name of an object in a repository: its SHA-1.
pub type ObjectName = [u8; 20];

/// A directory of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFolder {
    /// The tree that the directory was written from.
    pub object: ObjectName,
    /// Its entries, in the order of the tree.
    pub entries: Vec<IndexEntry>,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Single name, without a path.
    pub name: Vec<u8>,
    /// Content of the entry.
    pub content: IndexContent,
}

/// Content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexContent {
    /// A directory, or the tree of a submodule. The next index shares it where nothing has changed.
    Folder(Arc<IndexFolder>),
    /// A file or a symlink.
    File(IndexFile),
}

/// A file or a symlink of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// The blob that it was written from.
    pub object: ObjectName,
    /// Kind of the entry.
    pub kind: SourceKind,
    /// True if its content begins as that of an ELF file.
    pub is_native: bool,
    /// True if it is a pointer to Git LFS.
    pub is_pointer: bool,
    /// Metadata after it was written.
    pub mark: FileMark,
}

/// Kind of a file in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// Mode 0644.
    File,
    /// Mode 0755.
    Program,
    /// A symlink.
    Link,
}

/// The metadata of a file that change with it. A hard link changes none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMark {
    /// Inode number.
    pub ino: u64,
    /// Length in bytes.
    pub len: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified: u64,
}

impl FileMark {
    /// Returns the mark of a file with this metadata.
    #[must_use]
    pub fn of(stat: &FileStat) -> Self {
        let since = stat.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { ino: stat.ino, len: stat.len, modified: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) }
    }
}

impl SourceKind {
    /// Returns whether an entry with this metadata has the kind and its permissions. Those of the group do
    /// not count.
    #[must_use]
    pub fn fits(self, stat: &FileStat) -> bool {
        match self {
            Self::File => stat.kind == FileKind::Regular && stat.mode_without_group() == 0o604,
            Self::Program => stat.kind == FileKind::Regular && stat.mode_without_group() == 0o705,
            Self::Link => stat.kind == FileKind::Link,
        }
    }
}

impl IndexFile {
    /// Returns whether an entry with this metadata is the file, unchanged.
    #[must_use]
    pub fn is_unchanged(&self, stat: &FileStat) -> bool {
        self.kind.fits(stat) && FileMark::of(stat) == self.mark
    }
}

impl IndexEntry {
    /// Returns the name as the file system takes it.
    #[must_use]
    pub(crate) fn os_name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }
}

impl IndexFolder {
    /// Reads the index of the source in `dir`. `None` if there is none, or it is damaged.
    #[must_use]
    pub fn read(dir: &Path) -> Option<Self> {
        let path = index_path(dir);
        let parent = TreeHandle::open_following(path.parent()?).ok()?;
        let bytes = parent.open_file_nofollow(path.file_name()?).ok()?.read_bounded(u64::MAX).ok()?;
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
        if Sha256::digest(content)[..] != *hash {
            return None;
        }
        let mut reader = IndexReader(content.strip_prefix(MAGIC)?);
        let top = reader.folder(0)?;
        reader.0.is_empty().then_some(top)
    }

    /// Writes the index of the source in `dir`. After a power cut it may be damaged, which its readers see.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        self.append_to(&mut bytes);
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
        atomic_file::write_passing(&index_path(dir), &bytes, 0o600)
    }

    /// Returns the directory at a path without links below this one.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<&Self> {
        path.iter().try_fold(self, |folder, name| {
            let found = folder.entries.iter().find(|entry| entry.os_name() == name)?;
            match &found.content {
                IndexContent::Folder(below) => Some(below.as_ref()),
                IndexContent::File(_) => None,
            }
        })
    }

    /// Returns the content of each entry by its name.
    #[must_use]
    pub fn by_name(&self) -> HashMap<&[u8], &IndexContent> {
        self.entries.iter().map(|entry| (entry.name.as_slice(), &entry.content)).collect()
    }

    /// Returns the number of entries below the directory.
    #[must_use]
    pub fn count_entries(&self) -> u64 {
        let count = |entry: &IndexEntry| match &entry.content {
            IndexContent::Folder(below) => 1 + below.count_entries(),
            IndexContent::File(_) => 1,
        };
        self.entries.iter().map(count).sum()
    }

    /// Returns the number of directories, with this one.
    #[must_use]
    pub fn count_folders(&self) -> u64 {
        let count = |entry: &IndexEntry| match &entry.content {
            IndexContent::Folder(below) => below.count_folders(),
            IndexContent::File(_) => 0,
        };
        1 + self.entries.iter().map(count).sum::<u64>()
    }

    /// Calls `visit` for each file below the directory with the path of its directory and its name: most callers need
    /// the whole path of few files.
    pub fn visit_files(&self, visit: &mut impl FnMut(&Path, &OsStr, &IndexFile)) {
        self.visit_below(&mut PathBuf::new(), visit);
    }

    fn visit_below(&self, path: &mut PathBuf, visit: &mut impl FnMut(&Path, &OsStr, &IndexFile)) {
        for entry in &self.entries {
            match &entry.content {
                IndexContent::Folder(below) => {
                    path.push(entry.os_name());
                    below.visit_below(path, visit);
                    path.pop();
                }
                IndexContent::File(file) => visit(path, entry.os_name(), file),
            }
        }
    }

    fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.object);
        bytes.extend_from_slice(&u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&u16::try_from(entry.name.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend_from_slice(&entry.name);
            match &entry.content {
                IndexContent::Folder(below) => {
                    bytes.push(FOLDER);
                    below.append_to(bytes);
                }
                IndexContent::File(file) => file.append_to(bytes),
            }
        }
    }
}

impl IndexFile {
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>) {
        let kind = match self.kind {
            SourceKind::File => FILE,
            SourceKind::Program => PROGRAM,
            SourceKind::Link => LINK,
        };
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        bytes.push(kind | flag(self.is_native, NATIVE) | flag(self.is_pointer, POINTER));
        bytes.extend_from_slice(&self.object);
        for number in [self.mark.ino, self.mark.len, self.mark.modified] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Returns the path of the index of the source in `dir`: `DIR.index`.
#[must_use]
pub(crate) fn index_path(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".index");
    dir.with_file_name(name)
}

/// The rest of an index.
struct IndexReader<'a>(&'a [u8]);

impl<'a> IndexReader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn folder(&mut self, depth: usize) -> Option<IndexFolder> {
        if depth > MAX_DEPTH {
            return None;
        }
        let object = self.array()?;
        let count = u32::from_le_bytes(self.array()?);
        let entries = (0..count).map(|_| self.entry(depth)).collect::<Option<_>>()?;
        Some(IndexFolder { object, entries })
    }

    fn entry(&mut self, depth: usize) -> Option<IndexEntry> {
        let len = u16::from_le_bytes(self.array()?);
        let name = self.take(len.into())?.to_vec();
        if matches!(name.as_slice(), b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
            return None;
        }
        let [tag] = self.array()?;
        let kind = match tag & KIND {
            FOLDER => {
                let content = IndexContent::Folder(Arc::new(self.folder(depth + 1)?));
                return Some(IndexEntry { name, content });
            }
            FILE => SourceKind::File,
            PROGRAM => SourceKind::Program,
            LINK => SourceKind::Link,
            _ => return None,
        };
        let object = self.array()?;
        let mark = FileMark { ino: self.number()?, len: self.number()?, modified: self.number()? };
        let (is_native, is_pointer) = (tag & NATIVE != 0, tag & POINTER != 0);
        let file = IndexFile { object, kind, is_native, is_pointer, mark };
        Some(IndexEntry { name, content: IndexContent::File(file) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn index() -> IndexFolder {
        let file = |name: &[u8], kind, number: u64| IndexEntry {
            name: name.to_vec(),
            content: IndexContent::File(IndexFile {
                object: [7; 20],
                kind,
                is_native: number == 1,
                is_pointer: number == 2,
                mark: FileMark { ino: number, len: number << 40, modified: u64::MAX - number },
            }),
        };
        let below = IndexFolder { object: [1; 20], entries: vec![file(b"\xff x\n", SourceKind::Link, 1)] };
        let empty = IndexFolder { object: [2; 20], entries: Vec::new() };
        let folder = |name: &[u8], below| IndexEntry {
            name: name.to_vec(),
            content: IndexContent::Folder(Arc::new(below)),
        };
        let entries = vec![
            file(b"a", SourceKind::File, 2),
            folder(b"b", below),
            folder(b"c", empty),
            file(b"d", SourceKind::Program, 3),
        ];
        IndexFolder { object: [0; 20], entries }
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        assert_eq!(IndexFolder::read(&source), None);
        index().write(&source).unwrap();
        assert_eq!(IndexFolder::read(&source), Some(index()));
        assert_eq!(index().count_entries(), 5);
        assert_eq!(index().find(Path::new("b")).unwrap().object, [1; 20]);
        assert!(index().find(Path::new("a")).is_none() && index().find(Path::new("b/x")).is_none());
        let mut natives = Vec::new();
        index().visit_files(&mut |folder, name, file| {
            if file.is_native {
                natives.push(folder.join(name));
            }
        });
        assert_eq!(natives, [Path::new("b").join(OsStr::from_bytes(b"\xff x\n"))]);
    }

    #[test]
    fn a_damaged_index_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        index().write(&source).unwrap();
        let path = index_path(&source);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(IndexFolder::read(&source), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(IndexFolder::read(&source), None, "{at} bytes");
        }
        // Even with the right hash, a name leads nowhere.
        for name in [&b".."[..], b".", b"", b"a/b", b"a\0"] {
            let mut bad = index();
            bad.entries[0].name = name.to_vec();
            bad.write(&source).unwrap();
            assert_eq!(IndexFolder::read(&source), None, "{name:?}");
        }
    }
}
