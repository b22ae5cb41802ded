//! Files that configure the kernel, or show its memory.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::facts::Facts;
use crate::row::Row;
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 5] = [
    Row {
        name: "proc-sys",
        attempt: "open each file below /proc/sys for writing",
        expected: "refused",
        run: proc_sys,
    },
    Row {
        name: "proc-writes",
        attempt: "open sysrq-trigger, core_pattern and all else in /proc for writing",
        expected: "refused",
        run: proc_writes,
    },
    Row {
        name: "kernel-memory",
        attempt: "read /proc/kcore, /proc/kmsg, /dev/mem, /dev/kmem, /dev/port",
        expected: "refused, or not there",
        run: memory,
    },
    Row {
        name: "kernel-facts",
        attempt: "read the kernel's settings, symbols, memory map, interrupts and hardware in /proc",
        expected: "empty, or not there",
        run: facts_of_the_kernel,
    },
    Row {
        name: "sysfs",
        attempt: "look for /sys, cgroup files and debugfs",
        expected: "not there",
        run: sysfs,
    },
];

/// Opens a file for writing, without blocking and without writing.
fn write(path: &Path) -> std::io::Result<fs::File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Returns all plain files below a directory; a file that is covered by a device counts as gone.
fn files(folder: &Path, skip: fn(&str) -> bool) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // Asked of the place itself: what a folder says of its entries does not know what is mounted on them.
            let Ok(kind) = entry.path().symlink_metadata().map(|meta| meta.file_type()) else { continue };
            if skip(&entry.file_name().to_string_lossy()) || !(kind.is_dir() || kind.is_file()) {
                continue;
            }
            if kind.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files
}

fn proc_sys(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for path in files(Path::new("/proc/sys"), |_| false) {
        ways.io(&path.display().to_string(), write(&path));
    }
    ways.verdict()
}

fn proc_writes(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let told = ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe"]
        .map(PathBuf::from);
    // Those of the processes are their own; and who writes to pressure sets up no more than its own descriptor.
    let skip = |name: &str| ["sys", "pressure"].contains(&name) || name.bytes().all(|b| b.is_ascii_digit());
    for path in files(Path::new("/proc"), skip).into_iter().chain(told) {
        ways.io(&path.display().to_string(), write(&path));
    }
    ways.verdict()
}

fn memory(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for path in [
        "/proc/kcore",
        "/proc/kmsg",
        "/proc/kpageflags",
        "/proc/kpagecount",
        "/dev/mem",
        "/dev/kmem",
        "/dev/port",
        "/dev/kmsg",
    ] {
        let mut first = [0];
        match fs::File::open(path).and_then(|mut file| file.read(&mut first)) {
            Ok(count) => ways.must_be(count == 0, path, "empty"),
            Err(err) => ways.io(path, Err::<(), _>(err)),
        }
    }
    ways.verdict()
}

fn facts_of_the_kernel(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for name in [
        "config.gz",
        "iomem",
        "ioports",
        "interrupts",
        "softirqs",
        "kallsyms",
        "kcore",
        "kmsg",
        "keys",
        "key-users",
        "latency_stats",
        "modules",
        "pagetypeinfo",
        "sched_debug",
        "slabinfo",
        "timer_list",
        "timer_stats",
        "vmallocinfo",
    ] {
        let path = format!("/proc/{name}");
        let mut first = [0];
        match fs::File::open(&path).and_then(|mut file| file.read(&mut first)) {
            Ok(count) => ways.must_be(count == 0, &path, "empty"),
            Err(err) => ways.io(&path, Err::<(), _>(err)),
        }
    }
    for name in ["acpi", "asound", "bus", "bus/pci/devices", "driver", "dynamic_debug", "fs", "irq", "scsi"] {
        let path = format!("/proc/{name}");
        match fs::read_dir(&path) {
            Ok(mut entries) => ways.must_be(entries.next().is_none(), &path, "empty"),
            Err(err) => ways.io(&path, Err::<(), _>(err)),
        }
    }
    ways.verdict()
}

fn sysfs(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for path in [
        "/sys/kernel",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/kernel/debug",
        "/sys/class",
        "/proc/config.gz/..",
    ] {
        ways.io(path, fs::metadata(path));
    }
    // A file system that the kernel knows under its own name wherever it is mounted.
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for kind in [
        "sysfs",
        "cgroup",
        "cgroup2",
        "debugfs",
        "tracefs",
        "securityfs",
        "bpf",
        "configfs",
        "devtmpfs",
        "fusectl",
    ] {
        let there = table.lines().any(|line| {
            // The fourth word is what of it is mounted: a single device is none of this.
            let whole = line.split(' ').nth(3) == Some("/") || kind != "devtmpfs";
            let (_, rest) = line.split_once(" - ").unwrap_or_default();
            whole && rest.split(' ').next() == Some(kind)
        });
        ways.must_be(!there, &format!("a {kind} is mounted"), "not mounted");
    }
    ways.verdict()
}
