//! Finds in the last lines of a process that a write found no space, and says where that can have been.

use std::path::Path;

use piku_files::free_space::{FreeSpace, size};
use piku_layout::paths::AppDir;

use super::is_one_of;

/// Messages of programs whose disk or `/tmp` is full, in lower case.
const FULL: [&str; 3] = ["no space left on device", "enospc", "errno 28]"];
/// Messages of programs whose user has used up its share of the disk, in lower case.
const OVER_QUOTA: [&str; 3] = ["disk quota exceeded", "edquot", "errno 122]"];

/// Returns a line for the operator if a write found no space. The disk counts as full with less than `reserve`
/// bytes, which is called only then.
pub(crate) fn explain_no_space(
    lines: &[String],
    dir: &AppDir,
    reserve: impl FnOnce() -> u64,
) -> Option<String> {
    let disks = [dir.scratch(), dir.data()];
    let free = || disks.iter().filter_map(|path| FreeSpace::of(path).ok()).min_by_key(|free| free.bytes);
    explain(lines, dir.path(), free, reserve)
}

fn explain(
    lines: &[String],
    place: &Path,
    free: impl Fn() -> Option<FreeSpace>,
    reserve: impl FnOnce() -> u64,
) -> Option<String> {
    let says = |words: &[&str]| lines.iter().any(|line| is_one_of(words, line));
    let place = place.display();
    if says(&OVER_QUOTA) {
        return Some(format!(
            "the disk quota of piku's user is used up, in '{place}', which has /data and /app"
        ));
    }
    if !says(&FULL) {
        return None;
    }
    let reserve = reserve();
    let full = free().filter(|free| free.bytes < reserve || free.files == Some(0));
    Some(match full {
        Some(free) => format!(
            "the disk of this machine is full: {} free in '{place}', which has /data and /app; 'piku gc' removes what \
             no app needs",
            size(free.bytes)
        ),
        None => format!(
            "a write found no space: /tmp is in memory, and TMP_SIZE=256m in ENV makes it that large; if it was not \
             there, the disk of '{place}' was full, which has /data and /app"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_is_full_is_named() {
        let explain = |line: &str, bytes: u64, files: Option<u64>| {
            let lines = ["Traceback:".to_owned(), line.to_owned()];
            super::explain(
                &lines,
                Path::new("/p"),
                || Some(FreeSpace { total: bytes, bytes, files }),
                || 64 << 20,
            )
        };
        let told = explain("OSError: [Errno 28] No space left on device", 1 << 20, None).unwrap();
        assert!(told.starts_with("the disk of this machine is full: 1"), "{told}");
        assert!(explain("Error: ENOSPC, write", 1 << 40, Some(0)).unwrap().contains("is full"));
        assert!(explain("Error: ENOSPC, write", 1 << 40, None).unwrap().contains("TMP_SIZE=256m"));
        assert!(
            explain("OSError: [Errno 122] Disk quota exceeded", 1 << 40, None).unwrap().contains("quota")
        );
        assert_eq!(explain("KeyError: 28", 0, None), None);
    }
}
