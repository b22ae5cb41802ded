//! The process that stays outside of the jail. It forwards signals, returns the command's exit code and ends
//! last: if it is killed, the kernel ends everything inside.
//!
//! Unlike the jail it keeps inherited descriptors: a lock that a supervisor passes to it is held until the
//! last process of the jail has ended.

mod gate;
pub(crate) mod reporter;

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getppid};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::set_parent_process_death_signal;

use crate::cli::NetworkOption;
use crate::confinement::protections::ProtectionLayers;
use crate::errors::SETUP_FAILED;
use crate::errors::diagnosis::{JailObstacle, SetupStep, explain_step};
use crate::hostfiles::HostFiles;
use crate::hostfiles::follow::{self, FollowedFiles};
use crate::ids::JailIds;
use crate::ids::caller;
use crate::init::MonitorLink;
use crate::limits::LimitHold;
use crate::monitor::reporter::JailReporter;
use crate::network::{JailNamespaces, NetworkLink};
use crate::plan::JailPlan;
use crate::scratch::folder::ScratchFolder;
use crate::terminal::output_tail::OutputTail;
use crate::terminal::relay;
use crate::{fd_channel, ids, init, limits, namespaces, prepared, signal_wait, sys};

/// Signals that are forwarded to the command's process group.
pub(crate) const FORWARDED: [Signal; 8] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGQUIT,
    Signal::SIGCONT,
];

/// Makes the jail, waits for its end and returns the command's exit code.
pub(crate) fn run(plan: JailPlan) -> Result<u8> {
    let prepared = plan.prepared.map(sys::take_inherited).transpose().context("--prepared")?;
    caller::refuse_open_directories()?;
    let ids = JailIds::resolve(&plan, caller::become_requested_user(&plan)?)?;
    let layers = ProtectionLayers::probe();
    layers.require(plan.net, !plan.listen.is_empty(), plan.strict, &plan.require)?;
    if ids.own.is_none() {
        if plan.strict {
            caller::refuse_other_groups()?;
        }
        caller::warn_of_groups(&plan);
    }
    if let Some(caller) = plan.die_with {
        die_with(caller)?;
    }
    let signals = block_signals()?;
    if plan.gate {
        gate::wait_until_open()?;
    }
    if plan.uid_range.as_ref().is_some_and(|range| range.give_back) {
        let code = ids::give_back(&plan, ids.caller)?;
        if code != 0 || plan.argv.is_empty() {
            return Ok(code);
        }
    }
    let mut reporter = JailReporter::open(&plan, ids, layers)?;
    let scratch = ScratchFolder::make(&plan, ids)?;
    let hold = limits::prepare_limits(&plan.limits, plan.strict)?;
    let mut followed = FollowedFiles::new(HostFiles::new(&plan, ids.caller));
    let (tty, in_background) = (plan.tty, plan.remove_in_background);
    let (mut obstacle, mut mounts) = (None, None);
    let mut tail = OutputTail::default();
    let surroundings = JailSurroundings {
        ids,
        layers,
        signals: &signals,
        hold: &hold,
        scratch: scratch.as_ref(),
        // The kernel counts the processes of a user in each user namespace, and own users stay in the shared one.
        prepared: prepared.filter(|_| ids.own.is_none() || !hold.rlimits.limits_processes()),
        host_files: followed.names().to_vec(),
    };
    let code = start_jail(plan, surroundings).and_then(|mut jail| {
        mounts = jail.complete(&mut followed, in_background)?;
        let receive = |channel: OwnedFd| fd_channel::receive_fd(channel).context("--tty");
        let terminal = jail.channel.take().filter(|_| tty).map(receive).transpose()?.flatten();
        match jail.started.as_ref().map(wait_for_start) {
            Some(Ok(is_read_only)) => reporter.report_start(&hold.held, is_read_only),
            Some(Err(kind)) => obstacle = Some(kind),
            None => {}
        }
        match terminal {
            Some(terminal) => relay::run(jail.pid, &signals, terminal, &mut tail),
            // The jail may have ended already; then its SIGCHLD is next.
            None => signal_wait::wait_until_ended(
                &with_changes(signals),
                Some(&mut followed),
                |signal| {
                    let _ = kill(jail.pid, signal);
                },
                || {
                    if jail.link.as_ref().is_some_and(NetworkLink::has_ended) {
                        // The jail is cut off from the network: its caller can restart it.
                        let _ = kill(jail.pid, Signal::SIGKILL);
                    }
                    signal_wait::poll_exit_code(jail.pid)
                },
            ),
        }
    });
    let end = hold.finish();
    if let Some(scratch) = scratch {
        scratch.remove(in_background, mounts);
    }
    let exit_code = *code.as_ref().unwrap_or(&SETUP_FAILED);
    let obstacle =
        code.as_ref().err().map(JailObstacle::from_error).or(obstacle.filter(|_| exit_code == SETUP_FAILED));
    reporter.report_end(exit_code, end, obstacle, tail.lines());
    code
}

/// A running jail as the monitor sees it.
struct RunningJail {
    pid: Pid,
    /// Pipe on which init writes a byte when the command runs; closed without a byte if it could not be
    /// started.
    started: Option<OwnedFd>,
    /// Socket on which init sends the jail's `/etc` and, if it has left one, its old mount namespace; waits for a
    /// byte; and sends the command's terminal, if it has one.
    channel: Option<OwnedFd>,
    /// The process that connects its network.
    link: Option<NetworkLink>,
    /// Pipe whose end tells init that the monitor is gone, even before init can ask the kernel to die with
    /// it. The only byte ever written says that the ids are mapped; see [`JailIds::tell_mapped`].
    _life: OwnedFd,
}

/// Results of the monitor's preparations for a jail.
struct JailSurroundings<'a> {
    ids: JailIds,
    layers: ProtectionLayers,
    /// Blocked signals.
    signals: &'a SigSet,
    hold: &'a LimitHold,
    scratch: Option<&'a ScratchFolder>,
    /// Prepared root to be used.
    prepared: Option<OwnedFd>,
    /// Names of the host's files in the jail's `/etc`.
    host_files: Vec<&'static str>,
}

impl RunningJail {
    /// Writes the host's files to its `/etc`, while init makes the rest of the root, and lets init go on. Returns its
    /// mount namespace, if that is to be taken down in the background.
    fn complete(&self, followed: &mut FollowedFiles, in_background: bool) -> Result<Option<OwnedFd>> {
        let completed = self.try_to_complete(followed, in_background);
        if completed.is_err() {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
        completed
    }

    fn try_to_complete(&self, followed: &mut FollowedFiles, in_background: bool) -> Result<Option<OwnedFd>> {
        let Some(channel) = &self.channel else { return Ok(None) };
        followed.watch()?;
        let mut received = fd_channel::receive_fds(channel)?.into_iter();
        // Without one, the jail has ended, and its SIGCHLD is next.
        let Some(etc) = received.next() else { return Ok(None) };
        let mounts = in_background.then(|| namespaces::open_mounts(self.pid)).flatten();
        followed.write_to(etc)?;
        let _ = rustix::io::write(channel, b"\n");
        // Only then: the kernel takes its time for the old mount namespace.
        drop(received);
        Ok(mounts)
    }
}

fn start_jail(plan: JailPlan, around: JailSurroundings<'_>) -> Result<RunningJail> {
    let JailSurroundings { ids, layers, signals, hold, scratch, prepared, host_files } = around;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe");
    let (alive, life) = pipe()?;
    let (started, start) = if plan.report.is_some() {
        pipe().map(|(read, write)| (Some(read), Some(write)))?
    } else {
        (None, None)
    };
    let (channel, init_channel) = fd_channel::open_channel()?;
    let flags = namespaces::clone_flags(&plan);
    let (connected, connect) = if plan.net == NetworkOption::Own {
        pipe().map(|(read, write)| (Some(read), Some(write)))?
    } else {
        (None, None)
    };
    // Moved into the child's closure, so that the child closes its copies of these ends and the monitor keeps
    // its own.
    let inside = MonitorLink {
        monitor: alive,
        started: start,
        network: connected,
        host_files,
        channel: init_channel,
        layers,
        scratch: scratch.map(|scratch| scratch.place().clone()),
        prepared: None,
    };
    let mut given = Some((life, started, channel, connect, inside, plan));
    let mut child = |prepared| match given.take() {
        Some((life, started, channel, connect, inside, plan)) => {
            drop((life, started, channel, connect));
            init::run(plan, ids, signals, &hold.rlimits, MonitorLink { prepared, ..inside })
        }
        None => SETUP_FAILED,
    };
    let joined = match prepared {
        Some(prepared) => prepared::spawn_in(prepared, hold, flags, |copy| child(Some(copy)))?,
        None => None,
    };
    let pid = if let Some(joined) = &joined {
        joined.pid
    } else {
        let spawned = hold.spawn(flags, || child(None));
        spawned.map_err(|err| explain_step(SetupStep::Namespaces, &err))?
    };
    // The monitor waits for months, and needs only these ends.
    let (life, started, channel, connect, inside, plan) = given.context("the jail was not started")?;
    drop(inside);
    let namespaces = JailNamespaces::open(&plan, pid)?;
    match joined {
        Some(joined) => {
            ids.tell_mapped(&life)?;
            joined.reap_helper()?;
        }
        None => ids.map_for(pid, &plan.groups, &life)?,
    }
    let link = namespaces.map(|jail| NetworkLink::connect(&plan, &jail)).transpose()?;
    drop(plan);
    if let Some(connect) = connect {
        rustix::io::write(&connect, b"\n").map_err(io::Error::from).context("--net own")?;
    }
    Ok(RunningJail { pid, started, channel: Some(channel), link, _life: life })
}

/// Adds the signal for a changed file of the host.
fn with_changes(mut signals: SigSet) -> SigSet {
    signals.add(follow::CHANGED);
    signals
}

/// Waits until the command runs, or is known not to run. Returns whether /app is read-only although it was to
/// be writable.
fn wait_for_start(word: &OwnedFd) -> Result<bool, JailObstacle> {
    let mut byte = [0];
    match rustix::io::read(word, &mut byte) {
        Ok(1) if byte == *init::RUNS => Ok(false),
        Ok(1) if byte == *init::RUNS_READ_ONLY => Ok(true),
        Ok(1) if byte == *init::ABSENT => Err(JailObstacle::Absent),
        _ => Err(JailObstacle::Temporary),
    }
}

/// Lets the kernel kill this process, and so the whole jail, when the caller ends.
fn die_with(caller: Pid) -> Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(io::Error::from)
        .context("cannot follow the caller")?;
    // The caller may have been killed just before.
    ensure!(getppid() == caller, "--die-with: process {caller} is not the caller, or no longer is");
    Ok(())
}

/// Resets inherited dispositions, blocks the signals to be waited for and returns them.
fn block_signals() -> Result<SigSet> {
    sys::reset_dispositions();
    let mut signals: SigSet = FORWARDED.into_iter().collect();
    signals.add(Signal::SIGCHLD);
    // Also blocked: signals that would silently end the monitor when a write fails, because the reader is
    // gone or the file reaches the user's size limit (RLIMIT_FSIZE, which counts in the new root too).
    let mut blocked = signals;
    blocked.add(follow::CHANGED);
    blocked.add(Signal::SIGPIPE);
    blocked.add(Signal::SIGXFSZ);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None).context("cannot block signals")?;
    Ok(signals)
}
