//! What an instance is doing and what it uses: one row of `ps`.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use piku_chroot::report::LimitEnforcer;
use piku_layout::name::{AppName, ProcessName};
use piku_procfs::{ProcFields, ProcessStat, process_tree};
use serde::{Deserialize, Serialize};

/// The sandbox of an instance whose release was built without a jail.
pub const NO_SANDBOX: &str = "none";

/// Interval over which processor time is measured.
const INTERVAL: Duration = Duration::from_millis(200);

/// One instance, as `ps` tells it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceSample {
    /// Whose instance.
    pub app: AppName,
    /// Its name: `web.1`.
    pub instance: String,
    /// Its process type: `web`.
    #[serde(rename = "type")]
    pub kind: ProcessName,
    /// What it does.
    pub state: SampledState,
    /// Its process on the host, while there is one.
    pub pid: Option<u32>,
    /// Its port, for a type that listens.
    pub port: Option<u16>,
    /// The release it runs.
    pub release: Option<u64>,
    /// Seconds since its process was started.
    pub uptime_s: Option<u64>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u32,
    /// Of one processor, for the whole process tree, over the last moments; more than 100 on several.
    pub cpu_percent: Option<f64>,
    /// Of the whole process tree, in bytes: its share of the pages in memory (PSS).
    pub memory_bytes: Option<u64>,
    /// How its last process ended: `exit 1`, `signal 9`, `out of memory`. Of the drain of the logs, why it cannot send them.
    pub last_exit: Option<String>,
    /// How much memory that process and all that it had started had at most, in bytes, where it ran out of it.
    #[serde(default)]
    pub last_memory_peak_bytes: Option<u64>,
    /// What holds around it: `level 1, namespaces, …`, or `none`.
    #[serde(default)]
    pub sandbox: Option<String>,
    /// What the app has limited it to, and what holds it to that.
    #[serde(default)]
    pub limits: Vec<SampledLimit>,
    /// When a cron type runs next.
    #[serde(default)]
    pub next_run: Option<Timestamp>,
    /// When it was last started.
    #[serde(default)]
    pub last_run: Option<Timestamp>,
    /// True if other machines reach one of its ports, past nginx.
    #[serde(default)]
    pub listens_on_all: bool,
    /// A note for its operator, such as who has taken a port of it.
    #[serde(default)]
    pub note: Option<String>,
}

/// A limit of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampledLimit {
    /// `memory`, `pids`, `cpu` or `nofile`.
    pub limit: String,
    /// As the app has written it: `512m`.
    pub value: String,
    /// `cgroup`: all of its processes together; `rlimit`: each alone; nothing: nobody.
    pub by: Option<LimitEnforcer>,
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SampledState {
    /// Its process runs and is not ready yet.
    Starting,
    /// It answers.
    Healthy,
    /// It runs; nobody asks it for more.
    Running,
    /// A newer one has taken its place; it ends its work.
    Draining,
    /// It ended and waits to be started again.
    Backoff,
    /// It ends again and again.
    CrashLooping,
    /// A cron type between its runs.
    Waiting,
    /// Nobody wants it to run.
    Stopped,
    /// Its supervisor does not answer.
    Unknown,
}

impl SampledState {
    /// The name that `ps` prints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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
}

/// What a process tree uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TreeUsage {
    /// Of one processor, over the time of the measurement.
    pub cpu_percent: f64,
    /// Its share of the pages in memory (PSS): pages that n processes share count 1/n for each. Of a process that hides
    /// its maps, as the jail's stub does, only the pages that are its own.
    pub memory_bytes: u64,
}

/// Measures the process trees below `roots`. Processor time is measured over 200 ms, during which the call sleeps; the
/// supervisor's loop must not call it.
#[must_use]
pub fn measure_all(roots: &[i32]) -> HashMap<i32, TreeUsage> {
    let mut trees: Vec<(i32, Vec<i32>)> = roots.iter().map(|root| (*root, process_tree(*root))).collect();
    trees.retain(|(_, tree)| !tree.is_empty());
    if trees.is_empty() {
        return HashMap::new();
    }
    let cpu_time = |pid: i32| ProcessStat::read(pid).map(|stat| stat.cpu_time());
    let begin = Instant::now();
    let before: HashMap<i32, Duration> =
        trees.iter().flat_map(|(_, tree)| tree).filter_map(|pid| Some((*pid, cpu_time(*pid)?))).collect();
    thread::sleep(INTERVAL);
    let elapsed = begin.elapsed().as_secs_f64();
    let add = |sum: TreeUsage, pid: &i32| {
        let used = cpu_time(*pid)
            .zip(before.get(pid))
            .map_or(Duration::ZERO, |(now, before)| now.saturating_sub(*before));
        TreeUsage {
            cpu_percent: sum.cpu_percent + 100.0 * used.as_secs_f64() / elapsed,
            memory_bytes: sum.memory_bytes + memory(*pid).unwrap_or(0),
        }
    };
    trees.into_iter().map(|(root, tree)| (root, tree.iter().fold(TreeUsage::default(), add))).collect()
}

/// Adds the resource usage to the samples of running instances.
pub fn fill(instances: &mut [InstanceSample]) {
    let pid_of = |one: &InstanceSample| one.pid.and_then(|pid| i32::try_from(pid).ok());
    let usages = measure_all(&instances.iter().filter_map(pid_of).collect::<Vec<_>>());
    for one in instances {
        let usage = pid_of(one).and_then(|pid| usages.get(&pid));
        one.cpu_percent = usage.map(|usage| (usage.cpu_percent * 10.0).round() / 10.0);
        one.memory_bytes = usage.map(|usage| usage.memory_bytes);
    }
}

/// Returns a process's share of memory in bytes; its anonymous memory if this user may not read its maps.
fn memory(pid: i32) -> Option<u64> {
    let share = ProcFields::read(pid, "smaps_rollup").and_then(|rollup| rollup.bytes("Pss"));
    share.or_else(|| {
        let status = ProcFields::read(pid, "status")?;
        status.bytes("RssAnon").or_else(|| status.bytes("VmRSS"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// Ended with its children also when a test fails.
    struct ProcessTree(Child);

    impl Drop for ProcessTree {
        fn drop(&mut self) {
            for pid in process_tree(pid_of(self)).into_iter().rev() {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            let _ = self.0.wait();
        }
    }

    fn pid_of(tree: &ProcessTree) -> i32 {
        i32::try_from(tree.0.id()).unwrap()
    }

    #[test]
    fn a_whole_tree_is_measured() {
        // The shell sleeps, its child does not.
        let busy = "sh -c 'while :; do :; done' & wait";
        let tree = ProcessTree(Command::new("sh").args(["-c", busy]).spawn().unwrap());
        let idle = ProcessTree(Command::new("sleep").arg("60").spawn().unwrap());
        let (busy, idle) = (pid_of(&tree), pid_of(&idle));
        let mut found = HashMap::new();
        // On a busy machine it may get no time at first.
        for _ in 0..50 {
            found = measure_all(&[busy, idle]);
            if found.get(&busy).is_some_and(|usage| usage.cpu_percent > 5.0) {
                break;
            }
        }
        assert!(found[&busy].cpu_percent > 5.0, "{found:?}");
        assert!(found[&idle].cpu_percent < found[&busy].cpu_percent, "{found:?}");
        assert!(found[&busy].memory_bytes > 50_000, "{found:?}");
        assert!(measure_all(&[i32::MAX]).is_empty());
    }

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
