//! Rotation by size: `web.1.log` becomes `web.1.log.1`, that one `.2`, and so on; the oldest is removed.

#![expect(clippy::disallowed_methods, reason = "the log directory, which only piku writes")]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use piku_layout::settings::LogSettings;

/// Highest number of a rotated file.
pub(super) const MAX_AGE: u32 = 99;

/// Limits on the size and the number of an instance's log files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RotationLimits {
    /// A file of this many bytes is rotated at the start of the next line.
    pub(crate) bytes: u64,
    /// Number of rotated files beside the one being written.
    pub(crate) keep: u32,
}

impl Default for RotationLimits {
    fn default() -> Self {
        LogSettings::default().into()
    }
}

impl From<LogSettings> for RotationLimits {
    /// Allows at least one megabyte and one rotated file, so that a rotation removes nothing that is just
    /// being read.
    fn from(logs: LogSettings) -> Self {
        Self { bytes: u64::from(logs.megabytes.max(1)) * 1024 * 1024, keep: logs.keep.clamp(1, MAX_AGE) }
    }
}

/// Returns the path of the rotated file with this age; 1 is the newest.
pub(super) fn numbered(path: &Path, age: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// Renames `path` to `path.1` after making room. A kill in between leaves a gap in the numbers, which the
/// next rotation fills; no file is lost.
pub(crate) fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        return fs::remove_file(path);
    }
    // Only the files before the first gap move; without a gap the oldest is overwritten.
    let free = (1..=keep).find(|age| !numbered(path, *age).exists()).unwrap_or(keep);
    for age in (1..free).rev() {
        fs::rename(numbered(path, age), numbered(path, age + 1))?;
    }
    fs::rename(path, numbered(path, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_file_is_removed_and_a_gap_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.1.log");
        let read = |age| fs::read_to_string(numbered(&path, age)).ok();
        for text in ["a", "b", "c", "d"] {
            fs::write(&path, text).unwrap();
            rotate(&path, 3).unwrap();
        }
        assert_eq!([read(1), read(2), read(3), read(4)].map(Option::unwrap_or_default), ["d", "c", "b", ""]);
        fs::remove_file(numbered(&path, 2)).unwrap();
        fs::write(&path, "e").unwrap();
        rotate(&path, 3).unwrap();
        assert_eq!([read(1), read(2), read(3)].map(Option::unwrap_or_default), ["e", "d", "b"]);
    }
}
