//! `piku-run launch`: the few steps between a supervisor and its worker. It waits at a gate until the supervisor has
//! written down that it exists, begins a session of its own and becomes the worker.
//!
//! A supervisor that dies in between closes the gate for good: what no record knows never starts.

#![expect(clippy::disallowed_methods, reason = "/dev/null of the machine")]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, dup2_stdin, setsid};

use crate::process::signals;

/// The subcommand's name.
pub(crate) const NAME: &str = "launch";

/// Runs in the new process; comes back only when it failed.
pub(crate) fn run(words: &[OsString]) -> anyhow::Result<()> {
    let [program, args @ ..] = words else { anyhow::bail!("nothing to launch") };
    let mut word = [0];
    if io::stdin().read(&mut word).context("cannot read at the gate")? == 0 {
        anyhow::bail!("the supervisor has ended");
    }
    let null = File::open("/dev/null").context("cannot open '/dev/null'")?;
    dup2_stdin(null).context("cannot set stdin")?;
    setsid().context("cannot begin a session")?;
    signals::default_dispositions();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context("cannot unblock signals")?;
    let err = Command::new(program).args(args).exec();
    Err(err).with_context(|| format!("cannot run '{}'", program.to_string_lossy()))
}

/// A process that waits at the gate.
pub(crate) struct WaitingProcess(Child);

/// Starts `command` as far as the gate: its environment is exactly what it has been given, its stdout and stderr are `output`,
/// and of this process's descriptors it inherits `kept`, locks that are held for as long as it lives.
pub(crate) fn prepare(
    command: &Command,
    output: impl AsFd,
    kept: &[BorrowedFd<'_>],
) -> io::Result<WaitingProcess> {
    let output = output.as_fd();
    // This program itself, also when its file has been replaced by an upgrade meanwhile.
    let mut gate = Command::new("/proc/self/exe");
    gate.arg0("piku-run").arg(NAME).arg("--").arg(command.get_program()).args(command.get_args());
    gate.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        gate.current_dir(dir);
    }
    gate.stdin(Stdio::piped()).stdout(output.try_clone_to_owned()?).stderr(output.try_clone_to_owned()?);
    // One thread: nobody else starts a process while these are open to it.
    for fd in kept {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    let child = gate.spawn();
    for fd in kept {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok(WaitingProcess(child?))
}

impl WaitingProcess {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap_or(-1))
    }

    /// Opens the gate. Whoever waits for children will see it end.
    pub(crate) fn go(mut self) -> io::Result<()> {
        let Some(mut gate) = self.0.stdin.take() else { return Ok(()) };
        gate.write_all(b"\n")
    }
}

impl std::fmt::Debug for WaitingProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiting({}, {:?})", self.0.id(), self.0.stdin.as_ref().map(AsRawFd::as_raw_fd))
    }
}
