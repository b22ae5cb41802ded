//! Last results of the scheduled backups by app, for `ps` and `status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_files::free_space;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{BackupPlan, HostSettings, PlannedApps};
use piku_layout::unknown_app::key_scope;
use serde::{Deserialize, Serialize};

use super::check_plans;
use super::record::{BackupRecord, PlanRecord};
use crate::cron::CronSchedule;
use crate::time_text::format_duration;

/// Last result of a plan for an app. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppBackup {
    pub(crate) plan: AppName,
    /// Time of the last backup; `None` if the plan has not saved the app yet.
    pub(crate) at: Option<Timestamp>,
    /// Age of the last backup in seconds.
    pub(crate) age_s: Option<u64>,
    /// Its size in bytes, before encryption.
    pub(crate) bytes: Option<u64>,
    /// Error of the last run; `None` if it succeeded. It does not say why to a limited key.
    pub(crate) error: Option<String>,
    /// Description of what the last backup lacks; `None` if it lacks nothing.
    #[serde(default)]
    pub(crate) lacks: Option<String>,
    /// The plan was not complete for two of its times.
    pub(crate) is_overdue: bool,
}

impl AppBackup {
    /// Returns true if it neither failed nor is overdue, and lacks nothing.
    pub(crate) fn is_well(&self) -> bool {
        self.error.is_none() && self.lacks.is_none() && !self.is_overdue
    }

    /// Describes the state in a few words, without the plan.
    pub(crate) fn describe(&self) -> String {
        let age = self.age_s.map(format_duration);
        let last = age.as_ref().map_or(String::new(), |age| format!(", the last one is {age} old"));
        match (&self.error, self.is_overdue, age) {
            (Some(_), ..) => format!("failed{last}"),
            (None, true, _) => format!("overdue{last}"),
            (None, false, Some(age)) => {
                let state = if self.lacks.is_some() { "not whole, " } else { "" };
                format!("{state}{age} ago, {}", free_space::size(self.bytes.unwrap_or_default()))
            }
            (None, false, None) => "none yet".to_owned(),
        }
    }
}

/// Plans and results of all apps.
#[derive(Debug, Default)]
pub(crate) struct AppBackups {
    plans: BTreeMap<AppName, (BackupPlan, CronSchedule)>,
    record: BackupRecord,
    now: Timestamp,
    /// The reader has a limited key.
    is_limited: bool,
}

impl AppBackups {
    /// Reads the results. There are none while the plans are bad, which `doctor` tells.
    pub(crate) fn read(root: &PikuRoot, settings: &HostSettings, now: Timestamp) -> Self {
        if settings.backups.is_empty() {
            return Self::default();
        }
        let plans = check_plans(settings.backups.clone()).unwrap_or_default();
        let record = BackupRecord::read(root).unwrap_or_default();
        Self { plans, record, now, is_limited: key_scope().is_some() }
    }

    /// Returns the last result of each plan that has the app.
    pub(crate) fn of(&self, app: &AppName) -> Vec<AppBackup> {
        let zone = TimeZone::system();
        let has_app = |plan: &BackupPlan| match &plan.apps {
            PlannedApps::All => true,
            PlannedApps::Some(apps) => apps.contains(app),
        };
        let plans = self.plans.iter().filter(|(_, (plan, _))| has_app(plan));
        let fresh = PlanRecord::new(self.now);
        plans
            .map(|(name, (_, schedule))| {
                let record = self.record.0.get(name).unwrap_or(&fresh);
                let result = record.apps.get(app);
                let at = result.and_then(|result| result.at);
                let age = at.map(|at| self.now.duration_since(at).as_secs());
                AppBackup {
                    plan: name.clone(),
                    at,
                    // A time ahead of the clock is of a clock that was wrong.
                    age_s: age.map(|age| u64::try_from(age).unwrap_or(0)),
                    bytes: result.filter(|_| at.is_some()).map(|result| result.bytes),
                    error: result
                        .and_then(|result| result.shown_error(self.is_limited))
                        .map(ToOwned::to_owned),
                    lacks: result
                        .and_then(|result| result.shown_lacks(self.is_limited))
                        .map(ToOwned::to_owned),
                    is_overdue: record.is_overdue(schedule, &zone, self.now),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_an_app_are_told_for_each_plan_that_has_it() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        let settings = "backups:\n  nightly: {schedule: '@daily', to: /srv}\n  away: {schedule: '@hourly', to: /srv}\n  \
             other: {schedule: '@daily', apps: [shop], to: /srv}\n  new: {schedule: '@daily', to: /srv}\n";
        let settings: HostSettings = serde_yaml::from_str(settings).unwrap();
        let record = r#"{
            "nightly": {"begun": "2026-11-29T00:00:00Z", "complete": "2026-11-29T00:00:00Z", "apps": {
                "blog": {"at": "2026-11-29T00:00:00Z", "bytes": 2048, "file": "f", "error": null}}},
            "away": {"begun": "2026-11-29T01:00:00Z", "complete": "2026-11-28T23:00:00Z", "apps": {
                "blog": {"at": "2026-11-28T23:00:00Z", "bytes": 2048, "file": "f", "error": "ssh failed"}}}}"#;
        #[expect(clippy::disallowed_methods, reason = "a record of piku's own")]
        std::fs::write(root.backup_record(), record).unwrap();
        let told = |now: &str, app: &str| -> Vec<String> {
            let backups = AppBackups::read(&root, &settings, now.parse().unwrap());
            let all = backups.of(&app.parse().unwrap());
            all.iter().map(|one| format!("{}: {}", one.plan, one.describe())).collect()
        };
        assert_eq!(
            told("2026-11-29T01:05:00Z", "blog"),
            ["away: failed, the last one is 2h 5m old", "new: none yet", "nightly: 1h 5m ago, 2 KiB"]
        );
        let later = told("2026-12-02T00:00:00Z", "blog");
        assert_eq!(later[2], "nightly: overdue, the last one is 3d 0h old");
        assert_eq!(told("2026-11-29T01:05:00Z", "shop").len(), 4);
        let mut limited = AppBackups::read(&root, &settings, Timestamp::now());
        limited.is_limited = true;
        let failed = &limited.of(&"blog".parse().unwrap())[0];
        assert_eq!(failed.error.as_deref(), Some("the operator knows why"));
        let none = AppBackups::read(&root, &HostSettings::default(), Timestamp::now());
        assert!(none.of(&"blog".parse().unwrap()).is_empty());
    }
}
