//! Events that the state machine handles.

use std::time::Duration;

use piku_layout::name::ProcessName;

use super::{
    InstanceId, InstanceName, JobId, ProbeOutcome, ProcessExit, ReplaceScope, RunPlan, StartObservation,
};

#[derive(Debug, Clone)]
pub(crate) enum CoreEvent {
    /// First event: the plan, and the workers that already run.
    Boot {
        /// `None` if the app has no release or was stopped.
        plan: Option<RunPlan>,
        /// Running workers of the previous supervisor.
        found: Vec<FoundWorker>,
    },
    /// Request for a deploy, restart or scaling.
    Change {
        job: JobId,
        /// Plan that becomes live.
        plan: RunPlan,
        /// Running instances to replace.
        replace: ReplaceScope,
        /// The release has a task to run first.
        task: bool,
    },
    /// Request to stop all instances.
    Stop { job: JobId },
    /// The process of an instance has started.
    Spawned { id: InstanceId, port: Option<u16> },
    /// The process of an instance could not be started.
    SpawnFailed { id: InstanceId, reason: String },
    /// The first process of an instance has ended; [`CoreEvent::Exited`] follows when all have.
    Ending { id: InstanceId },
    /// All processes of an instance have ended.
    Exited { id: InstanceId, exit: ProcessExit },
    /// Result of [`CoreAction::Probe`](super::action::CoreAction::Probe).
    Probed { id: InstanceId, outcome: ProbeOutcome },
    /// Another process listens on the port of an instance. Precedes `Exited` if that ended the instance.
    PortTaken {
        id: InstanceId,
        /// Description of that process.
        by: String,
    },
    /// The port of a crashed instance cannot be reserved, because old connections or a hidden process hold
    /// it. Precedes `Exited`.
    PortLost {
        id: InstanceId,
        /// Description of what holds the port.
        by: String,
    },
    /// An instance has sent `READY=1`.
    Notified { id: InstanceId },
    /// Result of [`CoreAction::Observe`](super::action::CoreAction::Observe).
    Observed { id: InstanceId, seen: StartObservation },
    /// Result of [`CoreAction::RunTask`](super::action::CoreAction::RunTask); an error if the task could not
    /// be started.
    TaskEnded(Result<ProcessExit, String>),
    /// Result of [`CoreAction::Switch`](super::action::CoreAction::Switch).
    Switched(Result<(), String>),
    /// Result of [`CoreAction::Drain`](super::action::CoreAction::Drain).
    Drained { id: InstanceId },
    /// A cron type is due.
    CronDue { kind: ProcessName },
    /// Time has passed.
    Tick,
}

/// A running worker of the previous supervisor.
#[derive(Debug, Clone)]
pub(crate) struct FoundWorker {
    pub(crate) id: InstanceId,
    pub(crate) ps: InstanceName,
    pub(crate) release: u64,
    pub(crate) port: Option<u16>,
    /// Part of the live release, not on trial.
    pub(crate) live: bool,
    pub(crate) ready: bool,
    /// Number of restarts after crashes.
    pub(crate) restarts: u32,
    pub(crate) uptime: Duration,
    /// Run of a cron type, which starts only once.
    pub(crate) once: bool,
}
