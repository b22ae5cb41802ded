//! Hash over the kind, path, mode, time and content of every entry of a stream, independent of tar's
//! encoding.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Hash of the entries so far.
#[derive(Default)]
pub(super) struct ContentHash(Sha256);

/// Kind of an entry, with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind<'a> {
    Folder,
    /// A file of so many bytes; they follow.
    File(u64),
    /// A symbolic link with its target.
    Link(&'a Path),
}

impl ContentHash {
    /// Adds an entry. `mode`: permission bits; `time`: seconds since 1970.
    pub(super) fn entry(&mut self, path: &Path, kind: EntryKind<'_>, mode: u32, time: u64) {
        let (letter, size, target) = match kind {
            EntryKind::Folder => (b'd', 0, Path::new("")),
            EntryKind::File(size) => (b'f', size, Path::new("")),
            EntryKind::Link(target) => (b'l', 0, target),
        };
        self.0.update([letter]);
        self.0.update(mode.to_le_bytes());
        self.0.update(time.to_le_bytes());
        self.0.update(size.to_le_bytes());
        for path in [path, target] {
            let bytes = path.as_os_str().as_bytes();
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }

    /// Adds content on its way through.
    pub(super) fn through<R: Read>(&mut self, content: R) -> HashingReader<'_, R> {
        HashingReader { sum: self, content, bytes: 0 }
    }

    /// Returns the hash as 64 hex digits.
    pub(super) fn finish(self) -> String {
        piku_files::sha256::to_hex(&self.0.finalize())
    }
}

/// Content that is hashed and counted while it is read.
pub(super) struct HashingReader<'a, R> {
    sum: &'a mut ContentHash,
    content: R,
    /// Bytes written or read so far.
    pub(super) bytes: u64,
}

impl<R: Read> Read for HashingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.sum.0.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
