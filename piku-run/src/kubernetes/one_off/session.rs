//! Session of a one-off pod: the time during which a client is attached to it. A pod does not end with the kubectl
//! that is attached, so that its session removes it; what a crash leaves is removed by the next session or deploy.

use std::fs::File;
use std::io::{Read, Seek, Write, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use piku_files::FileLock;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::kubernetes::KubernetesApp;
use crate::kubernetes::kubectl::{KubectlClient, KubectlRunner, REQUEST_LIMIT, missing_program};
use crate::kubernetes::state::{ONE_OFF, PodState};
use crate::lock;
use crate::process::wait::{self, PollInterest, READ};
use crate::releases::current;

/// Signals that end a session.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];
/// Readiness of an output without a reader.
const BROKEN: PollInterest = PollInterest { read: false, write: false };

/// A pod and the lock that says that its client is attached. The kernel releases it however this process ends.
pub(super) struct PodSession {
    pub(super) pod: String,
    path: PathBuf,
    _lock: FileLock,
}

impl PodSession {
    /// Begins the session of a pod with a new name.
    pub(super) fn begin(cluster: &KubernetesApp) -> anyhow::Result<Self> {
        current::create_dir(cluster.dir.run())?;
        loop {
            let pod =
                format!("{}-{ONE_OFF}-{:08x}", cluster.app, Timestamp::now().as_microsecond() & 0xffff_ffff);
            let path = lock_path(cluster, &pod);
            let lock = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
            if let Some(lock) = lock {
                return Ok(Self { pod, path, _lock: lock });
            }
        }
    }

    /// Returns whether a client is attached to a pod.
    pub(super) fn is_open(cluster: &KubernetesApp, pod: &str) -> bool {
        lock::is_held(&lock_path(cluster, pod))
    }

    /// Removes the lock file of a session that has ended.
    pub(super) fn remove_lock(cluster: &KubernetesApp, pod: &str) -> anyhow::Result<()> {
        current::remove_dir(&lock_path(cluster, pod))
    }
}

impl Drop for PodSession {
    fn drop(&mut self) {
        // No other session uses its name.
        let _ = current::remove_dir(&self.path);
    }
}

fn lock_path(cluster: &KubernetesApp, pod: &str) -> PathBuf {
    cluster.dir.run().join(format!("{pod}.session"))
}

#[derive(Clone, Copy)]
enum SessionToken {
    Ended,
    CutOff,
}

/// Watch over the client of a session, who is cut off when a signal ends this process, or the output has no reader.
/// Signals that end a process are blocked meanwhile, so that each wait has to watch for them. The kubectls that are
/// started have none blocked.
pub(super) struct ClientWatch {
    signals: SignalFd,
    is_cut_off: bool,
}

impl ClientWatch {
    pub(super) fn begin() -> anyhow::Result<Self> {
        let signals = wait::signals(&ENDING).context("cannot wait for signals")?;
        Ok(Self { signals, is_cut_off: false })
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// Asks for a pod; returns `None` if the client is cut off.
    pub(super) fn get_pod(&mut self, kubectl: &KubectlClient, pod: &str) -> anyhow::Result<Option<PodState>> {
        let text = kubectl.run_by(self, &["get", "--output=json", REQUEST_LIMIT, "pod", pod], None)?;
        let state = text.map(|text| serde_json::from_str(&text)).transpose();
        state.context("cannot understand kubectl's JSON")
    }

    /// Waits for the end of a program, and ends it if the client is cut off.
    pub(super) fn wait_for(&mut self, child: &mut Child) -> anyhow::Result<ExitStatus> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no pid")?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch kubectl")?;
        let output = stdout();
        let watched = [
            (pidfd.as_fd(), READ, SessionToken::Ended),
            (self.signals.as_fd(), READ, SessionToken::CutOff),
            (output.as_fd(), BROKEN, SessionToken::CutOff),
        ];
        let mut ready = Vec::new();
        while ready.is_empty() {
            ready = wait::wait(&watched, None)?;
        }
        if !ready.iter().any(|token| matches!(token, SessionToken::Ended)) {
            self.is_cut_off = true;
            child.kill().context("cannot end kubectl")?;
        }
        child.wait().context("cannot wait for kubectl")
    }
}

impl KubectlRunner for ClientWatch {
    fn output_of(&mut self, mut command: Command, input: Option<&str>) -> anyhow::Result<Option<Output>> {
        // Files, because a pipe that is full would block the process that has to watch the client.
        let mut stdout = unnamed_file()?;
        let mut stderr = unnamed_file()?;
        if let Some(text) = input {
            let mut stdin = unnamed_file()?;
            stdin
                .write_all(text.as_bytes())
                .and_then(|()| stdin.rewind())
                .context("cannot keep the input")?;
            command.stdin(stdin);
        }
        command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let mut child = command.spawn().map_err(|err| missing_program(&command, &err))?;
        let status = self.wait_for(&mut child)?;
        if self.is_cut_off {
            return Ok(None);
        }
        let read = |file: &mut File| {
            let mut content = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut content)).map(|_| content)
        };
        let (stdout, stderr) = (read(&mut stdout)?, read(&mut stderr)?);
        Ok(Some(Output { status, stdout, stderr }))
    }

    /// Waits until the client is cut off, or this time is over. Returns true if the client is still there.
    fn pause(&mut self, time: Duration) -> anyhow::Result<bool> {
        let output = stdout();
        let watched = [
            (self.signals.as_fd(), READ, SessionToken::CutOff),
            (output.as_fd(), BROKEN, SessionToken::CutOff),
        ];
        self.is_cut_off |= !wait::wait(&watched, Some(time))?.is_empty();
        Ok(!self.is_cut_off)
    }
}

fn unnamed_file() -> anyhow::Result<File> {
    tempfile::tempfile().context("cannot make a file for kubectl's output")
}

impl Drop for ClientWatch {
    /// Makes what follows, which may take long, end by a signal again. A terminal that goes away may send several
    /// HUPs.
    fn drop(&mut self) {
        wait::received(&self.signals);
        let ending: SigSet = ENDING.into_iter().filter(|signal| *signal != Signal::SIGHUP).collect();
        let _ = ending.thread_unblock();
    }
}
