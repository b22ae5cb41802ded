//! What the machine wants done.

use super::{Id, Job, Ps, Route};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start the process of an instance; answered at once by `Spawned` or `SpawnFailed`.
    Spawn {
        /// Which.
        id: Id,
    },
    /// Run the release task; answered by `TaskEnded`.
    Task {
        /// Of which release.
        release: u64,
        /// For whom.
        job: Job,
    },
    /// End the release task.
    KillTask,
    /// Ask an instance whether it is alive; answered by `Probed`. A question that is under way is over.
    Probe {
        /// Which.
        id: Id,
    },
    /// Find out where an instance listens; answered by `Listens`.
    Diagnose {
        /// Which.
        id: Id,
    },
    /// SIGTERM to the worker's group.
    Terminate {
        /// Which.
        id: Id,
    },
    /// SIGKILL to everything it ever started.
    Kill {
        /// Which.
        id: Id,
    },
    /// It is gone for good: its port is free, its record is void.
    Forget {
        /// Which.
        id: Id,
    },
    /// An instance has become part of what the app is, or ready: worth writing down.
    Record {
        /// Which.
        id: Id,
    },
    /// Send requests to what will be live, and make it so on disk (`current`, formation); answered by `Switched`.
    Switch {
        /// For whom.
        job: Job,
        /// Where requests go from now on.
        route: Route,
    },
    /// Send requests there, or nowhere; no answer. Comes before what they must no longer reach is told to end.
    Route(Option<Route>),
    /// Find out when no request is under way to an instance that gets no new ones; answered by `Drained`.
    Drain {
        /// Which.
        id: Id,
    },
    /// A line of progress.
    Say {
        /// To whom.
        job: Job,
        /// The line.
        line: Line,
    },
    /// A remark in an instance's own log.
    Remark {
        /// Which; it may be forgotten by now.
        id: Id,
        /// Its place, after which the log is named.
        ps: Ps,
        /// The text.
        text: String,
    },
    /// The command has ended.
    Done {
        /// Whose.
        job: Job,
        /// How.
        result: Result<(), Refusal>,
    },
}

/// A line of talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A step: `-----> …`.
    Step(String),
    /// A detail of the step before.
    Detail(String),
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// The instance whose last log lines tell more.
    pub blame: Option<Id>,
    /// Whether the same command may succeed a little later.
    pub busy: bool,
}
