//! Renders an app as units of Quadlet: systemd runs the containers with podman.

use std::fmt::Write;

use piku_layout::jail::{APP, DATA};

use super::ContainerApp;
use super::app::ContainerProcess;
use crate::procfile::ProcessKind;
use crate::quoting::{quote_shell, quote_systemd};
use crate::render::systemd::{SystemdUnit, calendar_events, render_timer};

/// Settings of the caller that only Quadlet has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuadletSettings {
    /// Port of the host, on loopback, of the first instance of the type with a port; further ones follow.
    pub(crate) port: u16,
    /// User id of all processes inside the containers.
    pub(crate) uid: u32,
    /// True if the app may write anywhere in its container.
    pub(crate) has_writable_root: bool,
}

/// Renders the files: a volume, a script that makes the secrets, a container for each instance, and a timer for
/// each cron job, which systemd does not find beside the others.
///
/// # Errors
/// Fails if there are not enough ports.
pub(crate) fn render(app: &ContainerApp, settings: &QuadletSettings) -> anyhow::Result<Vec<SystemdUnit>> {
    let mut units = vec![SystemdUnit {
        name: format!("{}-data.volume", app.name),
        text: format!("[Unit]\nDescription={} data\n\n[Volume]\nVolumeName={}-data\n", app.name, app.name),
    }];
    if !app.secrets.is_empty() {
        units.push(SystemdUnit { name: format!("{}-secrets.sh", app.name), text: render_secrets(app) });
    }
    for process in &app.processes {
        let name = format!("{}-{}", app.name, process.label);
        if !process.entry.kind.is_long_running() {
            let text = render_container(app, process, &process.label, None, settings);
            units.push(SystemdUnit { name: format!("{name}.container"), text });
            if process.entry.kind == ProcessKind::Cron {
                let (times, _) = calendar_events(process.entry.schedule.as_deref().unwrap_or_default());
                let text = render_timer(&app.name, &process.entry, &times, None);
                units.push(SystemdUnit { name: format!("{name}.timer"), text });
            }
            continue;
        }
        for number in 1..=process.count {
            let has_port = process.entry.kind.has_port();
            let port = has_port.then(|| process.port_from(settings.port, number)).transpose()?;
            let instance = format!("{}-{number}", process.label);
            let text = render_container(app, process, &instance, port, settings);
            units.push(SystemdUnit { name: format!("{}-{instance}.container", app.name), text });
        }
    }
    Ok(units)
}

/// Returns the name of the secret of podman that has a value of the stored config.
fn secret_name(app: &ContainerApp, variable: &str) -> String {
    format!("{}-{variable}", app.name)
}

/// Returns a script that hands the stored config to podman, each value as a secret. No command line has one.
fn render_secrets(app: &ContainerApp) -> String {
    let mut text = String::from("#!/bin/sh\nset -eu\n");
    for (name, value) in &app.secrets {
        let secret = secret_name(app, name);
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "printf %s {} | podman secret create --replace {secret} -", quote_shell(value));
    }
    text
}

fn render_container(
    app: &ContainerApp,
    process: &ContainerProcess,
    instance: &str,
    port: Option<u16>,
    settings: &QuadletSettings,
) -> String {
    let kind = process.entry.kind;
    let mut text = format!("[Unit]\nDescription={} {instance}\n", app.name);
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}={value}");
    };
    if kind.is_long_running() {
        for release in app.of_kind(|kind| kind == ProcessKind::Release) {
            let unit = format!("{}-{}.service", app.name, release.label);
            line("Requires", &unit);
            line("After", &unit);
        }
        line("StartLimitIntervalSec", "0");
    }
    text.push_str("\n[Container]\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name}={value}");
    };
    line("Image", &app.image.replace('%', "%%"));
    line("ContainerName", &format!("{}-{instance}", app.name));
    line("Exec", &process.argv().map(|word| quote_command_word(&word)).join(" "));
    line("WorkingDir", APP);
    let shared = app.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in shared.chain(process.variables()).chain([("PS", instance)]) {
        line("Environment", &quote_command_word(&format!("{name}={value}")));
    }
    // Quadlet writes variables on the command line of podman, which every user can read.
    for name in app.secrets.keys() {
        line("Secret", &format!("{},type=env,target={name}", secret_name(app, name)));
    }
    line("User", &settings.uid.to_string());
    line("Group", &settings.uid.to_string());
    // The processes own the volume.
    line("Volume", &format!("{}-data.volume:{DATA}:U", app.name));
    line("ReadOnly", if settings.has_writable_root { "false" } else { "true" });
    line("ReadOnlyTmpfs", "false");
    line("Tmpfs", &format!("/tmp:size={}", process.limits.tmp));
    line("NoNewPrivileges", "true");
    line("DropCapability", "all");
    line("RunInit", "true");
    line("StopTimeout", &app.stop_timeout.to_string());
    if let Some(port) = port {
        line("PublishPort", &format!("127.0.0.1:{port}:{}", app.port));
    }
    if let Some(pids) = process.limits.pids {
        line("PidsLimit", &pids.to_string());
    }
    if let Some(files) = process.limits.open_files {
        line("Ulimit", &format!("nofile={files}:{files}"));
    }
    if let Some(memory) = process.limits.memory {
        line("PodmanArgs", &format!("--memory={memory}"));
    }
    if let Some(cpu) = process.limits.cpu {
        line("PodmanArgs", &format!("--cpus={}.{:03}", cpu / 1000, cpu % 1000));
    }
    text.push_str("\n[Service]\n");
    if kind.is_long_running() {
        text.push_str("Restart=always\nRestartSec=1\n");
        // A few seconds more than podman waits.
        let _ = writeln!(text, "TimeoutStopSec={}", u64::from(app.stop_timeout) + 5);
        text.push_str("\n[Install]\nWantedBy=default.target\n");
    } else {
        text.push_str("Type=oneshot\n");
        if kind == ProcessKind::Release {
            text.push_str("RemainAfterExit=yes\n");
        }
    }
    text
}

/// Quotes a word that becomes part of a command line of systemd, where `$$` is a dollar sign.
fn quote_command_word(word: &str) -> String {
    quote_systemd(word).replace('$', "$$")
}
