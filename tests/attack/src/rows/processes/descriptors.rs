//! Descriptors that the caller left open.

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::call;
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 2] = [
    Row {
        name: "descriptors",
        attempt: "find a descriptor that the caller left open",
        expected: "exactly 0, 1 and 2",
        run: descriptors,
    },
    Row {
        name: "descriptor-folder",
        attempt: "go to a host folder through a descriptor",
        expected: "no descriptor is a folder",
        run: folders,
    },
];

/// Higher than any limit on descriptors that a test sets.
const HIGHEST: i32 = 70_000;

fn open() -> impl Iterator<Item = i32> {
    (0..HIGHEST).filter(|fd| call!(libc::SYS_fcntl, *fd, libc::F_GETFD).is_ok())
}

fn descriptors(_: &Facts) -> Verdict {
    let open: Vec<i32> = open().collect();
    if open == [0, 1, 2] {
        return Verdict::Held("exactly 0, 1 and 2".to_owned());
    }
    let named = open.iter().map(|fd| match std::fs::read_link(format!("/proc/self/fd/{fd}")) {
        Ok(target) => format!("{fd} {}", target.display()),
        Err(_) => fd.to_string(),
    });
    Verdict::Broken(named.collect::<Vec<_>>().join(", "))
}

fn folders(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for fd in open() {
        ways.must_fail(&format!("fchdir({fd})"), call!(libc::SYS_fchdir, fd));
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        ways.must_fail(&format!("openat({fd}, '..')"), call!(libc::SYS_openat, fd, c"..", flags));
    }
    ways.verdict()
}
