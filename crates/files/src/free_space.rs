//! Checks the free space of a disk before anything is written.

use std::ops::{AddAssign, Mul};
use std::path::Path;

use anyhow::Context;
use piku_report::user_error::UserError;
use rustix::fs::statvfs;

/// Space that a write needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpaceNeeded {
    /// Disk usage in bytes.
    pub bytes: u64,
    /// Number of files and directories.
    pub files: u64,
}

/// Space that stays free for records, logs and the app's own writes in the meantime.
const RESERVE: SpaceNeeded = SpaceNeeded { bytes: 4 << 20, files: 100 };

impl AddAssign for SpaceNeeded {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.files = self.files.saturating_add(other.files);
    }
}

impl Mul<u64> for SpaceNeeded {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self { bytes: self.bytes.saturating_mul(times), files: self.files.saturating_mul(times) }
    }
}

impl SpaceNeeded {
    /// Returns the space of one file or directory of this length, which takes whole blocks.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        Self { bytes: bytes.checked_next_multiple_of(4096).unwrap_or(u64::MAX).max(4096), files: 1 }
    }
}

/// Checks that the file system of `dir` has space for `need` and a small reserve. `what` names the writer,
/// in the singular.
///
/// # Errors
/// Fails with the numbers and a hint if space is missing, or if the file system cannot be queried.
pub fn check(dir: &Path, need: SpaceNeeded, what: &str) -> anyhow::Result<()> {
    check_keeping(dir, need, 0, what)
}

/// Checks as [`check`] does, with at least `reserve` bytes that must stay free.
///
/// # Errors
/// As [`check`].
pub fn check_keeping(dir: &Path, need: SpaceNeeded, reserve: u64, what: &str) -> anyhow::Result<()> {
    let free = FreeSpace::of(dir)?;
    let reserve = SpaceNeeded { bytes: RESERVE.bytes.max(reserve), files: RESERVE.files };
    require_space(dir, need, reserve, what, free).map_err(Into::into)
}

/// Free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpace {
    /// Size in bytes.
    pub total: u64,
    /// Bytes available to users other than root.
    pub bytes: u64,
    /// Number of files that can be created, if the file system has a limit.
    pub files: Option<u64>,
}

impl FreeSpace {
    /// Queries the file system of `dir`.
    ///
    /// # Errors
    /// Fails if `statvfs` does.
    pub fn of(dir: &Path) -> anyhow::Result<Self> {
        let stat = statvfs(dir).with_context(|| format!("cannot query the disk of '{}'", dir.display()))?;
        let bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        // btrfs and others have no limit.
        let files = (stat.f_files != 0).then_some(stat.f_favail);
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        Ok(Self { total, bytes, files })
    }
}

fn require_space(
    dir: &Path,
    need: SpaceNeeded,
    reserve: SpaceNeeded,
    what: &str,
    free: FreeSpace,
) -> Result<(), UserError> {
    let FreeSpace { bytes: free, files, .. } = free;
    let mut wanted = need;
    wanted += reserve;
    let refusal = if free < wanted.bytes {
        format!(
            "not enough space on the disk of '{}': {what} needs about {} and a reserve of {}; {} are free, {} are missing",
            dir.display(),
            size(need.bytes),
            size(reserve.bytes),
            size(free),
            size(wanted.bytes - free),
        )
    } else if let Some(files) = files.filter(|files| *files < wanted.files) {
        format!(
            "not enough inodes on the disk of '{}': {what} needs {} files and a reserve of {}; {files} are free, {} are missing",
            dir.display(),
            need.files,
            reserve.files,
            wanted.files - files,
        )
    } else {
        return Ok(());
    };
    let hint = if reserve.bytes > RESERVE.bytes {
        "run 'piku gc' to remove unused files, enlarge the disk, or lower disk_reserve in host.yaml"
    } else {
        "run 'piku gc' to remove unused files, or enlarge the disk"
    };
    Err(UserError::new(refusal).hint(hint))
}

/// Formats a number of bytes with a binary unit: `512 KiB`, `38.2 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let tenths = |unit: u64| bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit;
    match bytes {
        0..MIB => format!("{} KiB", bytes.div_ceil(1024)),
        MIB..GIB => format!("{}.{} MiB", tenths(MIB) / 10, tenths(MIB) % 10),
        _ => format!("{}.{} GiB", tenths(GIB) / 10, tenths(GIB) % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_how_much_is_missing() {
        let dir = std::env::temp_dir();
        check(&dir, SpaceNeeded { bytes: 1, files: 1 }, "the app").unwrap();
        let refusal =
            check(&dir, SpaceNeeded { bytes: u64::MAX, files: 0 }, "the app").unwrap_err().to_string();
        assert!(refusal.contains("missing"), "{refusal}");
        let result = |need, bytes, files| {
            let free = FreeSpace { total: bytes, bytes, files };
            require_space(Path::new("/d"), need, RESERVE, "the app", free)
                .map_err(|refusal| refusal.to_string())
        };
        let need = SpaceNeeded::of(10 << 20) * 2;
        assert_eq!(result(need, 24 << 20, Some(102)), Ok(()));
        assert_eq!(result(need, 24 << 20, None), Ok(()));
        assert_eq!(
            result(need, 22 << 20, None).unwrap_err(),
            "not enough space on the disk of '/d': the app needs about 20.0 MiB and a reserve of 4.0 MiB; \
             22.0 MiB are free, 2.0 MiB are missing"
        );
        assert_eq!(
            result(need, 24 << 20, Some(0)).unwrap_err(),
            "not enough inodes on the disk of '/d': the app needs 2 files and a reserve of 100; 0 are free, \
             102 are missing"
        );
    }

    #[test]
    fn sizes_have_a_unit() {
        let formatted = [0, 1, 1024, 1 << 20, (1 << 30) - 1, 1 << 30, u64::MAX].map(size);
        let expected = ["0 KiB", "1 KiB", "1 KiB", "1.0 MiB", "1024.0 MiB", "1.0 GiB", "17179869184.0 GiB"];
        assert_eq!(formatted, expected);
    }
}
