//! `service list` and `service info`.

use std::fmt::Write;

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::is_reached;
use piku_report::output::{self, OutputFormat};
use serde::Serialize;

use super::action::must_be_service;
use crate::live_samples::samples_of;
use crate::services::state::{BindingState, ServiceSettings, ServiceState, UpgradeStep};

/// A service as `service list` prints it. Fields are added, never renamed.
#[derive(Debug, Serialize)]
struct ServiceRow {
    service: AppName,
    kind: AppName,
    version: String,
    port: u16,
    state: &'static str,
    /// Memory of its processes in bytes, if it runs.
    memory_bytes: Option<u64>,
    /// Version whose data an upgrade has kept, if it is not confirmed.
    kept_version: Option<String>,
    bindings: Vec<BindingRow>,
}

#[derive(Debug, Serialize)]
struct BindingRow {
    app: AppName,
    variables: Vec<String>,
    state: &'static str,
    /// Name of its role and database in the server.
    name: String,
    since: jiff::Timestamp,
}

fn describe(root: &PikuRoot, service: AppName) -> anyhow::Result<ServiceRow> {
    let dir = root.service(&service);
    let settings = ServiceSettings::find(&dir)?.context("the service has no 'service.yaml'")?;
    let state = ServiceState::read(&dir)?;
    let samples = samples_of(root, &service).ok();
    let runs = samples.as_ref().is_some_and(|rows| rows.iter().any(|row| row.pid.is_some()));
    let row_state = match () {
        () if dir.is_stopped() => "stopped",
        () if samples.is_none() => "unknown",
        () if runs => "running",
        () => "down",
    };
    let mut samples = samples.unwrap_or_default();
    crate::samples::add_memory(&mut samples);
    let memory: u64 = samples.iter().filter_map(|row| row.memory_bytes).sum();
    let bindings = state.bindings.into_iter().filter(|one| is_reached(&one.app)).map(|one| BindingRow {
        app: one.app,
        variables: one.variables,
        state: one.state.as_str(),
        name: one.name,
        since: one.since,
    });
    Ok(ServiceRow {
        kind: settings.kind,
        version: state.version,
        kept_version: state
            .upgrade
            .filter(|upgrade| upgrade.step == UpgradeStep::Kept)
            .map(|upgrade| upgrade.other_version),
        port: state.port,
        state: row_state,
        memory_bytes: (memory > 0).then_some(memory),
        bindings: bindings.collect(),
        service,
    })
}

/// Prints the services, for a limited key those to which its apps are bound.
pub(crate) fn print_services(root: &PikuRoot, format: OutputFormat) -> anyhow::Result<()> {
    let services = root.services().context("cannot list the services")?;
    let rows: Vec<ServiceRow> =
        services.into_iter().map(|service| describe(root, service)).collect::<anyhow::Result<_>>()?;
    let rows: Vec<ServiceRow> =
        rows.into_iter().filter(|row| is_reached(&row.service) || !row.bindings.is_empty()).collect();
    output::print(format, &rows, || {
        let cells = |row: &ServiceRow| {
            let bound = BindingState::Bound.as_str();
            let apps = row.bindings.iter().map(|one| match one.state {
                state if state == bound => one.app.to_string(),
                state => format!("{} ({state})", one.app),
            });
            let apps: Vec<String> = apps.collect();
            vec![
                row.service.to_string(),
                row.kind.to_string(),
                row.version.clone(),
                row.state.to_owned(),
                row.port.to_string(),
                if apps.is_empty() { "-".to_owned() } else { apps.join(" ") },
            ]
        };
        if rows.is_empty() {
            return String::new();
        }
        let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
        output::table(&["SERVICE", "KIND", "VERSION", "STATE", "PORT", "APPS"], &rows)
    })
}

/// Prints one service.
pub(crate) fn print_service(root: &PikuRoot, service: &AppName, format: OutputFormat) -> anyhow::Result<()> {
    must_be_service(root, service)?;
    let row = describe(root, service.clone())?;
    output::print(format, &row, || {
        let mut text = format!(
            "{}: {} {}, {}, at 127.0.0.1:{}\n",
            row.service, row.kind, row.version, row.state, row.port
        );
        if let Some(bytes) = row.memory_bytes {
            let _ = writeln!(text, "memory: {} MB", bytes >> 20);
        }
        if let Some(version) = &row.kept_version {
            let name = &row.service;
            let _ = writeln!(
                text,
                "the data of version {version} is kept until: piku service:upgrade {name} --confirm {name}"
            );
        }
        for one in &row.bindings {
            let _ = writeln!(text, "{}: {}, as {}", one.app, one.state, one.variables.join(", "));
        }
        text
    })
}
