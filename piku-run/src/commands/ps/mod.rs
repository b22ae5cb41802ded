//! `ps [APP] [--watch]`: prints the instances that the supervisors report.

mod table;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use anyhow::Context;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{GrantedPath, HostSettings};
use piku_report::{progress, user_error};

use crate::backup_plans::AppBackups;
use crate::data_limit::DataUsageRecord;
use crate::grants::resolve_grant;
use crate::ipc::client::SilentSupervisor;
use crate::ipc::fan_out::ask_all;
use crate::known_apps;
use crate::live_samples::samples_of;
use crate::nginx::front::{machine_rows, render_fronts};
use crate::nginx::{CertificateState, certificate_state};
use crate::samples::{self, InstanceSample};
use crate::supervisor;
use piku_report::output::{self, OutputFormat};

/// Milliseconds between two tables of `--watch`.
const WATCH_PAUSE: u16 = 2000;
/// Moves the cursor of a terminal to its first line and clears what is below.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

pub(super) fn run(root: &PikuRoot, app: Option<&AppName>, format: OutputFormat) -> anyhow::Result<()> {
    if let Some(app) = app {
        known_apps::must_be_there(root, app)?;
    }
    let found = FoundInstances::find(root, app)?;
    table::print_instances(&found.rows, format)?;
    print_fronts(root, app, format, &found)?;
    found.report(root, app)
}

/// Prints the machines behind the fronts of these apps below their instances here.
fn print_fronts(
    root: &PikuRoot,
    app: Option<&AppName>,
    format: OutputFormat,
    found: &FoundInstances,
) -> anyhow::Result<()> {
    let machines = render_fronts(root, app);
    if machines.is_empty() || format != OutputFormat::Text {
        return Ok(());
    }
    let gap = if found.rows.is_empty() { "" } else { "\n" };
    output::write(format!("{gap}{machines}").as_bytes())
}

/// Prints the instances every two seconds until the reader closes the output. A terminal shows the last table
/// alone.
pub(super) fn watch(root: &PikuRoot, app: Option<&AppName>, terminal: bool) -> anyhow::Result<()> {
    let stdout = io::stdout();
    let is_terminal = terminal || stdout.is_terminal();
    loop {
        // It may have been destroyed or renamed meanwhile.
        if let Some(app) = app {
            known_apps::must_be_there(root, app)?;
        }
        let found = FoundInstances::find(root, app)?;
        if is_terminal {
            output::write(CLEAR)?;
        }
        table::print_instances(&found.rows, OutputFormat::Text)?;
        print_fronts(root, app, OutputFormat::Text, &found)?;
        if let Err(err) = found.report(root, app) {
            let _ = user_error::report(crate::TOOL, &err);
        }
        // Without requested events, poll still reports that the reader is gone.
        match poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::empty())], WATCH_PAUSE) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(err) => return Err(err).context("cannot wait"),
        }
        if !is_terminal {
            output::write(b"\n")?;
        }
    }
}

/// The instances of one app or of all.
struct FoundInstances {
    rows: Vec<InstanceSample>,
    /// Apps whose supervisor could not be asked. The same error is kept once.
    failures: Vec<(AppName, anyhow::Error)>,
}

impl FoundInstances {
    fn find(root: &PikuRoot, app: Option<&AppName>) -> anyhow::Result<Self> {
        let apps = match app {
            Some(app) => vec![app.clone()],
            None => root.supervised().context("cannot list the apps")?,
        };
        let mut rows = Vec::new();
        let mut failures: Vec<(AppName, anyhow::Error)> = Vec::new();
        let asked = ask_all(&apps, |app| samples_of(root, app));
        for (app, answer) in apps.into_iter().zip(asked) {
            match answer {
                Ok(found) => rows.extend(found),
                // Print an error once if it is the same for all apps, such as a missing daemon.
                Err(err) if failures.iter().any(|(_, other)| other.to_string() == err.to_string()) => {}
                Err(err) => {
                    if err.is::<SilentSupervisor>() || root.app(&app).is_in_cluster() {
                        rows.extend(supervisor::unknown(root, &app).unwrap_or_default());
                    }
                    failures.push((app, err));
                }
            }
        }
        // One broken app does not hide the others.
        samples::add_memory(&mut rows);
        // Unreadable settings are reported by whatever starts a process.
        let settings = HostSettings::read(&root.settings()).unwrap_or_default();
        add_grants(root, &settings, &mut rows);
        add_site_states(root, &mut rows);
        add_backups(root, &settings, &mut rows);
        Ok(Self { rows, failures })
    }

    /// Reports why there are no rows, and the failures; returns the last one.
    fn report(mut self, root: &PikuRoot, app: Option<&AppName>) -> anyhow::Result<()> {
        let runs_here_only = |app: &&AppName| machine_rows(root, app).is_empty();
        let is_empty = self.rows.is_empty() && self.failures.is_empty();
        if let Some(app) = app.filter(|_| is_empty).filter(runs_here_only) {
            progress::detail(&match root.app(app).current_number() {
                Some(_) => {
                    format!(
                        "no process of {app} runs: its release has only files, or all types are scaled to 0"
                    )
                }
                None => format!("{app} has no live release: a push deploys one"),
            });
            let stopped = root.app(app).is_stopped().then(|| "stopped".to_owned());
            let states: Vec<String> = stopped.into_iter().chain(site_state(root, app)).collect();
            if !states.is_empty() {
                progress::detail(&format!("its site: {}", states.join(", ")));
            }
            let settings = HostSettings::read(&root.settings()).unwrap_or_default();
            for one in AppBackups::read(root, &settings, Timestamp::now()).of(app) {
                progress::detail(&format!("backup {}: {}", one.plan, one.describe()));
            }
            if let Some(data) = DataUsageRecord::read(root).of(app) {
                progress::detail(&format!("data: {}", data.describe()));
            }
        }
        let explain =
            |(app, err): (AppName, anyhow::Error)| err.context(format!("cannot tell what runs of {app}"));
        let last = self.failures.pop();
        for failure in self.failures {
            let _ = user_error::report(crate::TOOL, &explain(failure));
        }
        last.map_or(Ok(()), |last| Err(explain(last)))
    }
}

/// Adds what is unusual about the site of each app.
fn add_site_states(root: &PikuRoot, rows: &mut [InstanceSample]) {
    let mut known: BTreeMap<AppName, Option<String>> = BTreeMap::new();
    for row in rows {
        let state = known.entry(row.app.clone()).or_insert_with(|| site_state(root, &row.app));
        row.site.clone_from(state);
    }
}

/// Returns what is unusual about the site of an app, apart from being stopped.
fn site_state(root: &PikuRoot, app: &AppName) -> Option<String> {
    let maintenance = root.app(app).is_in_maintenance().then_some("maintenance");
    let certificate = certificate_state(root, app).and_then(CertificateState::problem);
    let states: Vec<&str> = maintenance.into_iter().chain(certificate).collect();
    (!states.is_empty()).then(|| states.join(", "))
}

/// Adds what each app may use of the machine.
fn add_grants(root: &PikuRoot, settings: &HostSettings, rows: &mut [InstanceSample]) {
    for row in rows {
        let shown = |path: &GrantedPath| match resolve_grant(root, path) {
            Ok(_) => path.to_string(),
            Err(problem) => format!("{path} ({problem})"),
        };
        row.grants = settings.grants.of(&row.app).iter().map(shown).collect();
    }
}

/// Adds the last backups of each app, and the size of its data if that is limited.
fn add_backups(root: &PikuRoot, settings: &HostSettings, rows: &mut [InstanceSample]) {
    let backups = AppBackups::read(root, settings, Timestamp::now());
    let usage = DataUsageRecord::read(root);
    for app in rows.chunk_by_mut(|one, next| one.app == next.app) {
        let (its_backups, data) = (backups.of(&app[0].app), usage.of(&app[0].app));
        for row in app {
            (row.backups, row.data) = (its_backups.clone(), data.clone());
        }
    }
}
