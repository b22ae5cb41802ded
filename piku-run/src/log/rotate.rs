//! Rotation by size: `web.1.log` becomes `web.1.log.1`, that one `.2`, and so on; the oldest goes.

#![expect(clippy::disallowed_methods, reason = "the log folder, which only piku writes")]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use piku_layout::settings::LogSettings;

/// No log is kept in more files than this.
pub(super) const MAX_AGE: u32 = 99;

/// How large a log may grow and how many full ones are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationLimits {
    /// A file of this many bytes is put away at its next line's start.
    pub bytes: u64,
    /// How many full files are kept beside the one being written.
    pub keep: u32,
}

impl Default for RotationLimits {
    fn default() -> Self {
        LogSettings::default().into()
    }
}

impl From<LogSettings> for RotationLimits {
    /// At least a megabyte, and one file that is put away: what is being read is not taken from under its reader.
    fn from(logs: LogSettings) -> Self {
        Self { bytes: u64::from(logs.megabytes.max(1)) * 1024 * 1024, keep: logs.keep.clamp(1, MAX_AGE) }
    }
}

/// The full file with the given age; 1 is the youngest.
pub(super) fn numbered(path: &Path, age: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// Puts `path` away as `path.1`. When killed in between there is a gap in the numbers, which the next rotation fills; no
/// file is lost to it.
pub(super) fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        return fs::remove_file(path);
    }
    // Only the files in front of the first gap have to move; without a gap the oldest is renamed over.
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
    fn the_oldest_goes_and_a_gap_is_filled() {
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
