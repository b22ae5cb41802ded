//! Process 1 of the jail. It makes the new root, starts the command as its child, reaps orphans and forwards
//! signals. It ends with the command, and the kernel then ends everything else in the jail.

pub(crate) mod exec;

use std::os::fd::OwnedFd;
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{set_parent_process_death_signal, setpgid};

use crate::confinement::capabilities;
use crate::confinement::protections::ProtectionLayers;
use crate::errors::diagnosis::JailObstacle;
use crate::errors::print_error;
use crate::ids::JailIds;
use crate::limits::rlimits::CommandRlimits;
use crate::plan::JailPlan;
use crate::prepared::PreparedRoot;
use crate::scratch::WritableApp;
use crate::scratch::folder::ScratchPlace;
use crate::{namespaces, network, root, signal_wait, sys, terminal};

/// Byte for the monitor: the command runs.
pub(crate) const RUNS: &[u8; 1] = b"\n";
/// Byte for the monitor: the command runs, and /app was to be writable and is not.
pub(crate) const RUNS_READ_ONLY: &[u8; 1] = b"r";
/// Byte for the monitor: this machine can never make a jail.
pub(crate) const ABSENT: &[u8; 1] = b"-";

/// Pipes to the monitor, and what the monitor has found out.
pub(crate) struct MonitorLink {
    /// Brings a byte when the monitor has mapped the ids, if it has to; at its end once the monitor is gone.
    pub(crate) monitor: OwnedFd,
    /// Takes [`RUNS`], [`RUNS_READ_ONLY`] or [`ABSENT`].
    pub(crate) started: Option<OwnedFd>,
    /// Brings a byte when the network is connected, if it has to be.
    pub(crate) network: Option<OwnedFd>,
    pub(crate) layers: ProtectionLayers,
    /// Folder for changes to /app.
    pub(crate) scratch: Option<ScratchPlace>,
    /// Names of the host's files in `/etc`, which the monitor writes.
    pub(crate) host_files: Vec<&'static str>,
    /// Takes the new `/etc`, brings a byte when it is complete, and takes the terminal, if the command has one.
    pub(crate) channel: OwnedFd,
    /// The prepared root in whose user namespace this process is.
    pub(crate) prepared: Option<PreparedRoot>,
}

/// Runs the jail and returns the exit code. `signals` are blocked already.
pub(crate) fn run(
    plan: JailPlan,
    ids: JailIds,
    signals: &SigSet,
    rlimits: &CommandRlimits,
    inside: MonitorLink,
) -> u8 {
    let mut inside = inside;
    let mut started_pipe = inside.started.take();
    let started = start_command(&plan, ids, rlimits, inside, &mut started_pipe);
    drop(plan);
    if let (Err(err), Some(started_pipe)) = (&started, started_pipe) {
        if JailObstacle::from_error(err) == JailObstacle::Absent {
            let _ = rustix::io::write(&started_pipe, ABSENT);
        }
    }
    started.and_then(|command| wait_for_command(command, signals)).unwrap_or_else(|err| print_error(&err))
}

/// Makes the jail and starts the command in it.
fn start_command(
    plan: &JailPlan,
    ids: JailIds,
    rlimits: &CommandRlimits,
    inside: MonitorLink,
    started_pipe: &mut Option<OwnedFd>,
) -> Result<Pid> {
    let is_prepared = inside.prepared.is_some();
    ids.wait_for_map(&plan.groups, &inside.monitor, is_prepared)?;
    plan.oom_score_adj.map(raise_oom_score).transpose()?;
    die_with(&inside.monitor)?;
    if inside.layers.cgroup {
        namespaces::hide_cgroup()?;
    }
    // Ctrl-C in a terminal goes to the foreground group. The monitor forwards it, and it must not arrive
    // twice. The command begins a session; a second one would only cost the kernel a scheduling group.
    setpgid(None, None).map_err(io::Error::from).context("cannot lead a process group")?;
    ids.change_data_owner(plan)?;
    let writable = WritableApp::prepare(plan, ids, inside.scratch.as_ref())?;
    let is_read_only = writable.is_read_only();
    let channel = &inside.channel;
    root::enter_new_root(plan, ids.command(), &inside.host_files, Some(channel), writable, inside.prepared)?;
    namespaces::set_hostname(plan)?;
    namespaces::raise_loopback(plan)?;
    // Before this process hides itself: pasta enters its namespaces meanwhile.
    network::wait_until_connected(inside.network)?;
    // The monitor opens the files of this process in /proc meanwhile, too.
    wait_for_monitor(channel)?;
    if is_prepared {
        ids.leave_shared_namespace()?;
    }
    if ids.become_command()? || is_prepared {
        // The kernel forgets this when a process becomes another user, and may with another namespace.
        die_with(&inside.monitor)?;
    }
    drop((inside.monitor, inside.scratch));
    capabilities::drop_all()?;
    capabilities::hide()?;
    let terminal = plan.tty.then(|| terminal::open_terminal(channel)).transpose()?;
    drop(inside.channel);
    let mut came_back = false;
    let command = sys::spawn_and_exec(|| {
        let code = exec::exec_command(plan, rlimits, inside.layers, terminal.as_ref());
        // The child shares this process's memory.
        came_back = true;
        code
    });
    let command = command.context("cannot start a process")?;
    // A command that could not be started is reported by the end of the pipe.
    if let Some(started_pipe) = started_pipe.take().filter(|_| !came_back) {
        // Without a monitor the jail ends soon.
        let word = if is_read_only { RUNS_READ_ONLY } else { RUNS };
        let _ = rustix::io::write(&started_pipe, word);
    }
    Ok(command)
}

/// Lets the kernel kill this process, and all that it starts, before others when the machine runs out of
/// memory. Needs the host's /proc, and a process that is not hidden yet.
fn raise_oom_score(score: u16) -> Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let raise = || -> io::Result<()> {
        let own = fs::read_to_string(FILE)?.trim().parse::<i32>().unwrap_or_default();
        if own < score.into() { fs::write(FILE, score.to_string()) } else { Ok(()) }
    };
    raise().context("--oom-score-adj: cannot raise the score")
}

/// Waits until the monitor has done its part: the jail's /etc is complete.
fn wait_for_monitor(channel: &OwnedFd) -> Result<()> {
    let mut word = [0];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(channel, &mut word))
        .map_err(io::Error::from)
        .context("cannot wait for the monitor")?;
    ensure!(count > 0, "the monitor was killed");
    Ok(())
}

/// Lets the kernel kill this process, and so the whole jail, when the monitor ends.
fn die_with(monitor: &OwnedFd) -> Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(io::Error::from)
        .context("cannot follow the monitor")?;
    // The monitor may have been killed just before. Its process id is unknown in here; the end of its pipe is
    // visible.
    let mut fds = [PollFd::new(monitor, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default()))
        .map_err(io::Error::from)
        .context("cannot check for the monitor")?;
    ensure!(fds[0].revents().is_empty(), "the monitor was killed");
    Ok(())
}

/// Reaps processes and forwards signals until the command ends; returns its exit code.
fn wait_for_command(command: Pid, signals: &SigSet) -> Result<u8> {
    let pass = |signal| {
        if killpg(command, signal).is_err() {
            // It does not lead its process group yet.
            let _ = kill(command, signal);
        }
    };
    signal_wait::wait_until_ended(signals, None, pass, || reap_children(command))
}

/// Reaps every process that has ended; returns the command's exit code if it is among them.
fn reap_children(command: Pid) -> Result<Option<u8>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) if status.pid() == Some(command) => return Ok(signal_wait::exit_code_of(status)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err).context("cannot wait for processes"),
        }
    }
}
