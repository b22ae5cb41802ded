//! Outcome of a push: the exit code of the session and the text in the audit log.

use std::fmt;

use piku_layout::git_history::short_commit;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// The tip of the deploy branch is live.
    Deployed {
        commit: String,
        number: u64,
    },
    /// The commit was live before the push.
    Unchanged,
    /// Refs were stored that are not deployed.
    Stored,
    /// The plan of a dry run was printed.
    Planned,
    /// git or piku refused the push and printed the reason.
    Refused,
    /// Nothing was pushed, and the app has no branch.
    Empty,
    Failed {
        commit: String,
    },
    /// `git receive-pack` failed before a deploy was due.
    Broken {
        how: String,
    },
}

impl PushOutcome {
    /// Returns the exit code of the session.
    pub(crate) fn exit_code(&self) -> u8 {
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
                write!(f, "deployed {} as release {number}", short_commit(commit))
            }
            Self::Unchanged => f.write_str("unchanged"),
            Self::Stored => f.write_str("stored"),
            Self::Planned => f.write_str("planned"),
            Self::Refused => f.write_str("refused"),
            Self::Empty => f.write_str("empty"),
            Self::Failed { commit } => write!(f, "failed {}", short_commit(commit)),
            Self::Broken { how } => write!(f, "broken: {how}"),
        }
    }
}
