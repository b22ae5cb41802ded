//! One instance, such as `web.1` of one release: what it is and what state it is in.

use std::fmt;
use std::time::Duration;

use piku_files::free_space::size;
use serde::{Deserialize, Serialize};

use super::backoff::CrashBackoff;
use super::plan::ProbePace;
use super::ps::InstanceName;

/// Tells instances apart, also the old and the new `web.1` of a deploy. Not used again while anything of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(pub u64);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessExit {
    /// By itself, with this code. 128+n is how a jail's monitor passes on that signal n ended its worker.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// All of its jail at once, by the kernel: it had used up its memory.
    OutOfMemory {
        /// The most that it had, as a whole, in bytes, where that was counted.
        peak: Option<u64>,
    },
    /// Nobody was there to be told: it was taken over from a supervisor that died.
    Unknown,
}

impl ProcessExit {
    /// Whether it is what a program that has done its work says.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The code a shell would report.
    #[must_use]
    pub fn code(self) -> i32 {
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

/// What asking an instance whether it is alive has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It answered as a healthy app does.
    Alive,
    /// It answered, with a status that is not good enough.
    Http(u16),
    /// It accepted the connection and closed it without a whole answer.
    Closed,
    /// It accepted the connection and said something that is not HTTP.
    NotHttp,
    /// Nothing listens there.
    Refused,
    /// It took longer to answer than it may.
    Silent,
    /// The connection broke in some other way.
    Failed(String),
}

/// Where an instance is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceState {
    /// Its process runs, or is about to, and is not ready yet.
    Starting {
        /// Since when.
        since: Duration,
        /// When to ask next; nothing while a question is under way or where none is asked.
        ask: Option<Duration>,
        /// Until when the answer to the question under way is in time. The question itself stays open until the next one.
        patience: Option<Duration>,
        /// Whether it has yet to say that it is ready.
        unannounced: bool,
        /// When it counts as ready because it stayed up: plain workers.
        settled: Option<Duration>,
        /// What the last question told.
        last: Option<ProbeOutcome>,
        /// Its time is up and what it listens on instead is being looked up.
        diagnosed: bool,
    },
    /// Ready.
    Up {
        /// Since when its process runs.
        since: Duration,
    },
    /// A cron's run is under way. When its process ends it is over.
    Once {
        /// Since when.
        since: Duration,
    },
    /// Crashed, and waiting to be started again.
    Waiting {
        /// Until when.
        until: Duration,
    },
    /// It gets no new requests, and goes on with those that it has.
    Draining {
        /// When the patience with them is over.
        until: Duration,
        /// Whether somebody looks for their end.
        asked: bool,
    },
    /// Asked to end, to be started again on another port: somebody else listens on its own.
    Moving {
        /// When its patience is over.
        kill: Duration,
    },
    /// Asked to end.
    Stopping {
        /// When its patience is over.
        kill: Duration,
    },
    /// Everything it started is being killed.
    Killing,
}

/// One instance.
#[derive(Debug, Clone)]
pub struct AppInstance {
    /// The place it fills.
    pub ps: InstanceName,
    /// The release it runs.
    pub release: u64,
    /// Whether it gets a PORT.
    pub listens: bool,
    /// How it is asked whether it is alive.
    pub pace: ProbePace,
    /// The port that it listens on; nothing while another is to be found.
    pub port: Option<u16>,
    /// The port that requests are sent to, or were. After a crash that of the process before, until the new one is ready.
    pub routed: Option<u16>,
    /// The number of times in a row that it had to leave a port to somebody else.
    pub moves: u32,
    /// Whether it is part of what the app is, or still on trial (or on its way out).
    pub live: bool,
    /// Where it is in its life.
    pub state: InstanceState,
    /// How often it was started again after a crash.
    pub restarts: u32,
    /// How it ended last time.
    pub last_exit: Option<ProcessExit>,
    /// How long it has from SIGTERM to SIGKILL.
    pub grace: Duration,
    pub(super) backoff: CrashBackoff,
}

impl AppInstance {
    /// Whether it is on its way out.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        matches!(
            self.state,
            InstanceState::Draining { .. } | InstanceState::Stopping { .. } | InstanceState::Killing
        )
    }

    /// Whether it is ready.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, InstanceState::Up { .. })
    }

    /// Whether it has yet to show that it is ready.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        matches!(self.state, InstanceState::Starting { .. })
    }

    /// Since when its process runs, where it does.
    #[must_use]
    pub fn since(&self) -> Option<Duration> {
        match self.state {
            InstanceState::Starting { since, .. }
            | InstanceState::Up { since }
            | InstanceState::Once { since } => Some(since),
            _ => None,
        }
    }

    /// Whether it crashes again and again.
    #[must_use]
    pub fn is_crash_looping(&self) -> bool {
        self.backoff.is_loop()
    }

    /// What it is called once it is ready: only what answers is known to be healthy.
    pub(super) fn ready_word(&self) -> &'static str {
        if self.listens { "healthy" } else { "running" }
    }

    /// When something is due without anything happening. `limit` is how long it may take to get ready, for one on trial.
    pub(super) fn deadline(&self, limit: Duration) -> Option<Duration> {
        match self.state {
            InstanceState::Starting { since, ask, patience, settled, diagnosed, .. } => {
                let limit = (!self.live && !diagnosed).then_some(since + limit);
                [ask, patience, settled, limit].into_iter().flatten().min()
            }
            InstanceState::Waiting { until } | InstanceState::Draining { until, .. } => Some(until),
            InstanceState::Stopping { kill } | InstanceState::Moving { kill } => Some(kill),
            InstanceState::Up { .. } | InstanceState::Once { .. } | InstanceState::Killing => None,
        }
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
