//! Writing to a file as long as the disk has space.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::free_space::{self, SpaceNeeded};

/// Bytes between two checks.
const STEP: u64 = 8 << 20;

/// Writer of a file that leaves a part of the disk free.
#[derive(Debug)]
pub struct ReservingWriter {
    file: File,
    /// Directory on the disk.
    folder: PathBuf,
    reserve: u64,
    /// Name of what is written, in the singular, for messages.
    what: &'static str,
    /// Bytes until the next check.
    left: u64,
}

impl ReservingWriter {
    /// Returns a writer that keeps `reserve` bytes of the disk of `folder` free.
    #[must_use]
    pub fn new(file: File, folder: PathBuf, reserve: u64, what: &'static str) -> Self {
        Self { file, folder, reserve, what, left: 0 }
    }

    /// Returns the file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Write for ReservingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            let need = SpaceNeeded { bytes: STEP, files: 1 };
            free_space::check_keeping(&self.folder, need, self.reserve, self.what)
                .map_err(|err| io::Error::other(format!("{err:#}")))?;
            self.left = STEP;
        }
        let count = self.file.write(bytes)?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_into_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile_in(dir.path()).unwrap();
        let writer = |reserve| {
            ReservingWriter::new(file.try_clone().unwrap(), dir.path().to_owned(), reserve, "the text")
        };
        let refused = writer(u64::MAX >> 1).write_all(b"x").unwrap_err();
        assert!(refused.to_string().contains("the text"), "{refused}");
        writer(0).write_all(b"x").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1);
    }
}
