//! What an app should be: one release, and how many of each of its process types.

use std::time::Duration;

use piku_layout::name::ProcessName;

use super::ps::InstanceName;

/// One process type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessType {
    /// Its name.
    pub name: ProcessName,
    /// How many instances.
    pub count: u32,
    /// Whether each gets a PORT and must answer there. The others must stay up.
    pub listens: bool,
    /// Whether old and new may run side by side. What listens always may.
    pub overlap: bool,
    /// Whether each says by itself when it is ready (`NOTIFY_SOCKET`). One that listens is asked from then on.
    pub notifies: bool,
}

/// How often and how patiently a new instance is asked whether it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbePace {
    /// From one answer to the next question; where nothing is set, short at first and longer and longer.
    pub interval: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Whether it is asked only once it has said by itself that it is ready.
    pub announced: bool,
}

impl Default for ProbePace {
    fn default() -> Self {
        Self { interval: None, timeout: Duration::from_secs(30), announced: false }
    }
}

/// What should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlan {
    /// The release.
    pub release: u64,
    /// Its types, in the Procfile's order.
    pub types: Vec<ProcessType>,
    /// Its cron types, with their schedules.
    pub crons: Vec<(ProcessName, String)>,
    /// How long a new instance may take until it is ready.
    pub ready_within: Duration,
    /// How it is asked meanwhile.
    pub pace: ProbePace,
    /// How long an instance has from SIGTERM to SIGKILL.
    pub grace: Duration,
    /// The question of the health check, in words: `GET /health`.
    pub asked: String,
}

/// How long what is not asked over HTTP must stay up to count as ready.
pub const SETTLE: Duration = Duration::from_secs(1);

impl RunPlan {
    /// The place's type, where the plan has such a place.
    #[must_use]
    pub fn place(&self, ps: &InstanceName) -> Option<&ProcessType> {
        self.types.iter().find(|kind| kind.name == ps.kind && (1..=kind.count).contains(&ps.index))
    }

    /// All places, in order.
    pub fn places(&self) -> impl Iterator<Item = (InstanceName, &ProcessType)> {
        self.types.iter().flat_map(|kind| {
            (1..=kind.count).map(move |index| (InstanceName { kind: kind.name.clone(), index }, kind))
        })
    }
}
