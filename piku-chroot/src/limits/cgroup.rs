//! A cgroup for one jail: made before its first process, killed and removed after its last.
//!
//! A lock on its folder says that somebody still looks after it. A monitor that was killed cannot remove its own; the next
//! start does, for every one whose lock nobody holds and in which nobody is left.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::libc::EBUSY;
use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::{FlockOperation, flock};

use crate::limits::{CgroupController, JailLimits};

/// What the names of jails' cgroups begin with.
const PREFIX: &str = "jail.";
/// The period over which processor time is counted, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

/// A jail's own.
#[derive(Debug)]
pub(crate) struct JailCgroup {
    path: PathBuf,
    /// Locked for as long as this process, or the jail's first one, lives.
    dir: OwnedFd,
}

/// What was seen of a jail when it was over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CgroupEnd {
    /// The most memory that it ever used, as a whole, in bytes.
    pub(crate) peak: Option<u64>,
    /// How many of its processes were killed because its memory was used up.
    pub(crate) oom_kills: u64,
}

impl JailCgroup {
    /// A new one below `root`, whose controllers are on, with these limits.
    pub(crate) fn make(root: &Path, limits: &JailLimits, controllers: &[CgroupController]) -> Result<Self> {
        remove_abandoned(root);
        let cgroup =
            Self::begin(root).with_context(|| format!("cannot make a cgroup in '{}'", root.display()))?;
        match cgroup.limit(limits, controllers) {
            Ok(()) => Ok(cgroup),
            Err(err) => {
                cgroup.end();
                Err(err)
            }
        }
    }

    /// A name that nobody has, and its lock.
    fn begin(root: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        // Another jail may have this number in a process namespace of its own.
        for attempt in 0..100 {
            let path = root.join(format!("{PREFIX}{pid}.{attempt}"));
            match fs::create_dir(&path) {
                Err(err) if err.kind() == ErrorKind::AlreadyExists => continue,
                result => result?,
            }
            let dir = match File::open(&path) {
                Err(err) if err.kind() == ErrorKind::NotFound => continue,
                result => result?,
            };
            flock(&dir, FlockOperation::LockExclusive)?;
            // Before it was locked it looked abandoned to everybody else.
            if fs::metadata(&path).is_ok_and(|found| dir.metadata().is_ok_and(|own| own.ino() == found.ino()))
            {
                return Ok(Self { path, dir: dir.into() });
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn limit(&self, limits: &JailLimits, controllers: &[CgroupController]) -> Result<()> {
        // Below one with processes of its own the kernel makes cgroups that nobody can enter.
        let kind = fs::read_to_string(self.path.join("cgroup.type")).unwrap_or_default();
        ensure!(kind.trim() == "domain", "the cgroup above has processes of its own");
        let has = |controller| controllers.contains(&controller);
        if let Some(memory) = limits.memory.filter(|_| has(CgroupController::Memory)) {
            self.write("memory.max", &memory.bytes().to_string())?;
            // What does not fit does not go to the disk instead. Kernels without swap have no such file.
            if self.path.join("memory.swap.max").exists() {
                self.write("memory.swap.max", "0")?;
            }
            // All or nothing: half a jail is no use to anybody.
            self.write("memory.oom.group", "1")?;
        }
        if let Some(pids) = limits.pids.filter(|_| has(CgroupController::Pids)) {
            // The stub is one of them.
            self.write("pids.max", &(pids.0 + 1).to_string())?;
        }
        if let Some(cpu) = limits.cpu.filter(|_| has(CgroupController::Cpu)) {
            self.write("cpu.max", &format!("{} {PERIOD}", cpu.0 * PERIOD / 100))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write '{text}' to '{}'", path.display()))
    }

    /// Moves this process into it.
    pub(crate) fn join(&self) -> Result<()> {
        self.write("cgroup.procs", "0")
    }

    /// Kills what may be left, reads what there is to be told, and removes it.
    pub(crate) fn end(self) -> CgroupEnd {
        // Since Linux 5.14. The jail's process namespace has seen to the same.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        let read = |name: &str| fs::read_to_string(self.path.join(name)).unwrap_or_default();
        let events = read("memory.events");
        let oom_kills =
            events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0);
        let end = CgroupEnd { peak: read("memory.peak").trim().parse().ok(), oom_kills };
        // The last one out may still be on its way. One that stays longer is left to the next start.
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                Err(err) if err.raw_os_error() == Some(EBUSY) => sleep(Duration::from_millis(1)),
                _ => break,
            }
        }
        end
    }
}

impl AsFd for JailCgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Removes the empty ones that a monitor which was killed has left.
fn remove_abandoned(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(OsStr::new(PREFIX).as_encoded_bytes()) {
            // One that is in use, or was removed by its owner meanwhile.
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(path: &Path) -> Result<()> {
    let dir = File::open(path)?;
    if flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("somebody looks after it");
    }
    Ok(fs::remove_dir(path)?)
}

/// The most memory that a process of the jail ever used, in bytes: what is known where no cgroup has counted.
pub(crate) fn largest_process() -> u64 {
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    u64::try_from(kilobytes).unwrap_or(0) * 1024
}
