//! Renders an app as a file of Docker Compose.

use std::fmt::Write;

use piku_layout::jail::{APP, DATA, HOME};
use serde_json::{Value, json};

use super::ContainerApp;
use super::app::ContainerProcess;
use super::limits::format_size;
use super::yaml_text::to_yaml;
use crate::procfile::ProcessKind;

/// Units of an amount of memory.
const UNITS: [&str; 4] = ["b", "k", "m", "g"];

/// Settings of the caller that only Compose has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComposeSettings {
    /// First port of the host, on loopback, at which the instances of the type with a port are reached.
    pub(crate) port: u16,
    /// User id of all processes.
    pub(crate) uid: u32,
    /// True if the app may write anywhere in its container.
    pub(crate) has_writable_root: bool,
}

/// Renders the file.
///
/// # Errors
/// Fails if there are not enough ports.
pub(crate) fn render(app: &ContainerApp, settings: &ComposeSettings) -> anyhow::Result<String> {
    let owner = owner_name(app);
    let mut services = json!({});
    services[&owner] = volume_owner(app, settings);
    for process in &app.processes {
        let mut service = service(app, process, settings)?;
        service["depends_on"][&owner] = json!({ "condition": "service_completed_successfully" });
        services[&process.label] = service;
    }
    let file = json!({ "name": app.name.as_str(), "services": services, "volumes": { "data": {} } });
    let mut text = format!("# {} for Docker Compose, by piku-procfile render compose\n", app.name);
    for process in app.of_kind(|kind| kind == ProcessKind::Cron) {
        let schedule = process.entry.schedule.as_deref().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# Compose has no schedules. A line for crontab(5):");
        let _ = writeln!(text, "# {schedule} docker compose run --rm {}", process.label);
    }
    text.push_str(&to_yaml(&file));
    Ok(text)
}

/// Returns the name of the service that gives the volume to the app's user; no process type has it.
fn owner_name(app: &ContainerApp) -> String {
    let mut name = "data-owner".to_owned();
    while app.processes.iter().any(|process| process.label == name) {
        name.push('-');
        name.push('0');
    }
    name
}

/// Returns a service that runs once before the others: a new volume belongs to root.
fn volume_owner(app: &ContainerApp, settings: &ComposeSettings) -> Value {
    let script = format!("mkdir -p {HOME} && chown {0}:{0} {DATA} {HOME}", settings.uid);
    json!({
        "image": escape(&app.image),
        "entrypoint": ["/bin/sh", "-c"],
        "command": [script],
        "user": "0:0",
        "read_only": true,
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "cap_add": ["CHOWN", "DAC_OVERRIDE"],
        "security_opt": ["no-new-privileges:true"],
        "volumes": [format!("data:{DATA}")],
        "restart": "no",
    })
}

fn service(
    app: &ContainerApp,
    process: &ContainerProcess,
    settings: &ComposeSettings,
) -> anyhow::Result<Value> {
    let kind = process.entry.kind;
    let mut environment = json!({});
    let shared =
        app.variables.iter().chain(&app.secrets).map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in shared.chain(process.variables()).chain([("PS", process.label.as_str())]) {
        environment[name] = json!(escape(value));
    }
    let mut service = json!({
        "image": escape(&app.image),
        "command": process.argv().map(|word| escape(&word)),
        "working_dir": APP,
        "environment": environment,
        "user": format!("{0}:{0}", settings.uid),
        "init": true,
        "read_only": !settings.has_writable_root,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": [format!("/tmp:size={}", process.limits.tmp)],
        "volumes": [format!("data:{DATA}")],
        "stop_grace_period": format!("{}s", app.stop_timeout),
        "restart": if kind.is_long_running() { "unless-stopped" } else { "no" },
    });
    if kind.is_long_running() {
        service["deploy"] = json!({ "replicas": process.count });
        let before = app.of_kind(|kind| kind == ProcessKind::Release);
        for release in before {
            service["depends_on"] =
                json!({ &release.label: { "condition": "service_completed_successfully" } });
        }
    }
    if kind == ProcessKind::Cron {
        // Not started by `up`.
        service["profiles"] = json!(["cron"]);
    }
    if kind.has_port() && process.count > 0 {
        service["ports"] = json!([published_ports(app, process, settings)?]);
    }
    if let Some(memory) = process.limits.memory {
        service["mem_limit"] = json!(format_size(memory, UNITS));
    }
    if let Some(cpu) = process.limits.cpu {
        service["cpus"] = json!(format!("{}.{:03}", cpu / 1000, cpu % 1000));
    }
    if let Some(pids) = process.limits.pids {
        service["pids_limit"] = json!(pids);
    }
    if let Some(files) = process.limits.open_files {
        service["ulimits"] = json!({ "nofile": files });
    }
    Ok(service)
}

/// Returns the ports of the host, one for each instance, and that of the container.
fn published_ports(
    app: &ContainerApp,
    process: &ContainerProcess,
    settings: &ComposeSettings,
) -> anyhow::Result<String> {
    let first = settings.port;
    let last = process.port_from(first, process.count)?;
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    Ok(format!("127.0.0.1:{range}:{}", app.port))
}

/// Returns the text with each `$` doubled: Compose reads a single one as a variable of its own.
fn escape(text: &str) -> String {
    text.replace('$', "$$")
}
