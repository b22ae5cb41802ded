//! Problems of the machine and its apps, of which piku notifies the operator.

use piku_layout::name::AppName;
use serde::{Deserialize, Serialize};

/// Kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProblemKind {
    DeployFailed,
    CrashLoop,
    CronFailed,
    Certificate,
    Disk,
    BackupFailed,
    BackupOverdue,
    DataLimit,
    /// Notifications beyond the limit.
    LeftOut,
    /// `notify:test`.
    Test,
}

impl ProblemKind {
    /// Returns its name in notifications.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::DeployFailed => "deploy-failed",
            Self::CrashLoop => "crash-loop",
            Self::CronFailed => "cron-failed",
            Self::Certificate => "certificate",
            Self::Disk => "disk",
            Self::BackupFailed => "backup-failed",
            Self::BackupOverdue => "backup-overdue",
            Self::DataLimit => "data-limit",
            Self::LeftOut => "left-out",
            Self::Test => "test",
        }
    }
}

/// A problem that exists now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostProblem {
    pub(crate) kind: ProblemKind,
    /// `None` for one of the machine.
    pub(crate) app: Option<AppName>,
    /// Distinguishes problems of the same kind: a process type, the number of a deploy.
    pub(crate) subject: String,
    /// A single line without secrets.
    pub(crate) text: String,
}
