//! `status` and `metrics`: the state of the machine and its apps as text, data, a page and metrics.

mod deploys;
mod open_metrics;
mod report;
mod secret_filter;
mod text;

use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::output::{self, OutputFormat};

use crate::cli::{MetricsArgs, StatusArgs};
use crate::commands::list_apps;
use report::{HostReport, ReportDetail};

/// Prints the state of the apps that were named, or of all.
pub(crate) fn run(root: &PikuRoot, typed: &StatusArgs) -> anyhow::Result<()> {
    let detail = if typed.format == OutputFormat::Text { ReportDetail::Deploys } else { ReportDetail::Logs };
    let apps = select_apps(root, &typed.apps, typed.none)?;
    let report = HostReport::collect(root, apps, detail, Timestamp::now())?;
    output::print(typed.format, &report, || text::render(&report))
}

/// Prints the state of the apps that were named, or of all, as metrics.
pub(crate) fn print_metrics(root: &PikuRoot, typed: &MetricsArgs) -> anyhow::Result<()> {
    let apps = select_apps(root, &typed.apps, typed.none)?;
    let report = HostReport::collect(root, apps, ReportDetail::Figures, Timestamp::now())?;
    output::write(open_metrics::render(&report).as_bytes())
}

/// Returns the apps that were named, or all; with `is_none`, for a key without an app, no app.
fn select_apps(root: &PikuRoot, named: &[AppName], is_none: bool) -> anyhow::Result<Vec<AppName>> {
    if is_none { Ok(Vec::new()) } else { list_apps(root, named) }
}
