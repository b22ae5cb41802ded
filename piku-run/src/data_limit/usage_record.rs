//! The record of the sizes of limited data, `run/data-usage.json`. Worthless after a boot.

#![expect(clippy::disallowed_methods, reason = "a record of piku's own")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_files::free_space::size;
use piku_layout::daemon::wake_daemon;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use serde::{Deserialize, Serialize};

use super::VARIABLE;
use crate::host_problem::HostProblem;
use crate::host_problem::ProblemKind;

/// Percent of a limit from which it is a problem, and below which the problem has ended.
pub(super) const NEAR: u64 = 90;
const NOT_NEAR: u64 = 85;
/// The same for a limit that is reached.
const FULL: u64 = 100;
const NOT_FULL: u64 = 95;
/// A measurement is repeated after this many times the time that it took.
const SHARE: u32 = 100;

/// Size of the data of an app, as `ps` prints it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataUsage {
    /// Disk usage in bytes.
    pub(crate) bytes: u64,
    /// Its limit.
    pub(crate) limit_bytes: u64,
    /// There is more that could not be counted.
    pub(crate) is_partial: bool,
    /// Time of the measurement.
    pub(crate) at: Timestamp,
}

impl DataUsage {
    /// Returns the usage in percent of the limit.
    pub(super) fn percent(&self) -> u64 {
        let percent = u128::from(self.bytes) * 100 / u128::from(self.limit_bytes.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// Returns the size for people.
    pub(super) fn shown(&self) -> String {
        let at_least = if self.is_partial { "at least " } else { "" };
        format!("{at_least}{}", size(self.bytes))
    }

    /// Describes the usage in a few words.
    pub(crate) fn describe(&self) -> String {
        format!("{} of {}, {} %", self.shown(), size(self.limit_bytes), self.percent())
    }
}

/// Closeness of a usage to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UsageLevel {
    #[default]
    Low,
    Near,
    Full,
}

impl UsageLevel {
    /// Returns the level after this one. A usage that goes up and down a little does not change it each time.
    fn next(self, percent: u64) -> Self {
        let keeps = |level, end| self >= level && percent >= end;
        if percent >= FULL || keeps(Self::Full, NOT_FULL) {
            Self::Full
        } else if percent >= NEAR || keeps(Self::Near, NOT_NEAR) {
            Self::Near
        } else {
            Self::Low
        }
    }
}

/// Last measurement of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MeasuredData {
    #[serde(flatten)]
    usage: DataUsage,
    /// Milliseconds that it took.
    took_ms: u64,
    level: UsageLevel,
}

/// Sizes by app or service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct DataUsageRecord(BTreeMap<AppName, MeasuredData>);

impl DataUsageRecord {
    /// Returns the path of the record.
    pub(super) fn path(root: &PikuRoot) -> PathBuf {
        root.run().join("data-usage.json")
    }

    /// Reads the record; a bad one counts as none.
    pub(crate) fn read(root: &PikuRoot) -> Self {
        let text = fs::read(Self::path(root)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes the record. With an empty one, the daemon looks for limits once a day only.
    pub(super) fn write(&self, root: &PikuRoot) -> anyhow::Result<()> {
        let path = Self::path(root);
        let written = if self.0.is_empty() {
            match fs::remove_file(&path) {
                Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed,
            }
        } else {
            let text = serde_json::to_vec(self).context("cannot make JSON of it")?;
            write_waking(root, &text)
        };
        written.with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Makes a record without sizes if there is none.
    pub(super) fn create(root: &PikuRoot) -> io::Result<()> {
        if Self::path(root).exists() { Ok(()) } else { write_waking(root, b"{}") }
    }

    /// Returns true if an app with this limit is to be measured again.
    pub(super) fn is_due(&self, app: &AppName, limit: u64, now: Timestamp) -> bool {
        self.0.get(app).is_none_or(|last| {
            let pause = Duration::from_millis(last.took_ms).saturating_mul(SHARE);
            let is_over = last.usage.at.checked_add(pause).is_ok_and(|next| next <= now);
            // A time ahead of the clock is of a clock that was wrong.
            is_over || last.usage.limit_bytes != limit || last.usage.at > now
        })
    }

    /// Adds a measurement.
    pub(super) fn add(&mut self, app: &AppName, usage: DataUsage, took: Duration) {
        let level = self.0.get(app).map_or(UsageLevel::Low, |last| last.level).next(usage.percent());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.0.insert(app.clone(), MeasuredData { usage, took_ms, level });
    }

    /// Keeps the sizes of some apps.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&AppName) -> bool) {
        self.0.retain(|app, _| is_kept(app));
    }

    /// Returns the last size of an app.
    pub(crate) fn of(&self, app: &AppName) -> Option<DataUsage> {
        self.0.get(app).map(|last| last.usage.clone())
    }

    /// Returns the problems of an app, the worst last: that its data is near the limit, and that it has reached it.
    pub(crate) fn problems_of(&self, app: &AppName) -> Vec<HostProblem> {
        let Some(last) = self.0.get(app) else { return Vec::new() };
        let problem = |subject: &str, end: &str| HostProblem {
            kind: ProblemKind::DataLimit,
            app: Some(app.clone()),
            subject: subject.to_owned(),
            text: format!("{app}: its data takes {} ({VARIABLE}){end}", last.usage.describe()),
        };
        let mut problems = Vec::new();
        if last.level >= UsageLevel::Near {
            problems.push(problem("near", ""));
        }
        if last.level >= UsageLevel::Full {
            problems.push(problem("full", "; pushes are refused from 100 % on"));
        }
        problems
    }

    /// Returns the problems of all apps.
    pub(crate) fn problems(&self) -> Vec<HostProblem> {
        self.0.keys().flat_map(|app| self.problems_of(app)).collect()
    }
}

/// Writes the text of the record. The first one wakes the daemon, which otherwise looks for it once a day.
fn write_waking(root: &PikuRoot, text: &[u8]) -> io::Result<()> {
    let path = DataUsageRecord::path(root);
    let is_first = !path.exists();
    atomic_file::write_passing(&path, text, 0o600)?;
    if is_first {
        wake_daemon(root);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Lines};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use crate::lock;

    fn usage(bytes: u64, at: Timestamp) -> DataUsage {
        DataUsage { bytes, limit_bytes: 1000, is_partial: false, at }
    }

    #[test]
    fn levels_do_not_change_with_each_byte() {
        let mut level = UsageLevel::Low;
        for (percent, expected) in [
            (89, UsageLevel::Low),
            (90, UsageLevel::Near),
            (86, UsageLevel::Near),
            (84, UsageLevel::Low),
            (120, UsageLevel::Full),
            (96, UsageLevel::Full),
            (94, UsageLevel::Near),
            (100, UsageLevel::Full),
            (10, UsageLevel::Low),
        ] {
            level = level.next(percent);
            assert_eq!(level, expected, "{percent}");
        }
    }

    #[test]
    fn large_trees_are_measured_less_often() {
        let app: AppName = "blog".parse().unwrap();
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let mut record = DataUsageRecord::default();
        assert!(record.is_due(&app, 1000, now));
        record.add(&app, usage(5, now), Duration::from_secs(10));
        assert!(!record.is_due(&app, 1000, now + Duration::from_secs(999)));
        assert!(record.is_due(&app, 1000, now + Duration::from_secs(1000)));
        assert!(record.is_due(&app, 2000, now), "another limit");
        assert!(record.is_due(&app, 1000, now - Duration::from_secs(1)), "the clock was wrong");
    }

    /// A process in place of the daemon, which prints a line for each signal; dropping it ends it.
    struct SignalPrinter {
        process: Child,
        lines: Lines<BufReader<ChildStdout>>,
    }

    impl SignalPrinter {
        fn start(root: &PikuRoot) -> Self {
            let script = "trap 'echo HUP' HUP; trap 'echo USR1' USR1; echo up; while :; do sleep 0.05; done";
            let mut shell = Command::new("env");
            shell.args(["--default-signal=HUP,USR1", "sh", "-c", script]);
            let mut process = shell.stdout(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(process.stdout.take().unwrap()).lines();
            let mut daemon = Self { process, lines };
            assert_eq!(daemon.next_line(), "up");
            fs::write(root.daemon_lock(), daemon.process.id().to_string()).unwrap();
            daemon
        }

        fn next_line(&mut self) -> String {
            self.lines.next().unwrap().unwrap()
        }

        /// Returns how often it was woken since the last call. A shell handles signals in the order of their numbers.
        fn count_wakes(&mut self) -> usize {
            kill(Pid::from_raw(self.process.id().try_into().unwrap()), Signal::SIGUSR1).unwrap();
            let lines = std::iter::from_fn(|| Some(self.next_line()));
            lines.take_while(|line| line != "USR1").count()
        }
    }

    impl Drop for SignalPrinter {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    #[test]
    fn the_first_record_wakes_the_daemon() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        fs::create_dir(root.run()).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let mut measured = DataUsageRecord::default();
        measured.add(&app, usage(5, Timestamp::now()), Duration::ZERO);
        let _lock = lock::try_lock(&root.daemon_lock()).unwrap().unwrap();
        let mut daemon = SignalPrinter::start(&root);
        for is_measured in [false, true] {
            DataUsageRecord::default().write(&root).unwrap();
            assert_eq!(daemon.count_wakes(), 0, "there is nothing to measure");
            if is_measured {
                measured.write(&root).unwrap();
            } else {
                DataUsageRecord::create(&root).unwrap();
            }
            assert_eq!(daemon.count_wakes(), 1);
        }
        measured.write(&root).unwrap();
        assert_eq!(daemon.count_wakes(), 0, "it knows of the record");
    }

    #[test]
    fn problems_name_the_sizes() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        fs::create_dir(root.run()).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let mut record = DataUsageRecord::read(&root);
        record.add(&app, usage(899, Timestamp::now()), Duration::ZERO);
        assert!(record.problems().is_empty());
        record.add(&app, usage(1000, Timestamp::now()), Duration::ZERO);
        record.write(&root).unwrap();
        let texts: Vec<String> =
            DataUsageRecord::read(&root).problems().into_iter().map(|one| one.text).collect();
        let near = "blog: its data takes 1 KiB of 1 KiB, 100 % (DATA_LIMIT)";
        assert_eq!(
            texts,
            [
                near,
                "blog: its data takes 1 KiB of 1 KiB, 100 % (DATA_LIMIT); pushes are refused from 100 % on"
            ]
        );
        record.retain(|_| false);
        record.write(&root).unwrap();
        assert!(!DataUsageRecord::path(&root).exists());
        DataUsageRecord::create(&root).unwrap();
        assert_eq!(DataUsageRecord::read(&root), record);
    }
}
