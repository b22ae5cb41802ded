//! A cgroup for one jail: made before its first process, killed and removed after its last.
//!
//! A lock on its directory shows that it is in use. A monitor that is killed cannot remove its cgroup; the
//! next start removes every cgroup that is neither locked nor has processes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::libc::EBUSY;
use nix::sys::resource::{UsageWho, getrusage};
use piku_files::FileLock;

use crate::limits::{CgroupController, JailLimits};

/// Prefix of the names of jails' cgroups.
const PREFIX: &str = "jail.";
/// Period over which processor time is counted, in microseconds; the kernel's default.
const PERIOD: u64 = 100_000;

#[derive(Debug)]
pub(crate) struct JailCgroup {
    path: PathBuf,
    /// Locked as long as this process or the jail's first one lives.
    dir: FileLock,
}

/// Figures of a jail that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CgroupEnd {
    /// Most memory that the jail used at any time, in bytes.
    pub(crate) peak: Option<u64>,
    /// Number of processes that were killed because the jail reached its memory limit.
    pub(crate) oom_kills: u64,
}

impl JailCgroup {
    /// Makes a cgroup with these limits below `root`, which has the controllers on.
    pub(crate) fn make(root: &Path, limits: &JailLimits, controllers: &[CgroupController]) -> Result<Self> {
        remove_abandoned(root);
        let cgroup = Self::make_locked(root)
            .with_context(|| format!("cannot make a cgroup in '{}'", root.display()))?;
        match cgroup.set_limits(limits, controllers) {
            Ok(()) => Ok(cgroup),
            Err(err) => {
                cgroup.finish();
                Err(err)
            }
        }
    }

    /// Makes a directory with an unused name and locks it.
    fn make_locked(root: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        // A jail in another process namespace may have the same number.
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
            let dir = FileLock::exclusive(dir)?;
            // Until it was locked, other starts could take it for abandoned.
            if fs::metadata(&path).is_ok_and(|found| dir.metadata().is_ok_and(|own| own.ino() == found.ino()))
            {
                return Ok(Self { path, dir });
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn set_limits(&self, limits: &JailLimits, controllers: &[CgroupController]) -> Result<()> {
        // The kernel makes cgroups below one with processes that no process can enter.
        let kind = fs::read_to_string(self.path.join("cgroup.type")).unwrap_or_default();
        ensure!(kind.trim() == "domain", "the cgroup above has processes of its own");
        let has = |controller| controllers.contains(&controller);
        if let Some(memory) = limits.memory.filter(|_| has(CgroupController::Memory)) {
            self.write("memory.max", &memory.bytes().to_string())?;
            // Memory over the limit must not go to the disk. Kernels without swap have no such file.
            if self.path.join("memory.swap.max").exists() {
                self.write("memory.swap.max", "0")?;
            }
            // All or nothing: half a jail is useless.
            self.write("memory.oom.group", "1")?;
        }
        if let Some(pids) = limits.pids.filter(|_| has(CgroupController::Pids)) {
            // The jail's init is one of them.
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

    /// Moves this process into the cgroup.
    pub(crate) fn join(&self) -> Result<()> {
        self.write("cgroup.procs", "0")
    }

    /// Kills the processes that are left, reads the figures and removes the cgroup.
    pub(crate) fn finish(self) -> CgroupEnd {
        // Since Linux 5.14; the end of the process namespace has killed them already.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        let read = |name: &str| fs::read_to_string(self.path.join(name)).unwrap_or_default();
        let events = read("memory.events");
        let oom_kills =
            events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0);
        let finish = CgroupEnd { peak: read("memory.peak").trim().parse().ok(), oom_kills };
        // The last process may still be on its way out. The next start removes a cgroup that stays longer.
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                Err(err) if err.raw_os_error() == Some(EBUSY) => sleep(Duration::from_millis(1)),
                _ => break,
            }
        }
        finish
    }
}

impl AsFd for JailCgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Removes empty cgroups that killed monitors have left.
fn remove_abandoned(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(OsStr::new(PREFIX).as_encoded_bytes()) {
            // Fails for a cgroup in use, and for one that its owner has just removed.
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(path: &Path) -> Result<()> {
    let Some(_lock) = FileLock::try_exclusive(File::open(path)?)? else { bail!("it is in use") };
    Ok(fs::remove_dir(path)?)
}

/// Returns the most memory that any process of the jail used, in bytes: all that is known without a cgroup.
pub(crate) fn largest_process() -> u64 {
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    u64::try_from(kilobytes).unwrap_or(0) * 1024
}
