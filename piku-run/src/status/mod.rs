//! `status` and `metrics`: the state of the machine and its apps as text, data, a page and metrics.

pub(crate) mod app_row;
mod deploys;
mod history;
mod html;
mod open_metrics;
mod password;
mod report;
mod secret_filter;
mod status_timer;
mod text;

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::output::{self, OutputFormat};
use piku_report::progress;

use crate::cli::{MetricsArgs, StatusArgs};
use crate::known_apps::list_apps;
use crate::lock;
use crate::releases::current;
use crate::samples::InstanceSample;
use history::UsageHistory;
use html::PageUse;
pub(crate) use password::set_password;
use report::{HostReport, ReportDetail};
pub(crate) use status_timer::StatusTimer;

/// Command line of the update that the daemon starts.
const UPDATE: [&str; 2] = ["status", "--update"];

/// Prints the state of the apps that were named, or of all.
pub(crate) fn run(root: &PikuRoot, typed: &StatusArgs) -> anyhow::Result<()> {
    if typed.update {
        return update(root, Timestamp::now());
    }
    let is_short = typed.format == OutputFormat::Text && !typed.html;
    let detail = if is_short { ReportDetail::Deploys } else { ReportDetail::Logs };
    let apps = select_apps(root, &typed.apps, typed.none)?;
    let report = HostReport::collect(root, &apps, detail, Timestamp::now())?;
    if typed.html {
        return output::write(html::render(&report, PageUse::File).as_bytes());
    }
    output::print(typed.format, &report, || text::render(&report))
}

/// Records the usage of all apps, and writes the page and the metrics. Does nothing if the page is off, or while
/// another update runs.
fn update(root: &PikuRoot, now: Timestamp) -> anyhow::Result<()> {
    if !HostSettings::read(&root.settings())?.status.enabled {
        return Ok(());
    }
    for dir in [root.run(), root.status()] {
        current::create_dir(&dir)?;
    }
    let path = root.run().join("status.lock");
    let lock = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
    let Some(_lock) = lock else { return Ok(()) };
    let mut report = HostReport::collect(root, &list_apps(root, &[])?, ReportDetail::Logs, now)?;
    // To collect takes seconds.
    report.apps.retain(|app| is_live(&root.app(&app.summary.app)));
    for app in &mut report.apps {
        match record_usage(&root.app(&app.summary.app), &app.processes, now) {
            Ok(Some(history)) => app.history = history.day_until(now),
            Ok(None) => {}
            Err(err) => progress::error(&format!("cannot record the usage of {}: {err:#}", app.name())),
        }
    }
    // After a power cut they are written again.
    for (name, text) in
        [(PAGE, html::render(&report, PageUse::Served)), (METRICS, open_metrics::render(&report))]
    {
        let path = root.status().join(name);
        atomic_file::write_passing(&path, text.as_bytes(), 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    Ok(())
}

fn is_live(dir: &AppDir) -> bool {
    dir.is_there() && current::check_not_destroyed(dir).is_ok()
}

/// Records the usage of an app, without its lock, which a push may hold for minutes. `None` if it is recorded already,
/// or the app is being destroyed.
fn record_usage(
    dir: &AppDir,
    processes: &[InstanceSample],
    now: Timestamp,
) -> anyhow::Result<Option<UsageHistory>> {
    let path = dir.usage_history();
    let mut history = UsageHistory::read(&path);
    if !history.record(processes, now) {
        return Ok(None);
    }
    history.write(&path)?;
    // A destroy that begins after this finds the file and removes it.
    if is_live(dir) { Ok(Some(history)) } else { current::remove_dir(&path).map(|()| None) }
}

/// Names of the files in the directory of the status page.
const PAGE: &str = "index.html";
const METRICS: &str = "metrics";

/// Prints the state of the apps that were named, or of all, as metrics.
pub(crate) fn print_metrics(root: &PikuRoot, typed: &MetricsArgs) -> anyhow::Result<()> {
    let apps = select_apps(root, &typed.apps, typed.none)?;
    let report = HostReport::collect(root, &apps, ReportDetail::Figures, Timestamp::now())?;
    output::write(open_metrics::render(&report).as_bytes())
}

/// Returns the apps that were named, or all; with `is_none`, for a key without an app, no app.
fn select_apps(root: &PikuRoot, named: &[AppName], is_none: bool) -> anyhow::Result<Vec<AppName>> {
    if is_none { Ok(Vec::new()) } else { list_apps(root, named) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    fn an_app_that_was_destroyed_meanwhile_gets_no_history() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        let dir = root.app(&"blog".parse().unwrap());
        let record = |minutes: i64| {
            record_usage(&dir, &[], Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap())
        };
        record(0).unwrap_err();
        std::fs::create_dir_all(dir.repo()).unwrap();
        assert!(record(0).unwrap().is_some() && dir.usage_history().exists());
        assert!(record(0).unwrap().is_none() && dir.usage_history().exists());
        std::fs::write(dir.destroying(), "").unwrap();
        assert!(record(5).unwrap().is_none() && !dir.usage_history().exists());
        std::fs::remove_dir(dir.repo()).unwrap();
        std::fs::remove_file(dir.destroying()).unwrap();
        assert!(record(10).unwrap().is_none() && !dir.usage_history().exists());
    }
}
