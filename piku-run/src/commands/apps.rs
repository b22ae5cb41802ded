//! `apps [APP]…`: the apps, with what serves them.

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_release::manifest::BuiltRelease;
use piku_report::output::{self, OutputFormat};
use piku_report::user_error::UserError;

use crate::ipc::fan_out::ask_all;
use crate::known_apps;
use crate::kubernetes;
use crate::live_samples::samples_of;
use crate::nginx::front::MachineRow;
use crate::nginx::{CertificateState, WebServer};
use crate::status::app_row::{AppRow, AppState, describe_app};

/// Prints these apps, or all. Without `long`, the text has one name a line, with its state if it is unusual.
pub(super) fn run(root: &PikuRoot, only: &[AppName], long: bool, format: OutputFormat) -> anyhow::Result<()> {
    let rows = rows(root, only)?;
    output::print(format, &rows, || if long { render_table(&rows) } else { render_names(&rows) })
}

/// Prints the best URL of each app.
///
/// # Errors
/// Fails if an app has none.
pub(super) fn print_urls(root: &PikuRoot, apps: &[AppName]) -> anyhow::Result<()> {
    for row in rows(root, apps)? {
        let Some(url) = row.urls.first() else {
            let what = format!("{} has no URL: it is {}", row.app, row.state.as_str());
            let hint = match kubernetes::cluster_urls(root, &row.app)? {
                Some(_) => "in a cluster, NGINX_SERVER_NAME in ENV gives a 'web' its name".to_owned(),
                None => hint_for_url(root, &row),
            };
            return Err(UserError::new(what).hint(hint).into());
        };
        output::write(format!("{url}\n").as_bytes())?;
    }
    Ok(())
}

/// Returns what gives an app without a URL one.
fn hint_for_url(root: &PikuRoot, row: &AppRow) -> String {
    let app = &row.app;
    if row.stopped {
        return format!("piku start {app}");
    }
    let dir = root.app(app);
    let release = row.release.and_then(|number| BuiltRelease::read(&dir.release(number)).ok());
    let Some(release) = release else { return "its first push gives it one".to_owned() };
    let has = |kind: &str| release.processes.contains_key(kind);
    if has("web") {
        format!("its 'web' does not run; 'piku ps {app}' shows why")
    } else if has("static") {
        format!("files are served under a host name: piku domains:add {app} NAME")
    } else {
        "only a process type 'web' or 'static' gets requests, and its Procfile has none".to_owned()
    }
}

/// Returns the rows of these apps, or of all. Their supervisors are asked in parallel.
fn rows(root: &PikuRoot, only: &[AppName]) -> anyhow::Result<Vec<AppRow>> {
    let apps = known_apps::list_apps(root, only)?;
    let web = WebServer::load(root)?;
    Ok(ask_all(&apps, |app| {
        let samples = samples_of(root, app).ok();
        let site = web.site_status(app);
        describe_app(root, app.clone(), samples.as_deref(), site.as_ref())
    }))
}

/// Returns what is unusual about the app.
fn unusual(row: &AppRow) -> Vec<String> {
    let state = Some(row.state).filter(|state| *state != AppState::Running).map(AppState::as_str);
    let is_stopped_too = row.stopped && row.state == AppState::Maintenance;
    let stopped = is_stopped_too.then_some(AppState::Stopped.as_str());
    let certificate = row.certificate.and_then(CertificateState::problem);
    let locked = row.locked.as_ref().map(|_| "locked");
    let lacks = row.machines.iter().any(MachineRow::is_missing).then_some("a machine is down");
    let notes = state.into_iter().chain(stopped).chain(lacks).chain(locked).chain(certificate);
    let unfinished = row.unfinished.iter().map(|work| format!("{} unfinished", work.verb));
    notes.map(str::to_owned).chain(unfinished).collect()
}

fn render_names(rows: &[AppRow]) -> String {
    let width = rows.iter().map(|row| row.app.as_str().len()).max().unwrap_or(0);
    let line = |row: &AppRow| match unusual(row).join(", ") {
        notes if notes.is_empty() || row.state == AppState::Created && row.unfinished.is_none() => {
            format!("{}\n", row.app)
        }
        notes => format!("{:width$}  {notes}\n", row.app.as_str()),
    };
    rows.iter().map(line).collect()
}

fn render_table(rows: &[AppRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let cells = |row: &AppRow| {
        let notes = unusual(row);
        let state = if notes.is_empty() { row.state.as_str().to_owned() } else { notes.join(", ") };
        vec![
            row.app.to_string(),
            state,
            or_none(row.release.map(|number| number.to_string()).unwrap_or_default()),
            row.instances.to_string(),
            or_none(row.urls.join(" ")),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::table(&["APP", "STATE", "RELEASE", "INSTANCES", "URL"], &rows)
}
