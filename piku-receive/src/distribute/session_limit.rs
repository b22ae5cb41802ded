//! Time limits of a request to another host.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::deploy::cancel;

/// Time limits of a request. The push holds the app's lock while it waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimeLimit {
    Whole(Duration),
    /// Without a byte in either direction, and for the whole request.
    Silence {
        silence: Duration,
        whole: Duration,
    },
}

/// Time without a byte in either direction after which a request that does work counts as lost: it may wait for another
/// push or for a silent release task.
const LONGEST_SILENCE: Duration = Duration::from_secs(3600);

impl TimeLimit {
    /// Returns the limit of a request that does work.
    pub(crate) fn of_work(whole: Duration) -> Self {
        Self::Silence { silence: LONGEST_SILENCE, whole }
    }

    /// Returns the limit, shortened to `left`.
    pub(super) fn at_most(self, left: Duration) -> Self {
        match self {
            Self::Whole(whole) => Self::Whole(whole.min(left)),
            Self::Silence { silence, whole } => Self::Silence { silence, whole: whole.min(left) },
        }
    }
}

/// Kills the process and its descendants at the limit and returns the reason; `None` if it ends earlier.
pub(super) fn kill_at_limit(pid: Pid, seen: &Receiver<()>, limit: TimeLimit) -> Option<String> {
    let (silence, whole, what) = match limit {
        TimeLimit::Whole(whole) => (whole, whole, "no response"),
        TimeLimit::Silence { silence, whole } => (silence, whole, "no end"),
    };
    let begin = Instant::now();
    loop {
        let left = whole.saturating_sub(begin.elapsed());
        match seen.recv_timeout(left.min(silence)) {
            Ok(()) if !left.is_zero() => {}
            Err(RecvTimeoutError::Disconnected) => return None,
            Ok(()) | Err(RecvTimeoutError::Timeout) => {
                cancel::kill_with_descendants(pid);
                return Some(if begin.elapsed() >= whole {
                    format!("{what} within {} s", whole.as_secs())
                } else {
                    format!("no data for {} s", silence.as_secs())
                });
            }
        }
    }
}
