//! Room on the disk, looked at before a build begins.

use std::path::Path;

use anyhow::Context;
use nix::sys::statvfs::statvfs;

use crate::explain;

/// What a build is about to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Files and folders.
    pub(crate) files: u64,
}

impl std::ops::AddAssign for Need {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.files += other.files;
    }
}

/// Refuses when the file system of `dir` has not room for `need`; `what` is what needs it.
pub(crate) fn check(dir: &Path, need: Need, what: &str) -> anyhow::Result<()> {
    let stat = statvfs(dir).with_context(|| format!("cannot look at the disk of '{}'", dir.display()))?;
    #[expect(clippy::useless_conversion, reason = "these are 32 bits wide on 32-bit machines")]
    let (free, inodes, has_inodes) = (
        u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())),
        u64::from(stat.files_available()),
        stat.files() != 0,
    );
    if free < need.bytes {
        return Err(explain::disk_full(dir, what, need.bytes, free).into());
    }
    // btrfs and others count none.
    if has_inodes && inodes < need.files {
        return Err(explain::no_inodes(dir, what, need.files, inodes).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_is_missing() {
        let dir = std::env::temp_dir();
        check(&dir, Need { bytes: 1, files: 1 }, "the app").unwrap();
        let refusal = check(&dir, Need { bytes: u64::MAX, files: 0 }, "the app").unwrap_err().to_string();
        assert!(refusal.contains("missing"), "{refusal}");
    }
}
