//! `cancel APP`: ends the running build. Its processes are those that have the app's lock open: everything
//! that a push starts inherits it.

#![expect(clippy::disallowed_methods, reason = "locks, and their holders in /proc")]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::unknown_app;
use piku_procfs::ProcessStat;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::deploy::lock::{self, LockNote};

/// Programs that may be ended: the stages before the new release is started.
const ENDED: [&str; 2] = ["piku-build", "piku-receive export"];
/// Program that starts the new release.
const TOO_LATE: &str = "piku-run";

/// Time for a build to end after SIGTERM; it gives its step five seconds.
const GRACE: Duration = Duration::from_secs(8);
/// Time for the kernel to end the processes after SIGKILL.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Ends the build and waits for it. The push removes its files and fails.
///
/// # Errors
/// Fails if no build is running, or if it survives SIGKILL.
pub(crate) fn cancel_build(root: &PikuRoot, app: &AppName, by: &str) -> anyhow::Result<()> {
    let dir = &root.app(app);
    if !dir.is_there() {
        return Err(unknown_app(root, app).into());
    }
    let under_way = find_lock_holders(&dir.lock());
    let mut build = Vec::new();
    for (pid, program) in &under_way {
        if ENDED.contains(&program.as_str()) {
            build.extend(BuildProcess::open(*pid, program));
        }
    }
    if build.is_empty() {
        if under_way.iter().any(|(_, program)| program == TOO_LATE) {
            let what = format!("{app} is built, and its new release is starting");
            return Err(UserError::new(what)
                .hint(format!("to return to the previous release afterwards: piku rollback {app}"))
                .into());
        }
        return Err(UserError::new(format!("{app} is not being built")).into());
    }
    lock::append_note(dir, &LockNote::Cancelled(by.to_owned())).context("cannot write to the lock file")?;
    for one in &build {
        one.send_signal(Signal::TERM);
    }
    if wait_until_gone(&mut build, GRACE)? {
        progress::step(&format!("The build of {app} is cancelled"));
        return Ok(());
    }
    // Looked up first: orphans get another parent.
    let mut all = find_descendants(&build);
    all.append(&mut build);
    for one in &all {
        one.send_signal(Signal::KILL);
    }
    if wait_until_gone(&mut all, AFTER_KILL)? {
        progress::step(&format!("The build of {app} ignored SIGTERM and was killed"));
        return Ok(());
    }
    let left: Vec<String> = all.iter().map(|one| one.pid.as_raw_nonzero().to_string()).collect();
    let what = format!("the build of {app} survives SIGKILL: process {}", left.join(", "));
    Err(UserError::new(what)
        .hint("it waits in the kernel, for example for a disk that does not respond")
        .code(BUSY)
        .into())
}

/// A process of a build, held by a descriptor that stays valid when the pid is reused.
#[derive(Debug)]
struct BuildProcess {
    pid: Pid,
    pidfd: OwnedFd,
}

impl BuildProcess {
    /// Opens a process; returns `None` if it has ended or its pid now belongs to another program.
    fn open(pid: Pid, program: &str) -> Option<Self> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let is_same = read_program_name(pid)? == program;
        is_same.then_some(Self { pid, pidfd })
    }

    fn send_signal(&self, signal: Signal) {
        // A process that has already ended needs no signal.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }
}

/// Waits until all have ended and returns whether they have; the others stay in the list.
fn wait_until_gone(build: &mut Vec<BuildProcess>, time: Duration) -> anyhow::Result<bool> {
    let end = Instant::now() + time;
    while !build.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        let mut watched: Vec<PollFd<'_>> =
            build.iter().map(|one| PollFd::new(one.pidfd.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut watched, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if end <= Instant::now() => return Ok(false),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(anyhow::Error::from(errno).context("cannot wait for the build")),
        }
        let gone: Vec<bool> = watched.iter().map(|one| one.any().unwrap_or(true)).collect();
        let mut gone = gone.into_iter();
        build.retain(|_| !gone.next().unwrap_or(false));
    }
    Ok(true)
}

/// Kills a child of this process, which has not been waited for, and all its descendants.
pub(crate) fn kill_with_descendants(child: Pid) {
    let Ok(pidfd) = pidfd_open(child, PidfdFlags::empty()) else { return };
    let mut all = vec![BuildProcess { pid: child, pidfd }];
    // Looked up first: orphans get another parent.
    all.append(&mut find_descendants(&all));
    for one in &all {
        one.send_signal(Signal::KILL);
    }
}

/// Returns all descendants of these processes.
fn find_descendants(of: &[BuildProcess]) -> Vec<BuildProcess> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, stat) in piku_procfs::processes() {
        children.entry(stat.parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut parents: Vec<i32> = of.iter().map(|one| one.pid.as_raw_nonzero().get()).collect();
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            parents.push(child);
            let Some(pid) = Pid::from_raw(child) else { continue };
            let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            // The pid may have been reused: the parent must be the same.
            if ProcessStat::read(child).is_some_and(|stat| stat.parent == parent) {
                found.push(BuildProcess { pid, pidfd });
            }
        }
    }
    found
}

/// Finds the processes that have this file open, with their programs. For piku-receive the subcommand is
/// added.
fn find_lock_holders(lock: &Path) -> Vec<(Pid, String)> {
    let Ok(meta) = fs::metadata(lock) else { return Vec::new() };
    let mut found = Vec::new();
    for pid in piku_procfs::pids().into_iter().filter_map(Pid::from_raw) {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let has = descriptors.flatten().any(|fd| {
            fs::metadata(fd.path()).is_ok_and(|open| (open.dev(), open.ino()) == (meta.dev(), meta.ino()))
        });
        if has {
            found.extend(read_program_name(pid).map(|program| (pid, program)));
        }
    }
    found
}

fn read_program_name(pid: Pid) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let first = words.next()?;
    let name = first.rsplit('/').next().unwrap_or_default().to_owned();
    let second = words.next().unwrap_or_default();
    Some(if name == "piku-receive" { format!("{name} {second}") } else { name })
}
