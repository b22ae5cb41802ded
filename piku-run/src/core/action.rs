//! What the machine wants done.

use super::{AppRoute, InstanceId, InstanceName, JobId};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreAction {
    /// Start the process of an instance; answered at once by `Spawned` or `SpawnFailed`.
    Spawn {
        /// Which.
        id: InstanceId,
    },
    /// Run the release task; answered by `TaskEnded`.
    Task {
        /// Of which release.
        release: u64,
        /// For whom.
        job: JobId,
    },
    /// End the release task.
    KillTask,
    /// Ask an instance whether it is alive; answered by `Probed`. A question that is under way is over.
    Probe {
        /// Which.
        id: InstanceId,
    },
    /// Find out where an instance listens; answered by `Listens`.
    Diagnose {
        /// Which.
        id: InstanceId,
    },
    /// SIGTERM to the worker's group.
    Terminate {
        /// Which.
        id: InstanceId,
    },
    /// SIGKILL to everything it ever started.
    Kill {
        /// Which.
        id: InstanceId,
    },
    /// It is gone for good: its port is free, its record is void.
    Forget {
        /// Which.
        id: InstanceId,
    },
    /// An instance has become part of what the app is, or ready: worth writing down.
    Record {
        /// Which.
        id: InstanceId,
    },
    /// Send requests to what will be live, and make it so on disk (`current`, formation); answered by `Switched`.
    Switch {
        /// For whom.
        job: JobId,
        /// Where requests go from now on.
        route: AppRoute,
    },
    /// Send requests there, or nowhere; no answer. Comes before what they must no longer reach is told to end.
    Route(Option<AppRoute>),
    /// Find out when no request is under way to an instance that gets no new ones; answered by `Drained`.
    Drain {
        /// Which.
        id: InstanceId,
    },
    /// A line of progress.
    Say {
        /// To whom.
        job: JobId,
        /// The line.
        line: ProgressLine,
    },
    /// A remark in an instance's own log.
    Remark {
        /// Which; it may be forgotten by now.
        id: InstanceId,
        /// Its place, after which the log is named.
        ps: InstanceName,
        /// The text.
        text: String,
    },
    /// The command has ended.
    Done {
        /// Whose.
        job: JobId,
        /// How.
        result: Result<(), ChangeRefusal>,
    },
}

/// A line of talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgressLine {
    /// A step: `-----> …`.
    Step(String),
    /// A detail of the step before.
    Detail(String),
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRefusal {
    /// In words.
    pub reason: String,
    /// The instance whose last log lines tell more.
    pub blame: Option<InstanceId>,
    /// Whether the same command may succeed a little later.
    pub busy: bool,
}
