//! `ps [APP]`: prints the instances that the supervisors report.

mod table;

use std::thread;

use anyhow::{Context, anyhow};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{GrantedPath, HostSettings};
use piku_report::{progress, user_error};

use crate::grants::resolve_grant;
use crate::ipc::client;
use crate::ipc::client::{AskPatience, SilentSupervisor};
use crate::ipc::protocol::SupervisorRequest;
use crate::nginx::has_failed_request;
use crate::process::usage::{self, InstanceSample};
use crate::supervisor;
use piku_report::output::OutputFormat;

pub(super) fn run(root: &PikuRoot, app: Option<&AppName>, format: OutputFormat) -> anyhow::Result<()> {
    let apps = match app {
        Some(app) => {
            super::must_be_there(root, app)?;
            vec![app.clone()]
        }
        None => root.apps().context("cannot list the apps")?,
    };
    let mut rows = Vec::new();
    let mut failures: Vec<(AppName, anyhow::Error)> = Vec::new();
    // In parallel: a supervisor that does not respond does not delay the others.
    let asked = thread::scope(|scope| {
        let asked: Vec<_> = apps.iter().map(|app| scope.spawn(|| samples_of(root, app))).collect();
        asked.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for (app, answer) in apps.into_iter().zip(asked) {
        let answer = answer.unwrap_or_else(|_| Err(anyhow!("the question was not put to its end")));
        match answer {
            Ok(found) => rows.extend(found),
            // Print an error once if it is the same for all apps, such as a missing daemon.
            Err(err) if failures.iter().any(|(_, other)| other.to_string() == err.to_string()) => {}
            Err(err) => {
                if err.is::<SilentSupervisor>() {
                    rows.extend(supervisor::unknown(root, &app).unwrap_or_default());
                }
                failures.push((app, err));
            }
        }
    }
    // One broken app does not hide the others.
    usage::add_memory(&mut rows);
    add_grants(root, &mut rows);
    add_site_states(root, &mut rows);
    table::print_instances(&rows, format)?;
    if let Some(app) = app.filter(|_| rows.is_empty() && failures.is_empty()) {
        progress::detail(&match root.app(app).current_number() {
            Some(_) => {
                format!("no process of {app} runs: its release has only files, or all types are scaled to 0")
            }
            None => format!("{app} has no live release: a push deploys one"),
        });
    }
    let last = failures.pop();
    for (app, err) in failures {
        let _ = user_error::report("piku-run", &err.context(format!("cannot tell what runs of {app}")));
    }
    last.map_or(Ok(()), |(app, err)| Err(err.context(format!("cannot tell what runs of {app}"))))
}

/// Adds what is unusual about the site of each app.
fn add_site_states(root: &PikuRoot, rows: &mut [InstanceSample]) {
    for row in rows {
        let maintenance = root.app(&row.app).is_in_maintenance().then_some("maintenance");
        let certificate = has_failed_request(root, &row.app).then_some("certificate failed");
        let states: Vec<&str> = maintenance.into_iter().chain(certificate).collect();
        row.site = (!states.is_empty()).then(|| states.join(", "));
    }
}

/// Adds what each app may use of the machine.
fn add_grants(root: &PikuRoot, rows: &mut [InstanceSample]) {
    // Unreadable settings are reported by whatever starts a process.
    let settings = HostSettings::read(&root.settings()).unwrap_or_default();
    for row in rows {
        let shown = |path: &GrantedPath| match resolve_grant(root, path) {
            Ok(_) => path.to_string(),
            Err(problem) => format!("{path} ({problem})"),
        };
        row.grants = settings.grants.of(&row.app).iter().map(shown).collect();
    }
}

/// Returns the instances of an app.
pub(crate) fn samples_of(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vec<InstanceSample>> {
    let dir = root.app(app);
    let is_silent = dir.is_stopped() || dir.current_number().is_none();
    if is_silent && !client::is_supervised(root, app) || supervisor::is_resting(root, app) {
        // Do not start a supervisor only to learn that nothing runs.
        return supervisor::stopped(root, app);
    }
    let value = client::ask_within(root, app, &SupervisorRequest::Ps, AskPatience::LOOK)?
        .context("the supervisor has no answer")?;
    serde_json::from_value(value).context("cannot understand the supervisor")
}
