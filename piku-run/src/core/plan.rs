//! Desired state of an app: a release, and the number of instances of each process type.

use std::time::Duration;

use piku_layout::name::ProcessName;

use super::ps::InstanceName;

/// A process type and its formation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessType {
    pub(crate) name: ProcessName,
    /// Number of instances.
    pub(crate) count: u32,
    /// Its instances get `PORT` and must answer there. Instances of other types only have to stay up.
    pub(crate) must_listen: bool,
    /// Port that its only instance always gets (`PORT` in `ENV` or the config).
    pub(crate) pinned: Option<u16>,
    /// Old and new instances may run side by side; always true for types that listen.
    pub(crate) overlap: bool,
    /// Its instances notify their readiness (`NOTIFY_SOCKET`). Types that listen also get health checks,
    /// from then on.
    pub(crate) notifies: bool,
    pub(crate) trial: TrialRule,
}

/// Consequence for a change if an instance on trial ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TrialRule {
    /// The change fails. Types that listen or notify.
    #[default]
    MustBeReady,
    /// The change fails unless the process succeeded. Workers of an app of which nothing listens.
    MustNotFail,
    /// The end is reported, and the process is started again as after any crash. Workers beside a type that
    /// listens.
    Reported,
}

/// Interval and time limit of the health checks of a starting instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProbePace {
    /// Time between two checks; if unset, short at first and then longer.
    pub(crate) interval: Option<Duration>,
    /// Time limit of one check.
    pub(crate) timeout: Duration,
    /// Checks begin only after the readiness notification.
    pub(crate) announced: bool,
    /// Time for which a process without health check must stay up to count as ready; if unset, until it has
    /// nothing to do, [`SETTLE`] at most.
    pub(crate) uptime: Option<Duration>,
}

impl Default for ProbePace {
    fn default() -> Self {
        Self { interval: None, timeout: Duration::from_secs(30), announced: false, uptime: None }
    }
}

/// A release and its process types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunPlan {
    pub(crate) release: u64,
    /// In the order of the Procfile.
    pub(crate) types: Vec<ProcessType>,
    /// Cron types and their schedules.
    pub(crate) crons: Vec<(ProcessName, String)>,
    /// Time limit for a new instance to become ready.
    pub(crate) ready_within: Duration,
    pub(crate) pace: ProbePace,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    /// The request of the health check, for messages: `GET /health (Host: blog.example.org)`.
    pub(crate) asked: String,
    /// Accepted responses, for messages: `2xx or 3xx`.
    pub(crate) expected: &'static str,
    /// Ports that the app declares beside `PORT`.
    pub(crate) listen_ports: Vec<u16>,
    /// Name of the app, for messages.
    pub(crate) app: String,
}

/// Time for which a busy process without health check must stay up to count as ready.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

impl RunPlan {
    /// Returns the process type of a slot, if the plan has that slot.
    #[must_use]
    pub(crate) fn type_of_slot(&self, ps: &InstanceName) -> Option<&ProcessType> {
        self.types.iter().find(|kind| kind.name == ps.kind && (1..=kind.count).contains(&ps.index))
    }

    /// Returns whether a process of the release runs now or at some time.
    #[must_use]
    pub(crate) fn has_processes(&self) -> bool {
        self.slots().next().is_some() || !self.crons.is_empty()
    }

    /// Iterates over all slots in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (InstanceName, &ProcessType)> {
        self.types.iter().flat_map(|kind| {
            (1..=kind.count).map(move |index| (InstanceName { kind: kind.name.clone(), index }, kind))
        })
    }
}
