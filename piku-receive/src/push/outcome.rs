//! The outcome of a push: the exit code of the session, and the words for the audit log.

use std::fmt;

use crate::repository;

/// The outcome of a push, for the exit code and the audit log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// The deploy branch's tip is live.
    Deployed {
        /// Its commit.
        commit: String,
        /// Its release.
        number: u64,
    },
    /// It was live before, and nothing changed.
    Unchanged,
    /// Stored; nothing was to be deployed.
    Stored,
    /// A dry run: the plan was shown, nothing was stored.
    Planned,
    /// git or piku refused what was pushed, and has said why.
    Refused,
    /// There is no branch, and none came.
    Empty,
    /// The deploy failed.
    Failed {
        /// The commit.
        commit: String,
    },
    /// git's own program failed or was killed before anything was to be deployed.
    Broken {
        /// The exit status, in the words of [`std::process::ExitStatus`].
        how: String,
    },
}

impl PushOutcome {
    /// Returns the exit code of the session.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Deployed { .. } | Self::Unchanged | Self::Stored | Self::Planned | Self::Empty => 0,
            Self::Refused | Self::Failed { .. } | Self::Broken { .. } => 1,
        }
    }
}

impl fmt::Display for PushOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployed { commit, number } => {
                write!(f, "deployed {} as release {number}", repository::short_commit(commit))
            }
            Self::Unchanged => f.write_str("unchanged"),
            Self::Stored => f.write_str("stored"),
            Self::Planned => f.write_str("planned"),
            Self::Refused => f.write_str("refused"),
            Self::Empty => f.write_str("empty"),
            Self::Failed { commit } => write!(f, "failed {}", repository::short_commit(commit)),
            Self::Broken { how } => write!(f, "broken: {how}"),
        }
    }
}
