//! `status` and `metrics`: the state of the machine and its apps as text, data, a page and metrics.

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
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::output::{self, OutputFormat};

use crate::cli::{MetricsArgs, StatusArgs};
use crate::commands::list_apps;
use crate::lock;
use crate::releases::current;
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
    for app in &mut report.apps {
        let path = root.app(&app.summary.app).usage_history();
        let mut history = UsageHistory::read(&path);
        if history.record(&app.processes, now) {
            history.write(&path)?;
            app.history = history.day_until(now);
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

/// Names of the files in the directory of the status page.
const PAGE: &str = "index.html";
const METRICS: &str = "metrics";
/// Name of the file with the names and hashed passwords of the readers.
pub(crate) const PASSWORDS: &str = "passwd";

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
