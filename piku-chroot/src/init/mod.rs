//! Process 1 inside. It makes the new root, starts the command as its child, reaps whatever is left orphaned, passes
//! signals on, and ends with the command: the kernel then ends everything else in here.

pub(crate) mod exec;

use std::os::fd::OwnedFd;
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::set_parent_process_death_signal;

use crate::confinement::capabilities;
use crate::confinement::protections::ProtectionLayers;
use crate::errors::diagnosis::JailObstacle;
use crate::errors::print_error;
use crate::hostfiles::FileContent;
use crate::ids::JailIds;
use crate::limits::rlimits::CommandRlimits;
use crate::plan::JailPlan;
use crate::{namespaces, network, root, signal_wait, sys, terminal};

/// The command runs.
pub(crate) const RUNS: &[u8; 1] = b"\n";
/// No jail can be made on this machine at all.
pub(crate) const ABSENT: &[u8; 1] = b"-";

/// What is known, and heard, of the monitor, and what it hears.
pub(crate) struct MonitorLink {
    /// One word when the ids are mapped from out there, where that is so; at its end once the monitor is gone.
    pub(crate) monitor: OwnedFd,
    /// For a word when the command runs, [`RUNS`], or when this machine makes no jails, [`ABSENT`].
    pub(crate) started: Option<OwnedFd>,
    /// For a word when the network is connected, where it is to lead somewhere.
    pub(crate) network: Option<OwnedFd>,
    /// What the kernel has.
    pub(crate) layers: ProtectionLayers,
    /// The contents of the host's files in `/etc`.
    pub(crate) host: Vec<(&'static str, FileContent)>,
    /// For the new `/etc`, when it is to be kept up to date, and for the terminal, when the command gets one.
    pub(crate) way: Option<OwnedFd>,
}

/// All of it; returns the exit code. `signals` are blocked already.
pub(crate) fn run(
    plan: JailPlan,
    ids: JailIds,
    signals: &SigSet,
    rlimits: &CommandRlimits,
    inside: MonitorLink,
) -> u8 {
    let mut inside = inside;
    let mut word = inside.started.take();
    let started = start(&plan, ids, rlimits, inside, &mut word);
    drop(plan);
    if let (Err(err), Some(word)) = (&started, word) {
        if JailObstacle::of(err) == JailObstacle::Absent {
            let _ = rustix::io::write(&word, ABSENT);
        }
    }
    started.and_then(|command| wait(command, signals)).unwrap_or_else(|err| print_error(&err))
}

/// Makes the jail and starts the command in it.
fn start(
    plan: &JailPlan,
    ids: JailIds,
    rlimits: &CommandRlimits,
    inside: MonitorLink,
    word: &mut Option<OwnedFd>,
) -> Result<Pid> {
    ids.enter(&inside.monitor)?;
    plan.oom_score_adj.map(raise_oom_score).transpose()?;
    die_with(&inside.monitor)?;
    if inside.layers.cgroup {
        namespaces::hide_cgroup()?;
    }
    // A terminal's Ctrl-C goes to its foreground group. The monitor passes it on; it must not come twice.
    setsid().context("cannot begin a session")?;
    ids.take_data(plan)?;
    let etc = inside.way.as_ref().filter(|_| !inside.host.is_empty());
    root::enter(plan, ids.command(), &inside.host, etc)?;
    namespaces::set_hostname(plan)?;
    namespaces::raise_loopback(plan)?;
    // Before this process hides itself: pasta enters its namespaces meanwhile.
    network::wait_until_connected(inside.network)?;
    if ids.become_command()? {
        // The kernel forgets it when a process becomes another user.
        die_with(&inside.monitor)?;
    }
    drop(inside.monitor);
    capabilities::drop_all()?;
    capabilities::hide()?;
    let terminal = inside.way.filter(|_| plan.tty).map(|way| terminal::open(&way)).transpose()?;
    let mut came_back = false;
    let command = sys::spawn_and_exec(|| {
        let code = exec::run(plan, rlimits, inside.layers, terminal.as_ref());
        // The memory is this process's own.
        came_back = true;
        code
    });
    let command = command.context("cannot start a process")?;
    // Its end is all that is said of a command that could not be started.
    if let Some(word) = word.take().filter(|_| !came_back) {
        // Without a monitor there is nobody to tell, and soon no jail.
        let _ = rustix::io::write(&word, RUNS);
    }
    Ok(command)
}

/// Lets the kernel end this process, and all that it starts, before others when the machine is out of memory. To be called
/// while the host's /proc is there and this process may be looked at.
fn raise_oom_score(score: u16) -> Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let raise = || -> io::Result<()> {
        let own = fs::read_to_string(FILE)?.trim().parse::<i32>().unwrap_or_default();
        if own < score.into() { fs::write(FILE, score.to_string()) } else { Ok(()) }
    };
    raise().context("--oom-score-adj: cannot raise it")
}

/// Ends this process, and so the whole jail, when the monitor ends.
fn die_with(monitor: &OwnedFd) -> Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(io::Error::from)
        .context("cannot follow the monitor")?;
    // It may have been killed just before. Its process id says nothing from inside; its end of the pipe does.
    let mut fds = [PollFd::new(monitor, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default()))
        .map_err(io::Error::from)
        .context("cannot ask for the monitor")?;
    ensure!(fds[0].revents().is_empty(), "the monitor was killed");
    Ok(())
}

/// Reaps and passes on until the command has ended; returns its exit code.
fn wait(command: Pid, signals: &SigSet) -> Result<u8> {
    let pass = |signal| {
        if killpg(command, signal).is_err() {
            // Not yet the leader of its group.
            let _ = kill(command, signal);
        }
    };
    signal_wait::until_ended(signals, None, pass, || reap(command))
}

/// Takes up everything that has ended; the exit code when the command is among it.
fn reap(command: Pid) -> Result<Option<u8>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) if status.pid() == Some(command) => return Ok(signal_wait::code_of(status)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err).context("cannot wait for processes"),
        }
    }
}
