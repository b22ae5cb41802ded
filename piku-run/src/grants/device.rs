//! Devices that would give an app the machine: its memory, its terminals, and disks that are in use.

#![expect(
    clippy::disallowed_methods,
    reason = "the kernel's lists in /proc and /sys, and devices of the host"
)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

/// Character devices by number, and why no app may have them. `None` stands for each minor number.
const FORBIDDEN: [(u64, Option<std::ops::Range<u64>>, &str); 8] = [
    (1, Some(1..3), "is the memory of the machine"),
    (1, Some(4..5), "gives access to the ports of all hardware"),
    (1, Some(11..13), "is the log or the memory of the kernel"),
    (4, Some(0..64), "is a terminal of the machine's own"),
    (5, Some(1..2), "is a terminal of the machine's own"),
    (7, None, "is a terminal of the machine's own"),
    (10, Some(223..224), "types on the machine's keyboard"),
    (10, Some(235..238), "controls the machine's file systems and disks"),
];

/// Returns why no app may have this device; `None` if it may, or if the path is not a device.
pub(super) fn why_forbidden(path: &Path, about: &fs::Metadata) -> Option<String> {
    let kind = about.file_type();
    let (major, minor) = (major(about.rdev()), minor(about.rdev()));
    if kind.is_char_device() {
        let is_it = |(number, minors, _): &&(u64, Option<std::ops::Range<u64>>, &str)| {
            *number == major && minors.as_ref().is_none_or(|minors| minors.contains(&minor))
        };
        return FORBIDDEN.iter().find(is_it).map(|(_, _, why)| (*why).to_owned());
    }
    if !kind.is_block_device() {
        return None;
    }
    let mounted = used_disks();
    let user =
        disk_and_parts(&format!("{major}:{minor}")).into_iter().find(|number| mounted.contains(number))?;
    let what = if user == format!("{major}:{minor}") { "it" } else { "a part of it" };
    Some(format!("is a disk in use: {what} is mounted, or is swap, on this machine ('{}')", path.display()))
}

/// Returns the numbers, `MAJOR:MINOR`, of the disks that are mounted or used as swap.
fn used_disks() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned);
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let swapped = swaps.lines().skip(1).filter_map(|line| {
        let about = fs::metadata(line.split_whitespace().next()?).ok()?;
        about
            .file_type()
            .is_block_device()
            .then(|| format!("{}:{}", major(about.rdev()), minor(about.rdev())))
    });
    mounted.chain(swapped).collect()
}

/// Returns the number of the disk, of its partitions, and of the disks that are made of them: encrypted ones,
/// arrays, logical volumes.
fn disk_and_parts(number: &str) -> Vec<String> {
    let mut found = vec![number.to_owned()];
    let mut at = 0;
    while let Some(number) = found.get(at) {
        let folder = PathBuf::from("/sys/dev/block").join(number);
        let numbers = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| fs::read_to_string(entry.path().join("dev")).ok()).collect()
        };
        let more = [numbers(&folder), numbers(&folder.join("holders"))].concat();
        for number in more.into_iter().map(|number| number.trim().to_owned()) {
            if !found.contains(&number) {
                found.push(number);
            }
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_the_machine_itself() {
        let why = |path: &str| why_forbidden(Path::new(path), &fs::metadata(path).unwrap());
        assert_eq!(why("/dev/null"), None);
        assert_eq!(why("/dev/urandom"), None);
        assert_eq!(why("/proc"), None);
        for path in ["/dev/mem", "/dev/kmsg", "/dev/console", "/dev/tty1", "/dev/vcs1", "/dev/uinput"] {
            if let Ok(about) = fs::metadata(path) {
                assert!(why_forbidden(Path::new(path), &about).is_some(), "{path}");
            }
        }
    }

    #[test]
    fn mounted_disks_and_their_parents_are_in_use() {
        // Every disk that is mounted here, as far as the kernel shows it.
        for number in used_disks().iter().filter(|number| Path::new("/sys/dev/block").join(number).exists()) {
            assert_eq!(&disk_and_parts(number)[0], number);
            let parent = fs::canonicalize(Path::new("/sys/dev/block").join(number)).unwrap();
            if let Ok(disk) = fs::read_to_string(parent.join("../dev")) {
                assert!(disk_and_parts(disk.trim()).contains(number), "{number} of {disk}");
            }
        }
    }
}
