//! Ways back to the host's root and files.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::sys::call;
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 7] = [
    Row {
        name: "chroot-dance",
        attempt: "chroot below an open folder, then go up from it",
        expected: "EPERM",
        run: chroot_dance,
    },
    Row {
        name: "saved-root",
        attempt: "keep / open, go up from it in all ways",
        expected: "the top stays the top",
        run: saved_root,
    },
    Row {
        name: "pivot-root",
        attempt: "pivot_root to a folder, and to the root itself",
        expected: "EPERM",
        run: pivot_root,
    },
    Row {
        name: "file-handle",
        attempt: "open the host's inodes by made-up file handles",
        expected: "refused",
        run: file_handle,
    },
    Row {
        name: "host-file",
        attempt: "read a secret of the host by its path, through /proc and from below",
        expected: "not there",
        run: host_file,
    },
    Row {
        name: "host-write",
        attempt: "write to files of the host: keys, hooks, other apps",
        expected: "not there, or read-only",
        run: host_write,
    },
    Row {
        name: "launcher-exe",
        attempt: "overwrite the launcher through /proc/1/exe and /proc/self/exe",
        expected: "refused",
        run: launcher,
    },
];

/// Converts a path to a C string.
fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// Returns the device and the inode of a path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn chroot_dance(_: &Facts) -> Verdict {
    let folder = Path::new("/tmp/piku-attack-dance");
    let _ = fs::create_dir(folder);
    let mut ways = Ways::default();
    for place in [folder, Path::new("/"), Path::new("/tmp"), Path::new("/proc/1/root")] {
        ways.must_fail_with(
            &format!("chroot {}", place.display()),
            call!(libc::SYS_chroot, c(place).as_c_str()),
            &[libc::EPERM, libc::ENOSYS, libc::EACCES, libc::ENOENT],
        );
    }
    let _ = fs::remove_dir(folder);
    ways.verdict()
}

fn saved_root(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let top = identity(Path::new("/"));
    let Ok(saved) = fs::File::open("/") else { return Verdict::Untried("cannot open /".to_owned()) };
    let fd = std::os::fd::AsRawFd::as_raw_fd(&saved);
    let up = "../".repeat(64);
    for start in ["/", "/tmp", "/proc/self", "/usr", "/dev"] {
        let _ = call!(libc::SYS_chdir, c(Path::new(start)).as_c_str());
        if start == "/tmp" {
            ways.must_be(call!(libc::SYS_fchdir, fd).is_ok(), "fchdir to /", "the saved root is the jail's");
        }
        ways.must_be(
            identity(Path::new(&up)) == top,
            &format!("../.. from {start}"),
            "the top stays the top",
        );
        for secret in facts.all("secret") {
            ways.io(&format!("{secret} above {start}"), fs::read(format!("{up}{secret}")));
        }
    }
    let _ = call!(libc::SYS_chdir, c"/");
    ways.verdict()
}

fn pivot_root(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (new, old) in [(c".", c"."), (c"/tmp", c"/tmp"), (c"/", c"/tmp")] {
        ways.must_fail_with(
            "pivot_root",
            call!(libc::SYS_pivot_root, new, old),
            &[libc::EPERM, libc::ENOSYS],
        );
    }
    ways.verdict()
}

fn file_handle(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for place in [c"/", c"/tmp", c"/usr", c"/etc/hosts", c"/app", c"/data"] {
        let Ok(fd) = call!(libc::SYS_openat, libc::AT_FDCWD, place, libc::O_RDONLY | libc::O_CLOEXEC) else {
            continue;
        };
        for (kind, inode) in [(1_u32, 2_u32), (2, 2), (1, 128), (1, 5)] {
            // struct file_handle: the length of what follows, its kind, and here the number and generation of an inode.
            let words = [8, kind, inode, 0].map(u32::to_ne_bytes).concat();
            let answer = call!(libc::SYS_open_by_handle_at, fd, words.as_slice(), libc::O_RDONLY);
            let refusals = [libc::EPERM, libc::ENOSYS];
            ways.must_fail_with(
                &format!("inode {inode} beside {}", place.to_string_lossy()),
                answer,
                &refusals,
            );
        }
        let _ = call!(libc::SYS_close, fd);
    }
    ways.verdict()
}

/// Returns spellings of a host's path that might lead out of the jail.
fn spellings(path: &str) -> Vec<String> {
    let mut spellings = vec![
        path.to_owned(),
        format!("/app/../..{path}"),
        format!("/tmp/../../../../../../../..{path}"),
        format!("/dev/fd/../../..{path}"),
    ];
    let own = std::process::id().to_string();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().into_string().ok());
    for pid in pids.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).chain(["self".to_owned(), own]) {
        spellings.push(format!("/proc/{pid}/root{path}"));
        spellings.push(format!("/proc/{pid}/cwd{path}"));
        spellings.push(format!("/proc/{pid}/cwd/../../../../../../../..{path}"));
        spellings.extend((0..10).map(|fd| format!("/proc/{pid}/fd/{fd}/../../../../../../../..{path}")));
    }
    spellings
}

fn host_file(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for spelling in facts.all("secret").flat_map(spellings) {
        ways.io(&spelling, fs::File::open(&spelling));
    }
    if facts.get("secret").is_none() { not_told("secret") } else { ways.verdict() }
}

fn host_write(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for spelling in facts.all("write").chain(facts.all("secret")).flat_map(spellings) {
        ways.io(&spelling, fs::OpenOptions::new().append(true).open(&spelling));
        let beside = Path::new(&spelling).with_file_name("piku-attack-new");
        ways.io(&beside.display().to_string(), fs::File::create_new(&beside));
        ways.io(&format!("unlink {spelling}"), fs::remove_file(&spelling));
    }
    if facts.get("write").or(facts.get("secret")).is_none() { not_told("write") } else { ways.verdict() }
}

fn launcher(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = pids.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    for pid in pids.chain(["self".to_owned(), std::os::unix::process::parent_id().to_string()]) {
        let exe = format!("/proc/{pid}/exe");
        // Not truncated: where it can be opened it must not be spoilt as well.
        ways.io(&exe, fs::OpenOptions::new().write(true).open(&exe));
        let running = format!("/proc/{pid}/map_files");
        for part in fs::read_dir(&running).into_iter().flatten().flatten() {
            let part = part.path();
            ways.io(&part.display().to_string(), fs::OpenOptions::new().write(true).open(&part));
        }
    }
    ways.verdict()
}
