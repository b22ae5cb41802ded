//! What holds without a cgroup. Each process alone: a jail of ten may take ten times the memory. It is better than nothing
//! on machines whose kernel or whose unit hands out no more.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, nice, prlimit, setpriority_process, setrlimit};

use crate::limits::{CgroupController, JailLimits, MemoryAmount};

/// How much a command steps back where its processor time cannot be limited.
const NICE: i32 = 10;

/// What the command gets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandRlimits {
    /// Data and heap in bytes. Not the address space: the JVM, Go and Node reserve far more of that than they use, without
    /// any right to touch it, which `RLIMIT_DATA` does not count and `RLIMIT_AS` would.
    data: Option<u64>,
    /// Processes, counted in the jail's own user namespace (Linux 5.14), and so none of another jail's.
    processes: Option<u64>,
    files: Option<u64>,
    nice: bool,
}

impl CommandRlimits {
    /// For what no cgroup holds.
    pub(crate) fn new(limits: &JailLimits, left: impl Fn(CgroupController) -> bool) -> Self {
        Self {
            data: limits.memory.filter(|_| left(CgroupController::Memory)).map(MemoryAmount::bytes),
            // The stub is counted too.
            processes: limits.pids.filter(|_| left(CgroupController::Pids)).map(|pids| pids.0 + 1),
            files: limits.nofile.map(|files| files.0),
            nice: limits.cpu.is_some() && left(CgroupController::Cpu),
        }
    }

    /// To be called in the command's own process: the stub needs none of them.
    pub(crate) fn set(&self) -> Result<()> {
        lower(Resource::Data, self.data).context("--limit memory")?;
        lower(Resource::Nproc, self.processes).context("--limit pids")?;
        lower(Resource::Nofile, self.files).context("--limit nofile")?;
        if self.nice {
            nice(NICE).map_err(std::io::Error::from).context("--limit cpu: cannot step back")?;
        }
        Ok(())
    }

    /// The same for another process, but for the number of processes: without a user namespace of its own that counts all
    /// of the user's.
    pub(crate) fn set_on(&self, pid: nix::unistd::Pid) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(pid.as_raw()).context("no pid")?;
        for (resource, limit) in [(Resource::Data, self.data), (Resource::Nofile, self.files)] {
            let Some(limit) = limit else { continue };
            let limit = getrlimit(resource).maximum.map_or(limit, |hard| hard.min(limit));
            prlimit(Some(pid), resource, Rlimit { current: Some(limit), maximum: Some(limit) })
                .map_err(std::io::Error::from)?;
        }
        if self.nice {
            setpriority_process(Some(pid), NICE).map_err(std::io::Error::from)?;
        }
        Ok(())
    }
}

/// For good: the hard limit too. One that the caller has set lower already holds as well.
fn lower(resource: Resource, limit: Option<u64>) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    // 64 bits each, also on a machine of 32.
    let limit = getrlimit(resource).maximum.map_or(limit, |hard| hard.min(limit));
    setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
        .map_err(std::io::Error::from)
        .context("cannot set the limits")
}

/// Returns the memory of the machine in bytes. If the kernel does not report it, returns a number that limits nothing.
pub(crate) fn machine_memory() -> u64 {
    piku_procfs::meminfo().and_then(|meminfo| meminfo.bytes("MemTotal")).unwrap_or(u64::MAX / 4096 * 4096)
}
