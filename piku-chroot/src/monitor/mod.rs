//! The process that stays outside. It passes signals on, hands back the command's exit code and leaves last: while it
//! lives, the jail may live; when it is killed, the kernel ends everything inside.
//!
//! It keeps the descriptors that it inherited, which nothing inside does: a lock that a supervisor gave it is held until
//! the last process of the jail is gone.

pub(crate) mod reporter;

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Pid, getppid};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::set_parent_process_death_signal;

use crate::cli::NetworkOption;
use crate::confinement::protections::ProtectionLayers;
use crate::errors::SETUP_FAILED;
use crate::errors::diagnosis::{JailObstacle, SetupStep, explain};
use crate::hostfiles::HostFiles;
use crate::hostfiles::follow::{self, FollowedFiles};
use crate::ids::JailIds;
use crate::ids::caller;
use crate::init::MonitorLink;
use crate::limits::LimitHold;
use crate::monitor::reporter::JailReporter;
use crate::network::{JailNamespaces, NetworkLink};
use crate::plan::JailPlan;
use crate::terminal::relay;
use crate::{fd_channel, ids, init, limits, namespaces, signal_wait, sys};

/// Passed on to the command's process group.
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

/// Makes the jail and waits for its end; returns the command's exit code.
pub(crate) fn run(plan: JailPlan) -> Result<u8> {
    caller::refuse_ways_out()?;
    let ids = JailIds::settle(&plan, caller::settle(&plan)?)?;
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
    let signals = own_signals()?;
    if plan.uid_range.as_ref().is_some_and(|range| range.give_back) {
        let code = ids::give_back(&plan, ids.caller)?;
        if code != 0 || plan.argv.is_empty() {
            return Ok(code);
        }
    }
    let mut teller = JailReporter::open(&plan, ids, layers)?;
    let hold = limits::prepare(&plan.limits, plan.strict)?;
    let mut followed = FollowedFiles::begin(HostFiles::new(&plan, ids.caller))?;
    let (tty, tell) = (plan.tty, teller.wants_the_start());
    let mut obstacle = None;
    let code = start(plan, &mut followed, ids, layers, &signals, &hold, tell).and_then(|jail| {
        let way = jail.way;
        let receive = |wanted: bool| match &way {
            Some(way) if wanted => fd_channel::receive_fd(way),
            _ => Ok(None),
        };
        if let Some(etc) = receive(!followed.is_empty())? {
            followed.write_to(etc);
        }
        let terminal = receive(tty).context("--tty")?;
        drop(way);
        match jail.started.as_ref().map(hear) {
            Some(Ok(())) => teller.started(&hold.held),
            Some(Err(kind)) => obstacle = Some(kind),
            None => {}
        }
        match terminal {
            Some(terminal) => relay::run(jail.pid, &signals, terminal),
            // It may have ended already; then its SIGCHLD is next.
            None => signal_wait::until_ended(
                &with_changes(signals),
                Some(&mut followed),
                |signal| {
                    let _ = kill(jail.pid, signal);
                },
                || {
                    if jail.link.as_ref().is_some_and(NetworkLink::has_ended) {
                        // Nothing leads to it any more: whoever keeps it running starts it anew.
                        let _ = kill(jail.pid, Signal::SIGKILL);
                    }
                    signal_wait::ended(jail.pid)
                },
            ),
        }
    });
    let end = hold.end();
    let exit_code = *code.as_ref().unwrap_or(&SETUP_FAILED);
    let obstacle =
        code.as_ref().err().map(JailObstacle::of).or(obstacle.filter(|_| exit_code == SETUP_FAILED));
    teller.ended(exit_code, end, obstacle);
    code
}

/// What runs, seen from outside.
struct RunningJail {
    pid: Pid,
    /// Says a word when the command runs, and ends without one when it could not be started.
    started: Option<OwnedFd>,
    /// Brings the jail's `/etc`, when it has files to be followed, and the command's terminal, when it gets one.
    way: Option<OwnedFd>,
    /// The process that connects its network.
    link: Option<NetworkLink>,
    /// A word may have been written, see [`JailIds::map`], and nothing more is: the stub learns from its end that the monitor was
    /// gone before it could say that it wants to die with it.
    _life: OwnedFd,
}

/// Starts the stub.
fn start(
    plan: JailPlan,
    followed: &mut FollowedFiles,
    ids: JailIds,
    layers: ProtectionLayers,
    signals: &SigSet,
    hold: &LimitHold,
    tell: bool,
) -> Result<RunningJail> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe");
    let (alive, life) = pipe()?;
    let (started, start) =
        if tell { pipe().map(|(read, write)| (Some(read), Some(write)))? } else { (None, None) };
    let host = followed.take_first();
    let hands_out = plan.tty || !host.is_empty();
    let (way, stubs_way) = hands_out.then(fd_channel::open_channel).transpose()?.unzip();
    let flags = namespaces::flags(&plan);
    let (connected, connect) = if plan.net == NetworkOption::Own {
        pipe().map(|(read, write)| (Some(read), Some(write)))?
    } else {
        (None, None)
    };
    // Moved into the child's closure, so that the child's copies of these ends are closed there and the monitor's live on.
    let inside =
        MonitorLink { monitor: alive, started: start, network: connected, host, way: stubs_way, layers };
    let mut given = Some((life, started, way, connect, inside, plan));
    let pid = hold.spawn(flags, || match given.take() {
        Some((life, started, way, connect, inside, plan)) => {
            drop((life, started, way, connect));
            followed.close_folders();
            init::run(plan, ids, signals, &hold.rlimits, inside)
        }
        None => SETUP_FAILED,
    });
    let pid = pid.map_err(|err| explain(SetupStep::Namespaces, &err))?;
    // It waits for months, and needs of all this only these ends.
    let (life, started, way, connect, inside, plan) = given.context("there is no jail")?;
    drop(inside);
    let namespaces = JailNamespaces::open(&plan, pid)?;
    ids.map(pid, &life)?;
    let link = namespaces.map(|jail| NetworkLink::connect(&plan, &jail)).transpose()?;
    drop(plan);
    if let Some(connect) = connect {
        rustix::io::write(&connect, b"\n").map_err(io::Error::from).context("--net own")?;
    }
    Ok(RunningJail { pid, started, way, link, _life: life })
}

/// Returns the signals that the monitor waits for: those given, and the one that says that a file of the host has changed.
fn with_changes(mut signals: SigSet) -> SigSet {
    signals.add(follow::CHANGED);
    signals
}

/// Waits until the command runs, or is known not to.
fn hear(word: &OwnedFd) -> Result<(), JailObstacle> {
    let mut heard = [0];
    match rustix::io::read(word, &mut heard) {
        Ok(1) if heard == *init::RUNS => Ok(()),
        Ok(1) if heard == *init::ABSENT => Err(JailObstacle::Absent),
        _ => Err(JailObstacle::Temporary),
    }
}

/// Ends this process, and so the whole jail, when the caller ends.
fn die_with(caller: Pid) -> Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(io::Error::from)
        .context("cannot follow the caller")?;
    // It may have been killed just before.
    ensure!(getppid() == caller, "--die-with: process {caller} is not, or no longer, the caller");
    Ok(())
}

/// Forgets what the caller ignored or blocked, and blocks what is waited for.
fn own_signals() -> Result<SigSet> {
    sys::default_dispositions();
    let mut signals: SigSet = FORWARDED.into_iter().collect();
    signals.add(Signal::SIGCHLD);
    // And what would end it without a word where writing fails: nobody listens any more, or a file is as large as
    // files of the user may be (RLIMIT_FSIZE, which counts in the new root too).
    let mut blocked = signals;
    blocked.add(follow::CHANGED);
    blocked.add(Signal::SIGPIPE);
    blocked.add(Signal::SIGXFSZ);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None).context("cannot block signals")?;
    Ok(signals)
}
