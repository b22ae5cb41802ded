//! The machines behind a front, as `front`, `ps` and `apps` show them.

use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::output::{self, OutputFormat};
use piku_report::user_error::UserError;
use serde::Serialize;

use super::{FrontSite, drain};
use crate::time_text::format_duration;

/// A machine as `front` prints it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MachineRow {
    pub(crate) app: AppName,
    pub(crate) machine: String,
    /// Address of its nginx.
    pub(crate) address: Option<String>,
    pub(crate) state: MachineCondition,
    /// Time since which it is up or down.
    pub(crate) since: Option<Timestamp>,
    /// Reason for which it is down.
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MachineCondition {
    /// It gets requests.
    Up,
    /// It does not answer.
    Down,
    /// It deploys.
    Draining,
    /// It was down at the last deploy and lacks the release.
    Outdated,
    /// It has not been checked yet.
    Unknown,
}

impl MachineRow {
    /// Returns true if it gets no requests although no deploy has taken it out.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.state, MachineCondition::Down | MachineCondition::Outdated)
    }
}

impl MachineCondition {
    fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Draining => "draining",
            Self::Outdated => "outdated",
            Self::Unknown => "unknown",
        }
    }
}

/// Returns the machines behind the front of an app; none without a front.
pub(crate) fn machine_rows(root: &PikuRoot, app: &AppName) -> Vec<MachineRow> {
    // Unreadable settings are reported by whatever deploys.
    let Ok(Some(site)) = FrontSite::find(root, app) else { return Vec::new() };
    let states = site.states();
    let missed = site.outdated();
    let row = |machine: &piku_layout::settings::MachineAddress| {
        let name = machine.name();
        let known = states.iter().find(|state| state.machine == name);
        let state = match known {
            _ if drain::is_draining(&site.dir, &name) => MachineCondition::Draining,
            None => MachineCondition::Unknown,
            Some(known) if !known.is_up => MachineCondition::Down,
            Some(_) if missed.contains(&machine.to_string()) => MachineCondition::Outdated,
            Some(_) => MachineCondition::Up,
        };
        MachineRow {
            app: app.clone(),
            machine: name,
            address: known.and_then(|known| known.address).map(|address| address.to_string()),
            state,
            since: known.map(|known| known.since),
            reason: known.and_then(|known| known.reason.clone()),
        }
    };
    site.machines.iter().map(row).collect()
}

/// Renders the machines of an app, or of all that have a front, below the name of each; empty without a front.
pub(crate) fn render_fronts(root: &PikuRoot, app: Option<&AppName>) -> String {
    let apps = match app {
        Some(app) => vec![app.clone()],
        None => FrontSite::find_all(root).unwrap_or_default().into_iter().map(|site| site.app).collect(),
    };
    let table = |app: AppName| {
        let rows = machine_rows(root, &app);
        (!rows.is_empty())
            .then(|| format!("{app} on other machines:\n{}", render_machines(&rows, Timestamp::now())))
    };
    apps.into_iter().filter_map(table).collect::<Vec<_>>().join("\n")
}

/// Renders a table of machines of one app.
fn render_machines(rows: &[MachineRow], now: Timestamp) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let since = |row: &MachineRow| {
        let seconds = row.since.map(|since| now.duration_since(since).as_secs());
        seconds.map_or_else(|| "-".to_owned(), |seconds| format_duration(u64::try_from(seconds).unwrap_or(0)))
    };
    let cells = |row: &MachineRow| {
        vec![
            row.machine.clone(),
            row.state.as_str().to_owned(),
            since(row),
            row.address.clone().unwrap_or_else(|| "-".to_owned()),
            row.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::table(&["MACHINE", "STATE", "FOR", "ADDRESS", "REASON"], &rows)
}

pub(super) fn print(root: &PikuRoot, app: &AppName, format: OutputFormat) -> anyhow::Result<()> {
    let rows = machine_rows(root, app);
    if rows.is_empty() && format == OutputFormat::Text {
        let what = format!("this machine has no front of {app}");
        let hint = format!("add 'front: true' to deploy_to of {app} in host.yaml, and push");
        return Err(UserError::new(what).hint(hint).into());
    }
    output::print(format, &rows, || render_machines(&rows, Timestamp::now()))
}
