//! Desired state of an app, from its release, its `ENV` and the operator's formation.

#![expect(clippy::disallowed_methods, reason = "the app's formation, which only piku writes")]

pub(crate) mod health;
pub(crate) mod limits;
pub(crate) mod pinned_port;
pub(crate) mod resting_app;
pub(crate) mod unknown_type;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use piku_files::{TreeHandle, atomic_file};
use piku_layout::name::{AppName, ProcessName};
use piku_layout::settings::{HostSettings, NetworkMode};
use piku_procfile::listen_ports;
use piku_procfile::procfile::ProcessKind;
use piku_procfile::render::app_values::split_items;
use piku_procfile::schedule;
use piku_procfile::writable_paths;
use piku_report::user_error::UserError;

use crate::core::{FoundWorker, ProbePace, ProcessType, RunPlan, TrialRule};
use crate::data_limit;
use crate::instance::environment::{ProcessRole, ReleaseContext, Vars};
use crate::instance::network;
use crate::instance::tree_access::TreeAccess;
use crate::log_forwarding;

pub(crate) use health::HealthCheck;

/// Number of instances of each type; a type that is missing has one.
pub(crate) type Formation = BTreeMap<ProcessName, u32>;

/// Default time limit for becoming ready, in seconds.
const READY_WITHIN: u64 = 60;
const GRACE: u64 = 10;

/// Reads `formation.json`; a missing file is empty.
pub(crate) fn read_formation(path: &Path) -> anyhow::Result<Formation> {
    match fs::read(path) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("bad formation in '{}'", path.display()))
        }
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(Formation::new()),
        Err(err) => Err(err).with_context(|| format!("cannot read '{}'", path.display())),
    }
}

/// Writes `formation.json` and syncs it.
pub(crate) fn write_formation(path: &Path, formation: &Formation) -> anyhow::Result<()> {
    let text = serde_json::to_vec_pretty(formation).context("cannot write the formation as JSON")?;
    atomic_file::write(path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
}

/// Returns the plan of a release, its health check, and warnings for its author.
pub(crate) fn plan(world: &ReleaseContext, formation: &Formation) -> (RunPlan, HealthCheck, Vec<String>) {
    let role = ProcessRole { ps: "web.1", kind: "web", port: Some(0) };
    // With a bad config no instance can start, and each says why. Running instances must not be stopped for
    // that.
    let mut warnings = Vec::new();
    let vars = world.vars(role).unwrap_or_else(|err| {
        warnings.push(format!("no settings: {err:#}"));
        Vars::new()
    });
    let crons = world.release.processes.iter().filter(|(name, command)| {
        ProcessKind::classify(name, command) == ProcessKind::Cron && formation.get(*name) != Some(&0)
    });
    let crons = crons.filter_map(|(name, command)| {
        schedule::split_schedule(command).map(|(schedule, _)| (name.clone(), schedule)).ok()
    });
    let crons = crons.collect::<Vec<_>>();
    let types = list_types(world, formation, &vars);
    let mut seconds = |name, least| {
        parse_seconds(&vars, name, least).unwrap_or_else(|bad| {
            warnings
                .push(format!("{name}={bad} is ignored: expected a number of seconds from {least} to 86400"));
            None
        })
    };
    let ready_within = seconds("HEALTHCHECK_START_PERIOD", 0.1).unwrap_or(Duration::from_secs(READY_WITHIN));
    let interval = seconds("HEALTHCHECK_INTERVAL", 0.01);
    let timeout = seconds("HEALTHCHECK_TIMEOUT", 0.1).unwrap_or(ProbePace::default().timeout);
    let uptime = seconds("HEALTHCHECK_UPTIME", 0.0);
    let pace = ProbePace { interval, timeout, uptime, ..ProbePace::default() };
    let grace = seconds("STOP_TIMEOUT", 0.0).unwrap_or(Duration::from_secs(GRACE));
    let host = health::host_of(&vars).unwrap_or_else(|err| {
        warnings.push(format!("{err}"));
        health::DEFAULT_HOST.to_owned()
    });
    let path = vars.get("HEALTHCHECK_PATH").filter(|path| {
        let is_good = path.starts_with('/');
        if !is_good {
            warnings.push(format!("HEALTHCHECK_PATH={path} is ignored: expected a path such as /health"));
        }
        is_good
    });
    let path = path.cloned();
    let protocol = health::protocol_of(&vars).unwrap_or_else(|err| {
        warnings.push(format!("{err}: HTTP is asked for"));
        health::HealthProtocol::default()
    });
    if !world.is_jailed() && TreeAccess::of(&vars).is_ok_and(|access| !access.kept.is_empty()) {
        let name = writable_paths::VARIABLE;
        warnings.push(format!("{name} has no effect without a jail: the app writes to its release"));
    }
    if let Some(Err(err)) =
        vars.get(log_forwarding::VARIABLE).map(|value| value.parse::<log_forwarding::SyslogAddress>())
    {
        warnings.push(format!("{} is ignored: {err}", log_forwarding::VARIABLE));
    }
    let mut check = HealthCheck { protocol, host, path, zone: None };
    let ports = split_words(vars.get(listen_ports::VARIABLE));
    let plan = RunPlan {
        release: world.release.number,
        types,
        crons,
        ready_within,
        pace,
        grace,
        asked: check.question(),
        expected: check.expected(),
        listen_ports: ports.iter().filter_map(|port| port.parse().ok()).collect(),
        app: world.app.to_string(),
    };
    check.zone = vars.get("TZ").filter(|name| !name.is_empty()).and_then(|name| {
        let known = TimeZone::get(name.trim_start_matches(':'));
        if known.is_err() && !plan.crons.is_empty() {
            warnings.push(format!(
                "this machine does not know the time zone TZ={name}: cron jobs run in its own"
            ));
        }
        known.ok()
    });
    (plan, check, warnings)
}

/// Returns the types whose processes run for long.
fn list_types(world: &ReleaseContext, formation: &Formation, vars: &Vars) -> Vec<ProcessType> {
    let overlap: Vec<&str> = split_words(vars.get("OVERLAP"));
    let notify: Vec<&str> = split_words(vars.get("NOTIFY"));
    // An invalid port is rejected before a change.
    let pinned = pinned_port::of(world).unwrap_or(None);
    let preset = &world.release.formation;
    // Of all types together: the app asks for them, not the operator.
    let mut left = ProcessName::MAX_INSTANCES;
    let mut types = Vec::new();
    for (name, command) in &world.release.processes {
        let kind = ProcessKind::classify(name, command);
        if !kind.is_long_running() {
            continue;
        }
        let listens = kind.has_port() || world.service_port().is_some();
        let asked = preset.get(name).map(|count| (*count).min(left));
        let count = match (formation.get(name), asked) {
            (Some(count), _) => (*count).min(ProcessName::MAX_INSTANCES),
            (None, Some(count)) => {
                left -= count;
                count
            }
            (None, None) => 1,
        };
        types.push(ProcessType {
            name: name.clone(),
            count,
            must_listen: listens,
            pinned: pinned.filter(|_| listens),
            overlap: overlap.contains(&name.as_str()),
            notifies: notify.contains(&name.as_str()),
            trial: TrialRule::default(),
        });
    }
    set_trial_rules(&mut types);
    types
}

/// Returns the cron types of a release; one with a count of 0 does not run.
pub(crate) fn crons(world: &ReleaseContext) -> Vec<ProcessName> {
    let processes = world.release.processes.iter();
    let crons = processes.filter(|(name, command)| ProcessKind::classify(name, command) == ProcessKind::Cron);
    crons.map(|(name, _)| name.clone()).collect()
}

/// Checks that the resource limits and the writable paths of a release are valid.
pub(crate) fn check_limits(world: &ReleaseContext) -> anyhow::Result<()> {
    data_limit::check_value(world)?;
    let kinds = world.release.processes.keys().map(ProcessName::as_str);
    // Without a Procfile, the processes are known only after the build.
    for kind in kinds.chain(world.release.processes.is_empty().then_some("web")) {
        // A bad config is reported elsewhere.
        let Ok(vars) = world.vars(ProcessRole { ps: "web.1", kind, port: Some(0) }) else { continue };
        limits::of(kind, &vars)?;
        limits::tmp_size(kind, &vars)?;
        TreeAccess::of(&vars)?;
    }
    Ok(())
}

/// Checks that no writable path is a symlink in the sources, or leads through one or through a file: such a path
/// is refused at each start.
pub(crate) fn check_kept_paths(world: &ReleaseContext) -> anyhow::Result<()> {
    let Ok(vars) = world.vars(ProcessRole { ps: "web.1", kind: "web", port: Some(0) }) else {
        return Ok(());
    };
    let tree = TreeHandle::open(&world.tree())?;
    for kept in TreeAccess::of(&vars)?.kept {
        piku_chroot::check_kept_path(&tree, kept.path()).map_err(|err| {
            let what = format!("{}: {}: {err:#}", writable_paths::VARIABLE, kept.path().display());
            UserError::new(what).hint("name a file or a folder of the app itself")
        })?;
    }
    Ok(())
}

/// Returns the ports that an app declares beside `PORT`.
///
/// # Errors
/// Fails if a value is not a port, is in the range of ports for instances, or is nginx's.
pub(crate) fn extra_listen_ports(vars: &Vars, settings: &HostSettings) -> anyhow::Result<Vec<u16>> {
    let value = vars.get(listen_ports::VARIABLE).map(String::as_str);
    let ports = listen_ports::parse_listen_ports(value, settings.reserved_ports())?;
    ports.iter().try_for_each(|port| check_not_of_nginx(listen_ports::VARIABLE, *port, settings))?;
    Ok(ports)
}

/// Fails if piku's nginx listens on a port, or will when it is started.
pub(crate) fn check_not_of_nginx(variable: &str, port: u16, settings: &HostSettings) -> anyhow::Result<()> {
    let mut of_nginx = settings.nginx.http.iter().chain(&settings.nginx.https);
    if settings.nginx.enabled && of_nginx.any(|listen| listen.port == port) {
        let what =
            format!("{variable}={port} is a port of piku's nginx, which passes requests on to the app's own");
        return Err(UserError::new(what).hint("leave it out, or choose another one").into());
    }
    Ok(())
}

/// Checks that the settings of the release for its health check, its ports and its network are valid.
pub(crate) fn check_network(
    world: &ReleaseContext,
    plan: &RunPlan,
    settings: &HostSettings,
) -> anyhow::Result<()> {
    let Ok(vars) = world.vars(ProcessRole { ps: "web.1", kind: "web", port: Some(0) }) else {
        return Ok(());
    };
    extra_listen_ports(&vars, settings)?;
    pinned_port::check(world, plan, settings)?;
    let protocol = health::protocol_of(&vars)?;
    health::host_of(&vars)?;
    match world.network_mode(&vars, settings.network.of(&world.app))? {
        NetworkMode::Shared => Ok(()),
        NetworkMode::Own => network::check(world.is_jailed(), protocol == health::HealthProtocol::Http),
    }
}

/// Returns a plan that keeps the running instances as they are, for when the desired state cannot be read.
pub(crate) fn as_found(app: &AppName, found: &[FoundWorker]) -> Option<RunPlan> {
    let live = || found.iter().filter(|one| one.live);
    let release = live().map(|one| one.release).max()?;
    let mut types: Vec<ProcessType> = Vec::new();
    for one in live().filter(|one| one.release == release) {
        match types.iter_mut().find(|kind| kind.name == one.ps.kind) {
            Some(kind) => kind.count = kind.count.max(one.ps.index),
            None => types.push(ProcessType {
                name: one.ps.kind.clone(),
                count: one.ps.index,
                must_listen: one.port.is_some(),
                pinned: None,
                overlap: false,
                notifies: false,
                trial: TrialRule::default(),
            }),
        }
    }
    let ready_within = Duration::from_secs(READY_WITHIN);
    Some(RunPlan {
        release,
        types,
        crons: Vec::new(),
        ready_within,
        pace: ProbePace::default(),
        grace: Duration::from_secs(GRACE),
        asked: HealthCheck::default().question(),
        expected: HealthCheck::default().expected(),
        listen_ports: Vec::new(),
        app: app.to_string(),
    })
}

/// Decides what the end of a worker on trial means: a type that listens decides about a change, and its
/// workers do not; otherwise the workers decide.
fn set_trial_rules(types: &mut [ProcessType]) {
    let has_listener = types.iter().any(|kind| kind.must_listen && kind.count > 0);
    for kind in types.iter_mut().filter(|kind| !kind.must_listen && !kind.notifies) {
        kind.trial = if has_listener { TrialRule::Reported } else { TrialRule::MustNotFail };
    }
}

fn split_words(value: Option<&String>) -> Vec<&str> {
    value.map(|value| split_items(value).collect()).unwrap_or_default()
}

fn parse_seconds(vars: &Vars, name: &str, least: f64) -> Result<Option<Duration>, String> {
    let Some(value) = vars.get(name) else { return Ok(None) };
    match value.trim().parse::<f64>() {
        Ok(number) if (least..=86_400.0).contains(&number) => Ok(Some(Duration::from_secs_f64(number))),
        _ => Err(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_seconds() {
        let vars = |value: &str| Vars::from([("A".to_owned(), value.to_owned())]);
        assert_eq!(parse_seconds(&vars("2.5"), "A", 0.0), Ok(Some(Duration::from_millis(2500))));
        assert_eq!(parse_seconds(&vars("2"), "B", 0.0), Ok(None));
        assert_eq!(parse_seconds(&vars("0"), "A", 0.1), Err("0".to_owned()));
        for bad in ["", "-1", "ten", "NaN", "inf", "1e9"] {
            assert_eq!(parse_seconds(&vars(bad), "A", 0.0), Err(bad.to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_formation_is_read_back_and_a_missing_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("formation.json");
        assert!(read_formation(&path).unwrap().is_empty());
        let formation = Formation::from([("web".parse().unwrap(), 2), ("worker".parse().unwrap(), 0)]);
        write_formation(&path, &formation).unwrap();
        assert_eq!(read_formation(&path).unwrap(), formation);
        fs::write(&path, r#"{"web": "two"}"#).unwrap();
        assert!(read_formation(&path).is_err());
    }
}
