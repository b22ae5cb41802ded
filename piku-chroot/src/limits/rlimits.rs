//! Limits without a cgroup, for each process alone: a jail of ten processes may use ten times the memory.
//! They are all that some kernels and units allow.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, nice, prlimit, setpriority_process, setrlimit};

use crate::limits::{CgroupController, JailLimits, MemoryAmount};

/// Niceness of a command whose processor time cannot be limited.
const NICE: i32 = 10;

/// Rlimits of a command; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandRlimits {
    /// Data and heap in bytes. Not the address space: the JVM, Go and Node reserve far more than they use,
    /// without the right to touch it. `RLIMIT_DATA` does not count that, `RLIMIT_AS` would.
    data: Option<u64>,
    /// Processes of the jail's own user namespace alone (Linux 5.14).
    processes: Option<u64>,
    files: Option<u64>,
    nice: bool,
}

impl CommandRlimits {
    /// Returns the rlimits for everything that no cgroup enforces (`left`).
    pub(crate) fn new(limits: &JailLimits, left: impl Fn(CgroupController) -> bool) -> Self {
        Self {
            data: limits.memory.filter(|_| left(CgroupController::Memory)).map(MemoryAmount::bytes),
            // The jail's init is counted too.
            processes: limits.pids.filter(|_| left(CgroupController::Pids)).map(|pids| pids.0 + 1),
            files: limits.nofile.map(|files| files.0),
            nice: limits.cpu.is_some() && left(CgroupController::Cpu),
        }
    }

    /// Returns whether they limit the number of processes.
    pub(crate) fn limits_processes(&self) -> bool {
        self.processes.is_some()
    }

    /// Sets them on this process, which must be the command's own: the jail's init needs none of them.
    pub(crate) fn set(&self) -> Result<()> {
        lower_rlimit(Resource::Data, self.data).context("--limit memory")?;
        lower_rlimit(Resource::Nproc, self.processes).context("--limit pids")?;
        lower_rlimit(Resource::Nofile, self.files).context("--limit nofile")?;
        if self.nice {
            nice(NICE).map_err(std::io::Error::from).context("--limit cpu: cannot lower the priority")?;
        }
        Ok(())
    }

    /// Sets them on another process, except the number of processes: without its own user namespace that
    /// counts all processes of the user.
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

/// Lowers the soft and the hard limit. A lower one of the caller stays.
fn lower_rlimit(resource: Resource, limit: Option<u64>) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    // 64 bits on 32-bit machines too.
    let limit = getrlimit(resource).maximum.map_or(limit, |hard| hard.min(limit));
    setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
        .map_err(std::io::Error::from)
        .context("cannot set the limits")
}

/// Returns the memory of the machine in bytes, which is read once. If the kernel does not report it, returns a
/// number that limits nothing.
pub(crate) fn machine_memory() -> u64 {
    static MEMORY: OnceLock<u64> = OnceLock::new();
    let read = || piku_procfs::meminfo()?.bytes("MemTotal");
    *MEMORY.get_or_init(|| read().unwrap_or(u64::MAX / 4096 * 4096))
}
