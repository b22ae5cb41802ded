//! An instance, such as `web.1` of one release, and its state.

use std::fmt;
use std::time::Duration;

use piku_files::free_space::size;
use serde::{Deserialize, Serialize};

use super::backoff::{CrashBackoff, STABLE};
use super::plan::{ProbePace, RunPlan, TrialRule};
use super::ps::InstanceName;
use super::startup::StartupWatch;

/// Identifies an instance; the old and the new `web.1` of a deploy have different ids. An id is not used
/// again while anything of its instance is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct InstanceId(pub(crate) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessExit {
    /// Exit code. A jail reports signal n as 128 + n.
    Code(i32),
    /// Number of the signal that ended it.
    Signal(i32),
    /// The kernel killed the whole jail because it exceeded its memory limit.
    OutOfMemory {
        /// Peak memory of the jail in bytes, if it was counted.
        peak: Option<u64>,
    },
    /// Unknown: the process was started by a previous supervisor.
    Unknown,
}

impl ProcessExit {
    #[must_use]
    pub(crate) fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Returns the exit code that a shell would report.
    #[must_use]
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::OutOfMemory { .. } => 137,
            Self::Unknown => 1,
        }
    }
}

impl fmt::Display for ProcessExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            |signal: i32| nix::sys::signal::Signal::try_from(signal).map(nix::sys::signal::Signal::as_str);
        match *self {
            Self::Code(code) => match name(code - 128) {
                Ok(name) => write!(f, "exited with code {code} ({name})"),
                Err(_) => write!(f, "exited with code {code}"),
            },
            Self::Signal(signal) => write!(f, "was ended by {}", name(signal).unwrap_or("an unknown signal")),
            Self::OutOfMemory { peak: Some(peak) } => write!(f, "ran out of memory at {}", size(peak)),
            Self::OutOfMemory { peak: None } => f.write_str("ran out of memory"),
            Self::Unknown => f.write_str("ended"),
        }
    }
}

/// Result of a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    /// The response has an accepted status.
    Alive,
    /// The response has a status from 400 to 499, which is accepted.
    ClientError(ClientErrorReply),
    /// The response has this status, which is not accepted.
    Http(u16),
    /// The connection was closed before the response was complete.
    Closed,
    /// The response is not HTTP.
    NotHttp,
    /// The connection was refused, or the listener was gone before it could be checked.
    Refused,
    /// No response within the time limit.
    Silent,
    /// The connection failed for another reason.
    Failed(String),
}

/// A response to a health check that is accepted although it refuses the request, as that of an API without a
/// page at `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientErrorReply {
    /// 400 to 499.
    pub(crate) status: u16,
    /// It refuses the host name of the request.
    pub(crate) refuses_host: bool,
}

impl ClientErrorReply {
    /// Returns the end of the line that says that an instance is ready.
    pub(super) fn describe(self, plan: &RunPlan) -> String {
        let host = "; Django's ALLOWED_HOSTS lacks that name (HEALTHCHECK_HOST in ENV sets another)";
        let host = if self.refuses_host { host } else { "" };
        format!(": it answers {} to {}{host}", self.status, plan.asked)
    }
}

/// Stage of an instance's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InstanceState {
    /// Its process runs or is about to, and is not ready.
    Starting {
        since: Duration,
        /// Time of the next health check; `None` while one is in progress or none is made.
        ask: Option<Duration>,
        /// Deadline of the health check in progress. Its connection stays open until the next one.
        patience: Option<Duration>,
        /// The readiness notification is still missing.
        unannounced: bool,
        /// Time at which a process without health check counts as ready.
        settled: Option<Duration>,
        last: Option<ProbeOutcome>,
        /// Its time is up, and the ports on which it listens are being looked up.
        diagnosed: bool,
    },
    Ready {
        since: Duration,
    },
    /// The run of a cron type, finished when its process ends.
    CronRun {
        since: Duration,
    },
    /// Crashed; waits for its next start.
    Backoff {
        until: Duration,
    },
    /// Gets no new requests and finishes those it has.
    Draining {
        until: Duration,
        /// The executor has been asked to report the end of its requests.
        asked: bool,
    },
    /// Terminated to be started again on another port, since another process has taken its port.
    Moving {
        /// Time of SIGKILL.
        kill: Duration,
    },
    /// Terminated with SIGTERM.
    Stopping {
        /// Time of SIGKILL.
        kill: Duration,
    },
    /// Its processes were sent SIGKILL.
    Killing,
}

#[derive(Debug, Clone)]
pub(crate) struct AppInstance {
    pub(crate) ps: InstanceName,
    pub(crate) release: u64,
    /// Gets `PORT` and must listen there.
    pub(crate) must_listen: bool,
    /// Port that it must get; see [`ProcessType::pinned`](super::ProcessType::pinned).
    pub(crate) pinned: Option<u16>,
    /// Consequence of its end while it is on trial.
    pub(crate) trial: TrialRule,
    pub(crate) pace: ProbePace,
    /// `None` until one is chosen.
    pub(crate) port: Option<u16>,
    /// Port to which requests are sent. After a crash, the port of the previous process until the new one
    /// is ready.
    pub(crate) routed: Option<u16>,
    /// Number of ports in a row that it lost to other processes.
    pub(crate) port_moves: u32,
    /// Live: neither on trial nor leaving.
    pub(crate) live: bool,
    pub(crate) state: InstanceState,
    /// After crashes.
    pub(crate) restarts: u32,
    pub(crate) last_exit: Option<ProcessExit>,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    pub(super) backoff: CrashBackoff,
    pub(super) watch: StartupWatch,
}

impl AppInstance {
    /// Returns whether the instance is being stopped.
    #[must_use]
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(
            self.state,
            InstanceState::Draining { .. } | InstanceState::Stopping { .. } | InstanceState::Killing
        )
    }

    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, InstanceState::Ready { .. })
    }

    /// Returns whether a change has to wait for it: until it has stayed up, listens or has notified. A worker
    /// that has ended on trial, and did not fail the change, is not waited for.
    pub(super) fn is_settled(&self) -> bool {
        self.is_up() || self.is_retried()
    }

    /// Returns whether it is a worker that has ended on trial and was started again, of which progress says
    /// no more.
    pub(super) fn is_retried(&self) -> bool {
        self.trial != TrialRule::MustBeReady && self.last_exit.is_some()
    }

    /// Returns whether its readiness takes more than staying up.
    pub(super) fn must_be_ready(&self) -> bool {
        self.must_listen || self.pace.announced
    }

    /// Returns whether it becomes ready once it has nothing to do.
    pub(super) fn is_settling(&self) -> bool {
        matches!(self.state, InstanceState::Starting { settled: Some(_), .. }) && self.pace.uptime.is_none()
    }

    /// Returns whether the instance has still to become ready.
    #[must_use]
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.state, InstanceState::Starting { .. })
    }

    /// Returns the start time of its process, if one runs.
    #[must_use]
    pub(crate) fn running_since(&self) -> Option<Duration> {
        match self.state {
            InstanceState::Starting { since, .. }
            | InstanceState::Ready { since }
            | InstanceState::CronRun { since } => Some(since),
            _ => None,
        }
    }

    #[must_use]
    pub(crate) fn is_crash_looping(&self) -> bool {
        self.backoff.is_loop()
    }

    /// Returns `healthy` for an instance with a health check, `running` for any other.
    pub(super) fn ready_label(&self) -> &'static str {
        if self.must_listen { "healthy" } else { "running" }
    }

    /// Returns the next deadline of the instance. `limit` is the time in which an instance on trial must
    /// become ready.
    pub(super) fn next_deadline(&self, limit: Duration) -> Option<Duration> {
        match self.state {
            InstanceState::Starting { since, ask, patience, settled, diagnosed, .. } => {
                let limit = (!self.live && !diagnosed && self.must_be_ready()).then_some(since + limit);
                let is_looked_at = limit.is_some() || !self.live && self.is_settling();
                let look = self.watch.next.filter(|_| is_looked_at);
                [ask, patience, settled, limit, look].into_iter().flatten().min()
            }
            InstanceState::Backoff { until } | InstanceState::Draining { until, .. } => Some(until),
            InstanceState::Stopping { kill } | InstanceState::Moving { kill } => Some(kill),
            InstanceState::Ready { since } => self.is_crash_looping().then_some(since + STABLE),
            InstanceState::CronRun { .. } | InstanceState::Killing => None,
        }
    }

    /// Returns whether it has been up for so long that its crash loop has ended.
    pub(super) fn has_recovered(&self, now: Duration) -> bool {
        let is_stable = matches!(self.state, InstanceState::Ready { since } if since + STABLE <= now);
        is_stable && self.is_crash_looping()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_a_sentence() {
        assert_eq!(ProcessExit::Code(1).to_string(), "exited with code 1");
        assert_eq!(ProcessExit::Code(137).to_string(), "exited with code 137 (SIGKILL)");
        assert_eq!(ProcessExit::Signal(11).to_string(), "was ended by SIGSEGV");
        let told = |peak| ProcessExit::OutOfMemory { peak }.to_string();
        assert_eq!(told(None), "ran out of memory");
        assert_eq!(told(Some(64 << 20)), "ran out of memory at 64.0 MiB");
        assert_eq!(ProcessExit::Unknown.to_string(), "ended");
        assert_eq!(ProcessExit::Signal(9).code(), 137);
    }
}
