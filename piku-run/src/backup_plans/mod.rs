//! Backups on a schedule, as `backups` of host.yaml plans them. The daemon starts a process when one is due; apps,
//! deploys and supervisors know nothing of it.

mod app_backup;
pub(crate) mod destination;
mod error_relay;
pub(crate) mod file_name;
mod list;
pub(crate) mod record;
mod stream_guard;
pub(crate) mod timer;

use std::collections::BTreeMap;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{BackupPlan, HostSettings};
use piku_report::user_error::UserError;

pub(crate) use app_backup::{AppBackup, AppBackups};
pub(crate) use list::{BackupProblem, find_backup_problems, print_backups, print_problems};
pub(crate) use timer::BackupTimer;

use crate::cron::CronSchedule;

/// Reads the plans and checks their schedules.
pub(crate) fn read_plans(root: &PikuRoot) -> anyhow::Result<BTreeMap<AppName, (BackupPlan, CronSchedule)>> {
    check_plans(HostSettings::read(&root.settings())?.backups)
}

/// Checks plans and their schedules.
fn check_plans(
    read: BTreeMap<AppName, BackupPlan>,
) -> anyhow::Result<BTreeMap<AppName, (BackupPlan, CronSchedule)>> {
    let mut plans = BTreeMap::new();
    for (name, plan) in read {
        let bad = |why: String| UserError::new(format!("host.yaml: backups: {name}: {why}"));
        plan.check().map_err(bad)?;
        let schedule = CronSchedule::parse(&plan.schedule).ok_or_else(|| {
            bad(format!("'{}' is no schedule", plan.schedule.escape_debug()))
                .hint("five fields of crontab(5), such as \"30 3 * * *\", or @daily")
        })?;
        plans.insert(name, (plan, schedule));
    }
    Ok(plans)
}
