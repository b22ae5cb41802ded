//! Actions that the state machine requests.

use super::{AppRoute, InstanceId, InstanceName, JobId};

/// An action for the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CoreAction {
    /// Start the process of an instance. Answered at once by `Spawned` or `SpawnFailed`.
    Spawn { id: InstanceId },
    /// Run the release task. Answered by `TaskEnded`.
    RunTask { release: u64, job: JobId },
    /// Kill the release task.
    KillTask,
    /// Start a health check, replacing one in progress. Answered by `Probed`.
    Probe { id: InstanceId },
    /// Look at the processes of an instance that is not ready. Answered by `Observed`.
    Observe { id: InstanceId },
    /// Send SIGTERM to the process group of an instance.
    Terminate { id: InstanceId },
    /// Send SIGKILL to all processes of an instance.
    Kill { id: InstanceId },
    /// Remove an instance that has ended: release its port and delete its record.
    Forget { id: InstanceId },
    /// Write the record of an instance, which has become live or ready.
    Record { id: InstanceId },
    /// Send requests to the new instances and make the change live on disk (`current`, formation). Answered
    /// by `Switched`.
    Switch { job: JobId, route: AppRoute },
    /// Send requests to this route, or to none. Precedes the termination of instances that leave the route.
    Route(Option<AppRoute>),
    /// Wait until an instance that gets no new requests has finished its last one. Answered by `Drained`.
    Drain { id: InstanceId },
    /// Send a line of progress to the client.
    ReportProgress { job: JobId, line: ProgressLine },
    /// Write a remark to the log of an instance.
    LogRemark {
        /// May have been forgotten by now.
        id: InstanceId,
        /// Names the log.
        ps: InstanceName,
        text: String,
    },
    /// Tell the machine's journal that the crash loop of an instance has begun or ended.
    ReportCrashLoop { ps: InstanceName, release: u64, has_begun: bool },
    /// Send the result of a change to the client.
    FinishJob { job: JobId, result: Result<(), ChangeError> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProgressLine {
    /// A step, printed as `-----> …`.
    Step(String),
    /// A detail of the previous step.
    Detail(String),
    /// A detail, followed by the last log line of an instance and by `rest`.
    WithLog { id: InstanceId, text: String, rest: String },
}

/// Reason for which a change failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeError {
    /// Message without the app's name.
    pub(crate) reason: String,
    /// Instance whose last log lines explain the failure.
    pub(crate) culprit: Option<InstanceId>,
    /// Ways out.
    pub(crate) hints: Vec<String>,
    /// The same command may succeed a little later.
    pub(crate) is_retryable: bool,
}

impl ChangeError {
    /// Returns an error without a culprit, which the same command meets again.
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), culprit: None, hints: Vec::new(), is_retryable: false }
    }
}
