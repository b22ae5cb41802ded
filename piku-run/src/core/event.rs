//! What happens to the machine.

use std::time::Duration;

use piku_layout::name::ProcessName;

use super::{InstanceId, InstanceName, JobId, ProbeOutcome, ProcessExit, ReplaceScope, RunPlan};

/// What happened.
#[derive(Debug, Clone)]
pub enum CoreEvent {
    /// The beginning, once: what should run, and what was found running.
    Boot {
        /// What should run; nothing when there is no release yet or the app was stopped.
        plan: Option<RunPlan>,
        /// The living workers of the supervisor before this one.
        found: Vec<FoundWorker>,
    },
    /// A deploy, restart or scaling is asked for.
    Change {
        /// Who asks.
        job: JobId,
        /// What should run afterwards.
        plan: RunPlan,
        /// Which of the running instances give way.
        replace: ReplaceScope,
        /// Whether the release has a task to run first.
        task: bool,
    },
    /// Everything is to end and stay ended.
    Stop {
        /// Who asks.
        job: JobId,
    },
    /// The process of an instance was started.
    Spawned {
        /// Which.
        id: InstanceId,
        /// Its port, where it has one.
        port: Option<u16>,
    },
    /// It could not be started.
    SpawnFailed {
        /// Which.
        id: InstanceId,
        /// Why, in words.
        reason: String,
    },
    /// The process of an instance, and everything it had started, has ended.
    Exited {
        /// Which.
        id: InstanceId,
        /// How.
        exit: ProcessExit,
    },
    /// The answer to [`super::Action::Probe`].
    Probed {
        /// Which.
        id: InstanceId,
        /// What it told.
        outcome: ProbeOutcome,
    },
    /// Somebody else listens on the port of an instance, beside it or in its place. Comes before `Exited` where that was why
    /// it ended.
    PortTaken {
        /// The instance whose port it was.
        id: InstanceId,
        /// The process that has it, in words.
        by: String,
    },
    /// The port of an instance whose process has ended by itself cannot be held: by connections that have not ended yet, or by
    /// somebody who does not show himself. Comes before `Exited`.
    PortLost {
        /// The instance that lost its port.
        id: InstanceId,
        /// The connections or the process that have it, in words.
        by: String,
    },
    /// An instance has said that it is ready.
    Notified {
        /// Which.
        id: InstanceId,
    },
    /// The answer to [`super::Action::Diagnose`].
    Listens {
        /// Which.
        id: InstanceId,
        /// The ports that its processes listen on.
        ports: Vec<u16>,
    },
    /// The answer to [`super::Action::Task`]; an error when it could not be started.
    TaskEnded(Result<ProcessExit, String>),
    /// The answer to [`super::Action::Switch`].
    Switched(Result<(), String>),
    /// The answer to [`super::Action::Drain`].
    Drained {
        /// Which.
        id: InstanceId,
    },
    /// The time of a cron type has come.
    Due {
        /// Which.
        kind: ProcessName,
    },
    /// Nothing but that time has passed.
    Tick,
}

/// A living worker that was found.
#[derive(Debug, Clone)]
pub struct FoundWorker {
    /// Its id.
    pub id: InstanceId,
    /// The place it fills.
    pub ps: InstanceName,
    /// Its release.
    pub release: u64,
    /// Its port.
    pub port: Option<u16>,
    /// Whether it was part of what the app is.
    pub live: bool,
    /// Whether it was ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// For how long it has run.
    pub uptime: Duration,
    /// Whether it is a cron's run.
    pub once: bool,
}
