//! `cancel APP`: ends the build that is under way. Who belongs to it is asked of the kernel: the app's lock is inherited by
//! all that a push has started, and by nobody else.

#![expect(clippy::disallowed_methods, reason = "locks, and what the kernel says of their holders in /proc")]

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
use piku_layout::paths::AppDir;
use piku_procfs::ProcessStat;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::deploy::lock::{self, LockNote};

/// What can be ended: the tools of the stages before anything of the new release is started.
const ENDED: [&str; 2] = ["piku-build", "piku-receive export"];
/// What has the new release in its hands.
const TOO_LATE: &str = "piku-run";

/// The time that a build may take to end when it is told to: it gives its step five seconds.
const GRACE: Duration = Duration::from_secs(8);
/// The time that the kernel may take to end what was killed.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Ends it, and waits until it is gone; what it had made is removed by the push itself, which fails.
///
/// # Errors
/// When there is no build, or not even SIGKILL ends it.
pub(crate) fn run(app: &AppName, dir: &AppDir, by: &str) -> anyhow::Result<()> {
    let under_way = programs(&dir.lock());
    let mut build = Vec::new();
    for (pid, program) in &under_way {
        if ENDED.contains(&program.as_str()) {
            build.extend(BuildProcess::open(*pid, program));
        }
    }
    if build.is_empty() {
        if under_way.iter().any(|(_, program)| program == TOO_LATE) {
            let what = format!("{app} is built, its new release is being started");
            return Err(UserError::new(what)
                .hint(format!("to go back afterwards: piku rollback {app}"))
                .into());
        }
        return Err(UserError::new(format!("nothing of {app} is being built")).into());
    }
    lock::note(dir, &LockNote::Cancelled(by.to_owned())).context("cannot leave word of it")?;
    for one in &build {
        one.send(Signal::TERM);
    }
    if wait_until_gone(&mut build, GRACE)? {
        progress::step(&format!("The build of {app} is cancelled"));
        return Ok(());
    }
    // Looked up before: what it has started is a child of somebody else once it has ended.
    let mut all = descendants(&build);
    all.append(&mut build);
    for one in &all {
        one.send(Signal::KILL);
    }
    if wait_until_gone(&mut all, AFTER_KILL)? {
        progress::step(&format!("The build of {app} did not end when it was told to: it was killed"));
        return Ok(());
    }
    let left: Vec<String> = all.iter().map(|one| one.pid.as_raw_nonzero().to_string()).collect();
    let what = format!("the build of {app} does not end, not even by SIGKILL: process {}", left.join(", "));
    Err(UserError::new(what)
        .hint("the kernel holds it, as it does where a disk does not answer")
        .code(BUSY)
        .into())
}

/// A process that belongs to a build, and nobody else, whatever becomes of its pid.
#[derive(Debug)]
struct BuildProcess {
    pid: Pid,
    pidfd: OwnedFd,
}

impl BuildProcess {
    /// Opens a process; nothing when it has ended, and its pid may be another one's.
    fn open(pid: Pid, program: &str) -> Option<Self> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let is_same = program_of(pid)? == program;
        is_same.then_some(Self { pid, pidfd })
    }

    fn send(&self, signal: Signal) {
        // One that has ended by itself meanwhile needs no end.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }
}

/// Waits until all have ended and returns whether they have; those that have not stay in the list.
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

/// Kills a child that has not been waited for, and all that it has started.
pub(crate) fn kill_with_descendants(child: Pid) {
    let Ok(pidfd) = pidfd_open(child, PidfdFlags::empty()) else { return };
    let mut all = vec![BuildProcess { pid: child, pidfd }];
    // Looked up before: they are children of somebody else once it has ended.
    all.append(&mut descendants(&all));
    for one in &all {
        one.send(Signal::KILL);
    }
}

/// Returns all descendants of these processes.
fn descendants(of: &[BuildProcess]) -> Vec<BuildProcess> {
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
            // Still a child of the same process: its pid has not been used again.
            if ProcessStat::read(child).is_some_and(|stat| stat.parent == parent) {
                found.push(BuildProcess { pid, pidfd });
            }
        }
    }
    found
}

/// The processes that have this file open, each with its program, and its subcommand where that tells it from others.
fn programs(lock: &Path) -> Vec<(Pid, String)> {
    let Ok(meta) = fs::metadata(lock) else { return Vec::new() };
    let mut found = Vec::new();
    for pid in piku_procfs::pids().into_iter().filter_map(Pid::from_raw) {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let has = descriptors.flatten().any(|fd| {
            fs::metadata(fd.path()).is_ok_and(|open| (open.dev(), open.ino()) == (meta.dev(), meta.ino()))
        });
        if has {
            found.extend(program_of(pid).map(|program| (pid, program)));
        }
    }
    found
}

fn program_of(pid: Pid) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let first = words.next()?;
    let name = first.rsplit('/').next().unwrap_or_default().to_owned();
    let second = words.next().unwrap_or_default();
    Some(if name == "piku-receive" { format!("{name} {second}") } else { name })
}
