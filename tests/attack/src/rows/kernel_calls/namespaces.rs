//! New namespaces, in which an attacker would have all capabilities again, and the namespaces of others.

use std::fs;
use std::os::fd::AsRawFd;

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::{self, call};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 4] = [
    Row {
        name: "unshare",
        attempt: "unshare each namespace, alone and with a user namespace",
        expected: "EPERM",
        run: unshare,
    },
    Row {
        name: "clone",
        attempt: "clone into each namespace, alone and with a user namespace",
        expected: "EPERM",
        run: clone,
    },
    Row {
        name: "clone3",
        attempt: "the same by clone3",
        expected: "ENOSYS, so that libc falls back",
        run: clone3,
    },
    Row {
        name: "setns",
        attempt: "enter the namespaces of others, and the own ones again",
        expected: "EPERM",
        run: setns,
    },
];

/// `CLONE_NEWTIME` is newer than some C libraries.
const TIME: i32 = 0x80;
/// The kernel's no, or the filter's. A limit of no more user namespaces (ENOSPC) is one as well.
const REFUSED: [i32; 3] = [libc::EPERM, libc::ENOSYS, libc::ENOSPC];

const NAMESPACES: [(&str, i32); 7] = [
    ("user", libc::CLONE_NEWUSER),
    ("mount", libc::CLONE_NEWNS),
    ("process", libc::CLONE_NEWPID),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("network", libc::CLONE_NEWNET),
];

fn unshare(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (name, flag) in NAMESPACES.into_iter().chain([("time", TIME)]) {
        for flags in [flag, flag | libc::CLONE_NEWUSER] {
            // In a child: what gets through must not help the next.
            let answer = sys::child(|| match call!(libc::SYS_unshare, flags) {
                Ok(_) => 0,
                Err(errno) => u8::try_from(errno).unwrap_or(u8::MAX),
            });
            let answer = match answer {
                Ok(sys::Ended::Code(0)) => Ok(()),
                Ok(sys::Ended::Code(errno)) => Err(i32::from(errno)),
                Ok(sys::Ended::Signal(_)) => Err(libc::EPERM),
                Err(errno) => Err(errno),
            };
            ways.must_fail_with(&format!("unshare {name} ({flags:#x})"), answer, &REFUSED);
        }
    }
    ways.verdict()
}

fn clone(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (name, flag) in NAMESPACES {
        for flags in [flag, flag | libc::CLONE_NEWUSER] {
            let answer = sys::clone(flags).map(|pid| {
                let _ = sys::Child(pid).wait();
            });
            ways.must_fail_with(&format!("clone {name} ({flags:#x})"), answer, &REFUSED);
        }
    }
    ways.verdict()
}

fn clone3(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (name, flag) in NAMESPACES.into_iter().chain([("time", TIME)]) {
        for flags in [flag, flag | libc::CLONE_NEWUSER] {
            let answer = sys::clone3(flags).map(|pid| {
                let _ = sys::Child(pid).wait();
            });
            ways.must_fail_with(&format!("clone3 {name} ({flags:#x})"), answer, &REFUSED);
        }
    }
    ways.verdict()
}

fn setns(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let told = facts.all("pid").chain(facts.all("parent"));
    for process in ["self", "1"].into_iter().chain(told) {
        for name in ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net", "time"] {
            let path = format!("/proc/{process}/ns/{name}");
            match fs::File::open(&path) {
                Ok(file) => {
                    // The own user namespace may be told to be that (EINVAL).
                    ways.must_fail(&path, call!(libc::SYS_setns, file.as_raw_fd(), 0));
                }
                Err(err) => ways.io(&path, Err::<(), _>(err)),
            }
        }
    }
    ways.verdict()
}
