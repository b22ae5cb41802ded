//! Process 1 of the jail, which belongs to the launcher and knows what the caller gave it.

use std::fs;
use std::io::Read;

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::{self, call};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 3] = [
    Row {
        name: "pid1-files",
        attempt: "read environ, mem, maps, fd, root, cwd, exe and ns of process 1",
        expected: "refused",
        run: files,
    },
    Row {
        name: "pid1-trace",
        attempt: "ptrace process 1, read and write its memory, take its descriptors",
        expected: "refused",
        run: trace,
    },
    Row {
        name: "pid1-signals",
        attempt: "kill, stop and crash process 1",
        expected: "it runs on",
        run: signals,
    },
];

fn files(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for name in
        ["environ", "mem", "maps", "smaps", "auxv", "stack", "syscall", "pagemap", "io", "personality"]
    {
        let path = format!("/proc/1/{name}");
        // Some can be opened by anybody, and are empty for those whom they do not concern.
        // Some have no end.
        let mut first = [0; 8];
        match fs::File::open(&path).and_then(|mut file| file.read(&mut first)) {
            Ok(count) => ways.must_be(count == 0, &path, "empty"),
            Err(err) => ways.io(&path, Err::<(), _>(err)),
        }
    }
    let links = ["exe", "cwd", "root"].map(str::to_owned).into_iter();
    let descriptors = (0..16).map(|fd| format!("fd/{fd}"));
    let namespaces = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map(|name| format!("ns/{name}"));
    for name in links.chain(descriptors).chain(namespaces) {
        let path = format!("/proc/1/{name}");
        ways.io(&path, fs::read_link(&path));
        ways.io(&path, fs::File::open(&path));
    }
    ways.verdict()
}

fn trace(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (what, answer) in attempts(1, 0x1000) {
        ways.must_fail(what, answer);
    }
    ways.verdict()
}

/// Returns the result of each way to look into another process, or to take something from it.
pub(in crate::rows) fn attempts(pid: i32, address: usize) -> Vec<(&'static str, Result<usize, sys::Errno>)> {
    let mut here = [0_u8; 16];
    let local = [here.as_mut_ptr().expose_provenance(), here.len()].map(usize::to_ne_bytes).concat();
    let remote = [address, here.len()].map(usize::to_ne_bytes).concat();
    let mut answers = vec![
        ("PTRACE_SEIZE", call!(libc::SYS_ptrace, libc::PTRACE_SEIZE, pid, 0, 0)),
        ("PTRACE_ATTACH", call!(libc::SYS_ptrace, libc::PTRACE_ATTACH, pid, 0, 0)),
        (
            "process_vm_readv",
            call!(libc::SYS_process_vm_readv, pid, local.as_slice(), 1, remote.as_slice(), 1, 0),
        ),
        (
            "process_vm_writev",
            call!(libc::SYS_process_vm_writev, pid, local.as_slice(), 1, remote.as_slice(), 1, 0),
        ),
        ("kcmp", call!(libc::SYS_kcmp, pid, std::process::id(), 0, 0, 0)),
    ];
    if let Ok(pidfd) = call!(libc::SYS_pidfd_open, pid, 0) {
        let taken = (0..16).map(|fd| call!(libc::SYS_pidfd_getfd, pidfd, fd, 0));
        let first = taken.reduce(Result::or).unwrap_or(Err(libc::ENOSYS));
        answers.push(("pidfd_getfd", first));
        drop(sys::own(pidfd));
    }
    answers
}

fn signals(_: &Facts) -> Verdict {
    for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGABRT, libc::SIGTSTP] {
        let _ = sys::kill(1, signal);
        if let Ok(pidfd) = call!(libc::SYS_pidfd_open, 1, 0) {
            let _ = call!(libc::SYS_pidfd_send_signal, pidfd, signal, 0, 0);
            drop(sys::own(pidfd));
        }
    }
    let stat = fs::read_to_string("/proc/1/stat").unwrap_or_default();
    match stat.rsplit(") ").next().and_then(|rest| rest.chars().next()) {
        Some(state @ ('S' | 'R' | 'D')) => Verdict::Held(format!("it runs on ({state})")),
        state => Verdict::Broken(format!("process 1 is in state {state:?}")),
    }
}
