//! The gate between a supervisor and a new instance: it opens once the supervisor has written the record. If the
//! supervisor dies first, the gate stays closed: a process without a record never starts.
//!
//! A jail waits at a gate of its own (`piku-chroot --gate`). Without one, `piku-run launch` waits, starts a session
//! and executes the instance's command.

#![expect(clippy::disallowed_methods, reason = "/dev/null of the machine")]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, dup2_stdin, setsid};

use crate::process::signals;

pub(crate) const NAME: &str = "launch";

/// Runs in the new process; returns only on failure.
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

/// A process that waits for the supervisor.
pub(crate) struct WaitingProcess(Child);

/// Starts `command` up to the gate, with exactly its own environment and with `output` as stdout and
/// stderr. It inherits the descriptors `kept`: locks that are held while it lives.
pub(crate) fn prepare(
    command: &Command,
    output: BorrowedFd<'_>,
    kept: &[BorrowedFd<'_>],
) -> io::Result<WaitingProcess> {
    // This program, even if an upgrade has replaced its file.
    let mut gate = Command::new("/proc/self/exe");
    gate.arg0("piku-run").arg(NAME).arg("--").arg(command.get_program()).args(command.get_args());
    gate.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        gate.current_dir(dir);
    }
    prepare_gated(gate, output, kept)
}

/// Does the same with a program that waits for a byte on stdin itself, such as that of
/// [`piku_chroot::jail::JailSpec::gate`].
pub(crate) fn prepare_gated(
    mut gate: Command,
    output: BorrowedFd<'_>,
    kept: &[BorrowedFd<'_>],
) -> io::Result<WaitingProcess> {
    gate.stdin(Stdio::piped()).stdout(output.try_clone_to_owned()?).stderr(output.try_clone_to_owned()?);
    // Single-threaded: no other process starts while these descriptors are inheritable.
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

    /// Lets the process run. Its end is reported to whatever waits for children.
    pub(crate) fn open_gate(mut self) -> io::Result<()> {
        let Some(mut gate) = self.0.stdin.take() else { return Ok(()) };
        match gate.write_all(b"\n") {
            // It has ended already.
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }
}

impl std::fmt::Debug for WaitingProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiting({}, {:?})", self.0.id(), self.0.stdin.as_ref().map(AsRawFd::as_raw_fd))
    }
}
