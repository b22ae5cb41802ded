//! The record of scheduled backups, `backups.json`. Reads no clock: the time is passed in.

#![expect(clippy::disallowed_methods, reason = "a record of piku's own")]

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use serde::{Deserialize, Serialize};

use crate::cron::CronSchedule;

/// Last results of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    /// Time at which it was begun last, or at which piku saw the plan first.
    pub(crate) begun: Timestamp,
    /// Time at which all of its apps were saved last; at first the time at which piku saw the plan.
    pub(crate) complete: Timestamp,
    /// Results by app.
    #[serde(default)]
    pub(crate) apps: BTreeMap<AppName, AppResult>,
}

/// Last results of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct AppResult {
    /// Time of the last backup.
    pub(crate) at: Option<Timestamp>,
    /// Its size in bytes, before encryption.
    pub(crate) bytes: u64,
    /// Name of its file.
    pub(crate) file: String,
    /// Error of the last run; `None` if it succeeded.
    pub(crate) error: Option<String>,
    /// Description of what the last backup lacks; `None` if it lacks nothing.
    #[serde(default)]
    pub(crate) lacks: Option<String>,
    /// Number of files that the last backup lacks.
    #[serde(default)]
    pub(crate) left_out: u64,
    /// Name of the last file that lacks nothing, if that is an older one.
    #[serde(default)]
    pub(crate) whole_file: Option<String>,
    /// Begin of the backup that its limit of time has ended, if it was the last one.
    #[serde(default)]
    pub(crate) slow_at: Option<Timestamp>,
}

impl AppResult {
    /// Returns the error of the last run for its reader. With a limited key, it does not say why: the reason may name what
    /// is the operator's.
    pub(crate) fn shown_error(&self, is_limited: bool) -> Option<&str> {
        let error = self.error.as_deref()?;
        Some(if is_limited { "the operator knows why" } else { error })
    }

    /// Returns what the last backup lacks for its reader.
    pub(crate) fn shown_lacks(&self, is_limited: bool) -> Option<&str> {
        let lacks = self.lacks.as_deref()?;
        Some(if is_limited { "lacks something: the operator knows what" } else { lacks })
    }

    /// Returns the name of the last file that lacks nothing.
    pub(crate) fn last_whole(&self) -> Option<&str> {
        if self.lacks.is_none() { self.at.map(|_| self.file.as_str()) } else { self.whole_file.as_deref() }
    }
}

/// The record of all plans.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct BackupRecord(pub(crate) BTreeMap<AppName, PlanRecord>);

impl PlanRecord {
    /// Returns the record of a plan that has not run.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { begun: now, complete: now, apps: BTreeMap::new() }
    }

    /// Returns the time of the next run.
    pub(crate) fn next_run(&self, schedule: &CronSchedule, zone: &TimeZone) -> Option<Timestamp> {
        schedule.next_run(self.begun, zone)
    }

    /// Returns whether two runs should have been complete since the last one that was.
    pub(crate) fn is_overdue(&self, schedule: &CronSchedule, zone: &TimeZone, now: Timestamp) -> bool {
        let first = schedule.next_run(self.complete, zone);
        first.and_then(|first| schedule.next_run(first, zone)).is_some_and(|second| second < now)
    }
}

impl BackupRecord {
    /// Reads the record; an unreadable one would end all backups, and counts as none.
    pub(crate) fn read(root: &PikuRoot) -> anyhow::Result<Self> {
        let path = root.backup_record();
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(err) => Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        }
    }

    pub(crate) fn write(&self, root: &PikuRoot) -> anyhow::Result<()> {
        let path = root.backup_record();
        let text = serde_json::to_vec_pretty(self).context("cannot make JSON of it")?;
        atomic_file::write(&path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overdue_is_what_was_missed_twice() {
        let schedule = CronSchedule::parse("0 3 * * *").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let record = PlanRecord::new(at("2026-11-28T12:00:00Z"));
        assert_eq!(record.next_run(&schedule, &TimeZone::UTC), Some(at("2026-11-29T03:00:00Z")));
        for (now, is_overdue) in
            [("2026-11-28T13:00:00Z", false), ("2026-11-30T02:59:00Z", false), ("2026-11-30T03:01:00Z", true)]
        {
            assert_eq!(record.is_overdue(&schedule, &TimeZone::UTC, at(now)), is_overdue, "{now}");
        }
    }
}
