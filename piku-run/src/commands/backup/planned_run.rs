//! Runs plans: one app after the other, behind everything else that runs.

use std::io::{BufWriter, Write};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_files::FileLock;
use piku_files::free_space;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{BackupPlan, PlannedApps};
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use crate::backup_plans::destination::BackupDelivery;
use crate::backup_plans::file_name::BackupSeries;
use crate::backup_plans::record::{AppResult, BackupRecord, PlanRecord};
use crate::backup_plans::{read_plans, timer};
use crate::commands::{BackupRequest, BackupScope, WrittenBackup, write_backup};
use crate::cron::CronSchedule;
use crate::known_apps::list_apps;
use crate::lock;
use crate::process::deadline::{Deadline, is_time_limit};
use crate::releases::current;

/// Niceness of scheduled backups.
const NICE: i32 = 15;

/// Runs the plans that are due, and writes when the next one is.
pub(crate) fn run_due(root: &PikuRoot) -> anyhow::Result<()> {
    // The one that is running writes it.
    let Some(_lock) = lock_backups(root)? else { return Ok(()) };
    let _ = rustix::process::nice(NICE);
    let run = run_due_plans(root);
    let next = match &run {
        Ok(next) => *next,
        // Or when host.yaml has changed.
        Err(_) => Some(Timestamp::now() + Duration::from_secs(3600)),
    };
    timer::write_next(root, next)?;
    run.map(drop)
}

/// Runs the plans that are due. Returns the time of the next run.
fn run_due_plans(root: &PikuRoot) -> anyhow::Result<Option<Timestamp>> {
    let plans = read_plans(root)?;
    let zone = TimeZone::system();
    let mut next: Option<Timestamp> = None;
    for (name, (plan, schedule)) in &plans {
        let mut record = BackupRecord::read(root)?;
        let now = Timestamp::now();
        let is_new = !record.0.contains_key(name);
        let one = record.0.entry(name.clone()).or_insert_with(|| PlanRecord::new(now));
        // A time ahead of the clock is of a clock that was wrong.
        let is_ahead = one.begun > now;
        if is_ahead {
            (one.begun, one.complete) = (now, one.complete.min(now));
        }
        let due = one.next_run(schedule, &zone);
        if is_new || is_ahead {
            record.write(root)?;
        }
        if due.is_some_and(|due| due <= now) {
            run_one(root, name, plan)?;
        }
        next = next.into_iter().chain(next_of(root, name, schedule)?).min();
    }
    let mut record = BackupRecord::read(root)?;
    if record.0.keys().any(|name| !plans.contains_key(name)) {
        record.0.retain(|name, _| plans.contains_key(name));
        record.write(root)?;
    }
    Ok(next)
}

fn next_of(root: &PikuRoot, name: &AppName, schedule: &CronSchedule) -> anyhow::Result<Option<Timestamp>> {
    let record = BackupRecord::read(root)?;
    Ok(record.0.get(name).and_then(|one| one.next_run(schedule, &TimeZone::system())))
}

/// Runs a plan now, or all. Returns whether all apps were saved and lack nothing.
///
/// # Errors
/// Fails as busy while a backup runs, and if there is no such plan.
pub(crate) fn run_now(root: &PikuRoot, only: Option<&AppName>) -> anyhow::Result<bool> {
    let plans = read_plans(root)?;
    if plans.is_empty() {
        let what = "host.yaml has no 'backups'";
        let hint = "such as: backups: {nightly: {schedule: '@daily', to: /srv/backups}}";
        return Err(UserError::new(what).hint(hint).into());
    }
    let Some(_lock) = lock_backups(root)? else {
        return Err(UserError::new("a backup is in progress").hint("try again later").code(BUSY).into());
    };
    if let Some(name) = only.filter(|name| !plans.contains_key(*name)) {
        let names: Vec<&str> = plans.keys().map(AppName::as_str).collect();
        let error = UserError::new(format!("'backups' of host.yaml has no '{name}'"));
        return Err(error.hint(format!("it has: {}", names.join(", "))).into());
    }
    let mut all_well = true;
    for (name, (plan, _)) in plans.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        all_well &= run_one(root, name, plan)?;
    }
    Ok(all_well)
}

fn lock_backups(root: &PikuRoot) -> anyhow::Result<Option<FileLock>> {
    current::create_dir(&root.run())?;
    let path = root.run().join("backups.lock");
    lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))
}

/// Saves the apps of a plan and records the results. Returns whether all were saved and lack nothing.
fn run_one(root: &PikuRoot, name: &AppName, plan: &BackupPlan) -> anyhow::Result<bool> {
    let begun = Timestamp::now();
    let deadline = Deadline::after(plan.max_hours.duration());
    let mut record = BackupRecord::read(root)?;
    let one = record.0.entry(name.clone()).or_insert_with(|| PlanRecord::new(begun));
    one.begun = begun;
    let mut apps = match &plan.apps {
        PlannedApps::All => list_apps(root, &[])?,
        PlannedApps::Some(apps) => apps.clone(),
    };
    one.apps.retain(|app, _| apps.contains(app));
    // What took all of the time once does not take that of the others again.
    apps.sort_by_key(|app| one.apps.get(app).and_then(|last| last.slow_at));
    // If it is killed, it has begun.
    record.write(root)?;
    let (mut is_complete, mut all_well) = (true, true);
    for app in &apps {
        let series = BackupSeries { plan: name, app };
        let last = BackupRecord::read(root)?.0.remove(name).and_then(|mut one| one.apps.remove(app));
        let result = save_app(root, plan, series, last.unwrap_or_default(), deadline);
        is_complete &= result.error.is_none();
        all_well &= result.error.is_none() && result.lacks.is_none();
        let mut record = BackupRecord::read(root)?;
        let one = record.0.entry(name.clone()).or_insert_with(|| PlanRecord::new(begun));
        one.apps.insert(app.clone(), result);
        record.write(root)?;
    }
    if is_complete {
        let mut record = BackupRecord::read(root)?;
        if let Some(one) = record.0.get_mut(name) {
            one.complete = begun;
        }
        record.write(root)?;
    }
    Ok(all_well)
}

/// Saves an app; returns the result, from the last one.
fn save_app(
    root: &PikuRoot,
    plan: &BackupPlan,
    series: BackupSeries<'_>,
    last: AppResult,
    deadline: Deadline,
) -> AppResult {
    if deadline.check().is_err() {
        let error = "the time of the run (max_hours) was over before its turn".to_owned();
        progress::error(&format!("{}: {error}", series.app));
        return AppResult { error: Some(error), ..last };
    }
    let at = Timestamp::now();
    let file = series.file_name(at, plan.age.is_some());
    progress::step(&format!("{}: saving {} as {file}", series.plan, series.app));
    match save(root, plan, series, &file, last.last_whole(), deadline) {
        Ok(WrittenBackup { bytes, lacking }) => {
            progress::detail(&free_space::size(bytes));
            let lacking = lacking.into_iter().next();
            if let Some(lacking) = &lacking {
                progress::error(&lacking.describe());
            }
            let whole_file = lacking.as_ref().and_then(|_| last.last_whole().map(ToOwned::to_owned));
            AppResult {
                at: Some(at),
                bytes,
                file,
                error: None,
                left_out: lacking.as_ref().map_or(0, |lacking| lacking.left_out),
                lacks: lacking.map(|lacking| lacking.text),
                whole_file,
                slow_at: None,
            }
        }
        Err(err) => {
            let text = format!("{err:#}");
            progress::error(&format!("{}: {text}", series.app));
            for hint in piku_report::user_error::advice(&err).0 {
                progress::detail(&hint);
            }
            AppResult { error: Some(text), slow_at: is_time_limit(&err).then_some(at), ..last }
        }
    }
}

/// Writes the backup of an app to its place.
fn save(
    root: &PikuRoot,
    plan: &BackupPlan,
    series: BackupSeries<'_>,
    file: &str,
    last_whole: Option<&str>,
    deadline: Deadline,
) -> anyhow::Result<WrittenBackup> {
    let (delivery, output) = BackupDelivery::open(plan, series, file, deadline)?;
    let mut output = BufWriter::with_capacity(1 << 16, output);
    let scope = BackupScope::App(series.app.clone());
    let request = BackupRequest { scope, with_services: true, is_strict: false, deadline };
    let written = write_backup(root, &request, &mut output)
        .and_then(|written| output.flush().context("cannot write the backup").map(|()| written));
    drop(output);
    match written {
        Ok(written) => {
            // A newer one that lacks nothing takes its place.
            let last_whole = last_whole.filter(|_| !written.lacking.is_empty());
            delivery.finish(last_whole).map(|()| written)
        }
        Err(err) => Err(delivery.explain(err)),
    }
}
