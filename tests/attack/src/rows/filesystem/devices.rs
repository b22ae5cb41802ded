//! Devices.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::call;
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 2] = [
    Row {
        name: "make-device",
        attempt: "mknod of null, of a disk, of the memory and of 0:0",
        expected: "EPERM",
        run: make,
    },
    Row {
        name: "host-devices",
        attempt: "look for disks, memory, fuse, kvm, tun, input and whatever else is no harmless device",
        expected: "not there",
        run: find,
    },
];

fn make(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for folder in ["/tmp", "/dev", "/dev/shm", "/data"] {
        for (kind, major, minor) in [
            (libc::S_IFCHR, 0, 0),
            (libc::S_IFCHR, 1, 3),
            (libc::S_IFBLK, 8, 0),
            (libc::S_IFCHR, 1, 1),
            (libc::S_IFCHR, 10, 229),
        ] {
            let path = format!("{folder}/piku-attack-device\0");
            let device = libc::makedev(major, minor);
            let answer = call!(libc::SYS_mknodat, libc::AT_FDCWD, path.as_bytes(), kind | 0o666, device);
            ways.must_fail(&format!("mknod {major}:{minor} in {folder}"), answer);
        }
    }
    ways.verdict()
}

/// null, zero, full, random, urandom, tty, ptmx; terminals have major 136.
const HARMLESS: [(u32, u32); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];

fn find(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let names = [
        "vda",
        "vda1",
        "sda",
        "sda1",
        "nvme0n1",
        "mmcblk0",
        "mem",
        "kmem",
        "port",
        "kmsg",
        "fuse",
        "kvm",
        "net/tun",
        "loop-control",
        "loop0",
        "mapper/control",
        "uinput",
        "input/event0",
        "dri/card0",
        "snd/timer",
        "vhost-net",
        "vhost-vsock",
        "vsock",
        "hwrng",
        "ttyS0",
        "tty0",
        "tty1",
        "console",
        "mqueue",
        "hugepages",
        "gpiomem",
    ];
    for name in names {
        let path = format!("/dev/{name}");
        ways.io(&path, fs::symlink_metadata(&path));
    }
    let mut folders = vec![PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            let kind = meta.file_type();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_char_device() || kind.is_block_device() {
                let number = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
                let harmless = kind.is_char_device() && (HARMLESS.contains(&number) || number.0 == 136);
                ways.must_be(harmless, &entry.path().display().to_string(), "harmless ones only");
            }
        }
    }
    ways.verdict()
}
