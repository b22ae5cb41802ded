//! Room on the disk, looked at before anything is written: a refusal with numbers is better than half of the work.

use std::io;
use std::ops::{AddAssign, Mul};
use std::path::Path;

use anyhow::Context;
use piku_report::user_error::UserError;
use rustix::fs::statvfs;

/// What is about to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpaceNeeded {
    /// Bytes.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
}

/// What stays free beyond a need: for records, logs and whatever else the app's workers write meanwhile.
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
    /// One file or folder of this many bytes, which takes whole blocks.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        Self { bytes: bytes.checked_next_multiple_of(4096).unwrap_or(u64::MAX).max(4096), files: 1 }
    }
}

/// Refuses when the file system of `dir` has not room for `need` and a little more; `what` is what needs it, in the singular.
///
/// # Errors
/// With the numbers, and a way out. When the file system cannot be asked, too.
pub fn check(dir: &Path, need: SpaceNeeded, what: &str) -> anyhow::Result<()> {
    check_keeping(dir, need, 0, what)
}

/// The same where at least `reserve` bytes are to stay free, for what comes from outside.
///
/// # Errors
/// As [`check`].
pub fn check_keeping(dir: &Path, need: SpaceNeeded, reserve: u64, what: &str) -> anyhow::Result<()> {
    let stat = FreeSpace::of(dir)?;
    let reserve = SpaceNeeded { bytes: RESERVE.bytes.max(reserve), files: RESERVE.files };
    judge(dir, need, reserve, what, stat).map_err(Into::into)
}

/// The bytes and files that a file system has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes, for who is not root.
    pub bytes: u64,
    /// Files and folders, where the file system counts them.
    pub files: Option<u64>,
}

impl FreeSpace {
    /// Asks the file system of `dir`.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn of(dir: &Path) -> anyhow::Result<Self> {
        let stat = statvfs(dir).with_context(|| format!("cannot look at the disk of '{}'", dir.display()))?;
        let bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        // btrfs and others count none.
        let files = (stat.f_files != 0).then_some(stat.f_favail);
        Ok(Self { bytes, files })
    }
}

fn judge(
    dir: &Path,
    need: SpaceNeeded,
    reserve: SpaceNeeded,
    what: &str,
    free: FreeSpace,
) -> Result<(), UserError> {
    let FreeSpace { bytes: free, files } = free;
    let mut wanted = need;
    wanted += reserve;
    let refusal = if free < wanted.bytes {
        format!(
            "not enough room on the disk of '{}': {what} needs about {} and {} of reserve, {} are free, {} are missing",
            dir.display(),
            size(need.bytes),
            size(reserve.bytes),
            size(free),
            size(wanted.bytes - free),
        )
    } else if let Some(files) = files.filter(|files| *files < wanted.files) {
        format!(
            "no room for more files on the disk of '{}': {what} needs {} and {} of reserve, {files} can be made, {} are missing",
            dir.display(),
            need.files,
            reserve.files,
            wanted.files - files,
        )
    } else {
        return Ok(());
    };
    let hint = if reserve.bytes > RESERVE.bytes {
        "'piku gc' removes what nothing needs; or make the disk larger, or disk_reserve in host.yaml smaller"
    } else {
        "'piku gc' removes what nothing needs; or make the disk larger"
    };
    Err(UserError::new(refusal).hint(hint))
}

/// Bytes for people, by 1024: `512 KiB`, `38.2 MiB`.
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

/// Whether something failed since the disk is full, of bytes or of files, or a quota is used up.
#[must_use]
pub fn is_full(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_is_missing() {
        let dir = std::env::temp_dir();
        check(&dir, SpaceNeeded { bytes: 1, files: 1 }, "the app").unwrap();
        let refusal =
            check(&dir, SpaceNeeded { bytes: u64::MAX, files: 0 }, "the app").unwrap_err().to_string();
        assert!(refusal.contains("missing"), "{refusal}");
        let said = |need, bytes, files| {
            let free = FreeSpace { bytes, files };
            judge(Path::new("/d"), need, RESERVE, "the app", free).map_err(|refusal| refusal.to_string())
        };
        let need = SpaceNeeded::of(10 << 20) * 2;
        assert_eq!(said(need, 24 << 20, Some(102)), Ok(()));
        assert_eq!(said(need, 24 << 20, None), Ok(()));
        assert_eq!(
            said(need, 22 << 20, None).unwrap_err(),
            "not enough room on the disk of '/d': the app needs about 20.0 MiB and 4.0 MiB of reserve, \
             22.0 MiB are free, 2.0 MiB are missing"
        );
        assert_eq!(
            said(need, 24 << 20, Some(0)).unwrap_err(),
            "no room for more files on the disk of '/d': the app needs 2 and 100 of reserve, 0 can be made, \
             102 are missing"
        );
    }

    #[test]
    fn sizes() {
        let told = [0, 1, 1024, 1 << 20, (1 << 30) - 1, 1 << 30, u64::MAX].map(size);
        let expected = ["0 KiB", "1 KiB", "1 KiB", "1.0 MiB", "1024.0 MiB", "1.0 GiB", "17179869184.0 GiB"];
        assert_eq!(told, expected);
    }
}
