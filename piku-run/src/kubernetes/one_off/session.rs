//! Session of a one-off pod: the time during which a client is attached to it. A pod does not end with the kubectl
//! that is attached, so that its session removes it; what a crash leaves is removed by the next session or deploy.

use std::io::stdout;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use anyhow::Context;
use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use piku_files::FileLock;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::kubernetes::KubernetesApp;
use crate::kubernetes::kubectl::missing_program;
use crate::kubernetes::state::ONE_OFF;
use crate::lock;
use crate::process::wait::{self, PollInterest, READ};
use crate::releases::current;

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

/// End of an attached kubectl.
pub(super) struct AttachEnd {
    pub(super) status: ExitStatus,
    /// True if it was ended because the client is gone.
    pub(super) is_cut_off: bool,
}

/// Runs kubectl to its end, and ends it if the client is cut off: a signal ends this process, or the output has
/// no reader.
pub(super) fn run_attached(mut kubectl: Command) -> anyhow::Result<AttachEnd> {
    let mut child = kubectl.spawn().map_err(|err| missing_program(&kubectl, &err))?;
    // After the start: a child would inherit the blocked signals.
    let passed = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];
    let signals = wait::signals(&passed).context("cannot wait for signals")?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no pid")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch kubectl")?;
    let output = stdout();
    let watched = [
        (pidfd.as_fd(), READ, SessionToken::Ended),
        (signals.as_fd(), READ, SessionToken::CutOff),
        (output.as_fd(), BROKEN, SessionToken::CutOff),
    ];
    let mut ready = Vec::new();
    while ready.is_empty() {
        ready = wait::wait(&watched, None)?;
    }
    let is_cut_off = !ready.iter().any(|token| matches!(token, SessionToken::Ended));
    if is_cut_off {
        child.kill().context("cannot end kubectl")?;
    }
    let status = child.wait().context("cannot wait for kubectl")?;
    // What follows may take long, and can be ended. A terminal that goes away may send several HUPs.
    wait::received(&signals);
    let ending: SigSet = passed.into_iter().filter(|signal| *signal != Signal::SIGHUP).collect();
    ending.thread_unblock().context("cannot unblock signals")?;
    Ok(AttachEnd { status, is_cut_off })
}
