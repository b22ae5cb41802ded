//! Mounts: made, changed, taken away, and what those that are there allow.

use std::ffi::CString;
use std::fs;

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::call;
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 5] = [
    Row {
        name: "mount",
        attempt: "mount a tmpfs, a proc, an overlay, and bind a folder on another",
        expected: "EPERM",
        run: mount,
    },
    Row {
        name: "remount",
        attempt: "remount each mount writable, with devices and set-uid programs",
        expected: "EPERM",
        run: remount,
    },
    Row {
        name: "umount",
        attempt: "take each mount away, to see what is below",
        expected: "EPERM",
        run: umount,
    },
    Row {
        name: "mount-api",
        attempt: "the same by fsopen, fspick, open_tree, move_mount and mount_setattr",
        expected: "EPERM",
        run: api,
    },
    Row {
        name: "mount-flags",
        attempt: "find a mount that allows set-uid programs or devices",
        expected: "every mount nosuid, and nodev but for single devices",
        run: flags,
    },
];

/// Returns each mount point and its options.
fn mounts() -> Vec<(CString, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let parsed = table.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(4);
        let place = words.next()?.replace("\\040", " ").replace("\\012", "\n").replace("\\134", "\\");
        Some((CString::new(place).ok()?, words.next()?.to_owned()))
    });
    parsed.collect()
}

const REFUSED: [i32; 2] = [libc::EPERM, libc::ENOSYS];

fn mount(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let cases = [
        (c"none", c"/tmp", c"tmpfs", 0),
        (c"none", c"/tmp", c"proc", 0),
        (c"none", c"/tmp", c"sysfs", 0),
        (c"none", c"/tmp", c"cgroup2", 0),
        (c"none", c"/tmp", c"overlay", 0),
        (c"/tmp", c"/usr", c"none", libc::MS_BIND),
        (c"/usr", c"/tmp", c"none", libc::MS_BIND | libc::MS_REC),
        (c"/proc/1/root", c"/tmp", c"none", libc::MS_BIND | libc::MS_REC),
        (c"/tmp", c"/dev", c"none", libc::MS_MOVE),
        (c"none", c"/", c"none", libc::MS_SHARED | libc::MS_REC),
    ];
    for (source, place, kind, flags) in cases {
        let what = format!("mount {} on {}", source.to_string_lossy(), place.to_string_lossy());
        // Without the filter a source that cannot be reached is told before the lack of rights.
        let answer = call!(libc::SYS_mount, source, place, kind, flags, c"");
        ways.must_fail_with(&what, answer, &[libc::EPERM, libc::ENOSYS, libc::EACCES]);
    }
    ways.verdict()
}

fn remount(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (place, _) in mounts() {
        for flags in [libc::MS_REMOUNT | libc::MS_BIND, libc::MS_REMOUNT] {
            let answer = call!(libc::SYS_mount, c"none", place.as_c_str(), c"none", flags, c"");
            ways.must_fail(&format!("remount {}", place.to_string_lossy()), answer);
        }
    }
    ways.verdict()
}

fn umount(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (place, _) in mounts().into_iter().rev() {
        for flags in [0, libc::MNT_DETACH, libc::MNT_EXPIRE, libc::UMOUNT_NOFOLLOW] {
            let answer = call!(libc::SYS_umount2, place.as_c_str(), flags);
            ways.must_fail(&format!("umount {}", place.to_string_lossy()), answer);
        }
    }
    ways.verdict()
}

fn api(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for kind in [c"tmpfs", c"proc", c"sysfs", c"overlay"] {
        ways.must_fail_with("fsopen", call!(libc::SYS_fsopen, kind, 0), &REFUSED);
    }
    // attr_set, attr_clr (read-only, nosuid, nodev), propagation, userns_fd.
    let attributes = [0_u64, 7, 0, 0].map(u64::to_ne_bytes).concat();
    for (place, _) in mounts() {
        let (place, shown) = (place.as_c_str(), place.to_string_lossy());
        // OPEN_TREE_CLONE
        let copied = call!(libc::SYS_open_tree, libc::AT_FDCWD, place, 1);
        ways.must_fail_with(&format!("open_tree {shown}"), copied, &REFUSED);
        let picked = call!(libc::SYS_fspick, libc::AT_FDCWD, place, 0);
        ways.must_fail_with(&format!("fspick {shown}"), picked, &REFUSED);
        let moved = call!(libc::SYS_move_mount, libc::AT_FDCWD, place, libc::AT_FDCWD, c"/tmp", 0);
        ways.must_fail_with(&format!("move_mount {shown}"), moved, &REFUSED);
        let changed =
            call!(libc::SYS_mount_setattr, libc::AT_FDCWD, place, 0, attributes.as_slice(), attributes.len());
        ways.must_fail_with(&format!("mount_setattr {shown}"), changed, &REFUSED);
    }
    ways.verdict()
}

fn flags(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (place, options) in mounts() {
        let place = place.to_string_lossy();
        let has = |option: &str| options.split(',').any(|word| word == option);
        ways.must_be(has("nosuid"), &format!("{place} without nosuid"), "nosuid");
        // A device, the folder of terminals, or /dev/null over a file of /proc.
        let device = ["/dev/", "/proc/k"].iter().any(|start| place.starts_with(start));
        ways.must_be(has("nodev") || device, &format!("{place} without nodev"), "nodev");
    }
    ways.verdict()
}
