//! State and resource usage of instances: the rows of `ps`.

use jiff::Timestamp;
use piku_chroot::report::LimitEnforcer;
use piku_layout::name::{AppName, ProcessName};
use piku_procfs::{ProcFields, process_tree};
use serde::{Deserialize, Serialize};

use crate::backup_plans::AppBackup;
use crate::core::InstanceName;
use crate::data_limit::DataUsage;

/// Sandbox of an instance without a jail.
pub(crate) const NO_SANDBOX: &str = "none";

/// An instance as `ps` prints it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceSample {
    pub(crate) app: AppName,
    /// Instance name: `web.1`.
    pub(crate) instance: String,
    /// Process type: `web`.
    #[serde(rename = "type")]
    pub(crate) kind: ProcessName,
    /// Current state.
    pub(crate) state: SampledState,
    /// Pid on the host of its first process.
    pub(crate) pid: Option<u32>,
    /// Port, for a type that listens.
    pub(crate) port: Option<u16>,
    /// Number of its release.
    pub(crate) release: Option<u64>,
    /// Age of its process in seconds.
    pub(crate) uptime_s: Option<u64>,
    /// Number of restarts after crashes.
    pub(crate) restarts: u32,
    /// Processor usage of its process tree since the previous `ps`, or since its start, in percent of one
    /// processor; more than 100 on several.
    pub(crate) cpu_percent: Option<f64>,
    /// Processor time that its process tree has used in seconds.
    #[serde(default)]
    pub(crate) cpu_seconds: Option<f64>,
    /// Memory of its process tree in bytes (PSS): a page shared by n processes counts 1/n for each. For a
    /// process that hides its maps, such as the jail's init, its anonymous memory.
    pub(crate) memory_bytes: Option<u64>,
    /// End of its previous process: `exit 1`, `signal 9`, `out of memory`. For log forwarding, the reason
    /// it fails.
    pub(crate) last_exit: Option<String>,
    /// Peak memory in bytes of the previous process and its descendants, if they exceeded their limit.
    #[serde(default)]
    pub(crate) last_memory_peak_bytes: Option<u64>,
    /// Protections in effect: `level 1, namespaces, …`, or `none`.
    #[serde(default)]
    pub(crate) sandbox: Option<String>,
    /// Limits that the app sets, and how they are enforced.
    #[serde(default)]
    pub(crate) limits: Vec<SampledLimit>,
    /// Next run of a cron type.
    #[serde(default)]
    pub(crate) next_run: Option<Timestamp>,
    /// Last run of a cron type.
    #[serde(default)]
    pub(crate) last_run: Option<Timestamp>,
    /// Begin of the last run of a cron type that ended with exit code 0.
    #[serde(default)]
    pub(crate) last_success: Option<Timestamp>,
    /// Other machines can reach one of its ports directly, bypassing nginx.
    #[serde(default)]
    pub(crate) listens_on_all: bool,
    /// Note for the operator, such as which process has taken its port.
    #[serde(default)]
    pub(crate) note: Option<String>,
    /// Node of the cluster on which it runs, for an app that runs in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// Paths of the machine that the app may use, each with the reason if it cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) grants: Vec<String>,
    /// State of the app's site, if it is unusual: `maintenance`, `certificate failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<String>,
    /// Last backup of the app by each plan of host.yaml.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) backups: Vec<AppBackup>,
    /// Size of the app's data, if `DATA_LIMIT` limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<DataUsage>,
}

impl InstanceSample {
    /// Returns true for a cron type whose last run failed.
    pub(crate) fn has_failed(&self) -> bool {
        let is_cron = self.next_run.is_some() || self.last_run.is_some();
        is_cron && self.last_exit.as_ref().is_some_and(|last| last != "exit 0")
    }

    /// Returns the row of an empty slot.
    pub(crate) fn empty_slot(app: &AppName, ps: &InstanceName) -> Self {
        Self {
            app: app.clone(),
            instance: ps.to_string(),
            kind: ps.kind.clone(),
            state: SampledState::Stopped,
            pid: None,
            port: None,
            release: None,
            uptime_s: None,
            restarts: 0,
            cpu_percent: None,
            cpu_seconds: None,
            memory_bytes: None,
            last_exit: None,
            last_memory_peak_bytes: None,
            sandbox: None,
            limits: Vec::new(),
            next_run: None,
            last_run: None,
            last_success: None,
            listens_on_all: false,
            note: None,
            node: None,
            grants: Vec::new(),
            site: None,
            backups: Vec::new(),
            data: None,
        }
    }
}

/// A resource limit of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SampledLimit {
    /// `memory`, `pids`, `cpu` or `nofile`.
    pub(crate) limit: String,
    /// Value as the app wrote it: `512m`.
    pub(crate) value: String,
    /// `cgroup` limits all processes together, `rlimit` each process alone; `None` if nothing enforces it.
    pub(crate) by: Option<LimitEnforcer>,
}

/// State of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SampledState {
    /// Its process runs but is not ready.
    Starting,
    /// Its last health check succeeded.
    Healthy,
    /// Runs; its type has no health check.
    Running,
    /// Replaced; it finishes its requests.
    Draining,
    /// Crashed; waits for its restart.
    Backoff,
    /// Crashes repeatedly.
    CrashLooping,
    /// Cron type between two runs.
    Waiting,
    /// The app was stopped.
    Stopped,
    /// Its supervisor does not respond.
    Unknown,
}

impl SampledState {
    /// Returns the name that `ps` prints.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Backoff => "backoff",
            Self::CrashLooping => "crash-looping",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }

    /// Returns whether a stop ends something: a process, or the next one after a crash.
    #[must_use]
    pub(crate) fn is_active(self) -> bool {
        !matches!(self, Self::Waiting | Self::Stopped | Self::Unknown)
    }
}

/// Adds the memory to the samples of running instances.
pub(crate) fn add_memory(instances: &mut [InstanceSample]) {
    for one in instances {
        // Pods of a cluster have no pid here, and are measured there.
        let Some(pid) = one.pid.and_then(|pid| i32::try_from(pid).ok()) else { continue };
        let tree = process_tree(pid);
        one.memory_bytes = (!tree.is_empty()).then(|| tree.into_iter().filter_map(memory_share).sum());
    }
}

/// Returns a process's share of memory in bytes; its anonymous memory if this user may not read its maps.
fn memory_share(pid: i32) -> Option<u64> {
    let share = ProcFields::read(pid, "smaps_rollup").and_then(|rollup| rollup.bytes("Pss"));
    share.or_else(|| ProcFields::read(pid, "status")?.bytes("RssAnon"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_both_outputs() {
        use SampledState::{
            Backoff, CrashLooping, Draining, Healthy, Running, Starting, Stopped, Unknown, Waiting,
        };
        for state in [Starting, Healthy, Running, Draining, Backoff, CrashLooping, Waiting, Stopped, Unknown]
        {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
