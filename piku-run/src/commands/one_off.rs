//! The process of `exec`: waits for its end, and says why it failed if the jail was the reason. Its last lines come
//! from stderr, which is passed on, or from the terminal of the jail.

use std::collections::VecDeque;
use std::io::{IsTerminal, Read, Write, stderr, stdin};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_chroot::report;
use piku_report::caller;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::process::wait::{self, READ};
use crate::releases::current;

/// Bytes of stderr that are kept.
const TAIL_BYTES: usize = 8 << 10;

/// End of a one-off process.
pub(super) struct OneOffEnd {
    pub(super) code: u8,
    /// Its last lines.
    pub(super) lines: Vec<String>,
    /// Set if this machine could not make `/app` writable.
    pub(super) is_read_only: bool,
}

/// File to which the jail of a one-off process reports; removed when this value is dropped.
pub(crate) struct OneOffReport(PathBuf);

impl OneOffReport {
    /// Names a file in the directory of an app's running processes.
    pub(crate) fn new(run: &Path) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        current::create_dir(run)?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Ok(Self(run.join(format!("exec.{}.{number}", std::process::id()))))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OneOffReport {
    fn drop(&mut self) {
        // It is worthless, and the next process with this id replaces it.
        let _ = current::remove_dir(&self.0);
    }
}

#[derive(Clone, Copy)]
enum OneOffToken {
    Signals,
    Ended,
}

/// Runs a jailed command to its end.
///
/// # Errors
/// The inner error is that of the start.
pub(super) fn run_to_end(
    mut command: Command,
    report: &OneOffReport,
) -> anyhow::Result<std::io::Result<OneOffEnd>> {
    // A terminal stays the command's own.
    if !stderr().is_terminal() {
        command.stderr(Stdio::piped());
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(err) => return Ok(Err(err)),
    };
    let pid = i32::try_from(child.id()).context("no pid")?;
    let pidfd = pidfd_open(rustix::process::Pid::from_raw(pid).context("no pid")?, PidfdFlags::empty());
    let pidfd = pidfd.context("cannot watch the command")?;
    let passed =
        [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
    let signals = wait::signals(&passed).context("cannot wait for signals")?;
    let tail = child.stderr.take().map(pass_on);
    // A terminal sends these to all processes in the foreground.
    let is_sent_to_all = |signal| matches!(signal, Signal::SIGINT | Signal::SIGQUIT) && stdin().is_terminal();
    'running: loop {
        let watched =
            [(signals.as_fd(), READ, OneOffToken::Signals), (pidfd.as_fd(), READ, OneOffToken::Ended)];
        for token in wait::wait(&watched, None)? {
            match token {
                OneOffToken::Ended => break 'running,
                OneOffToken::Signals => {
                    for signal in
                        wait::received(&signals).into_iter().filter(|signal| !is_sent_to_all(*signal))
                    {
                        let _ = kill(Pid::from_raw(pid), signal);
                    }
                }
            }
        }
    }
    let status = child.wait().context("cannot wait for the command")?;
    let lines = tail.map(|tail| tail.join().unwrap_or_default()).unwrap_or_default();
    let (start, end) = report::read(report.path());
    let on_terminal = end.map(|end| end.terminal_lines).unwrap_or_default();
    Ok(Ok(OneOffEnd {
        code: exit_code(status),
        lines: if lines.is_empty() { on_terminal } else { lines },
        is_read_only: start.is_some_and(|start| start.read_only_app),
    }))
}

/// Passes stderr on until the last process of the jail has closed it, or its reader has gone. Returns its last lines.
fn pass_on(mut from: ChildStderr) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut tail = VecDeque::new();
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            tail.extend(&buffer[..length]);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
            if stderr().write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let bytes: Vec<u8> = tail.into();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    })
}

/// Returns the exit code, as shells do for a process that a signal has ended.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let by_signal = || status.signal().map_or(1, |signal| 128 + signal);
    u8::try_from(status.code().unwrap_or_else(by_signal)).unwrap_or(1)
}

/// Prints why a command failed.
pub(super) fn tell(reasons: impl IntoIterator<Item = String>) {
    for reason in reasons {
        caller::tell(crate::TOOL, &reason);
    }
}
