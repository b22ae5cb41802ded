//! Data of an app in the services that it is bound to: its dumps in a backup, and the way back. The dumps of a restored
//! app stay in its folder until the services have them, so that an interrupted restore can be continued.

#![expect(clippy::disallowed_methods, reason = "dumps in the app's own folder, which only piku writes")]

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use piku_backup::{LeftOut, SavedService};
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::key_scope;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::write::PartOutput;
use crate::commands::lifecycle::free_name;
use crate::commands::services::{NewService, bind_app, check_client, create_service, dump_command, restore};
use crate::config::ConfigValues;
use crate::releases::current;
use crate::services::kind::ServiceKind;
use crate::services::state::{BindingState, BoundService, bindings, can_have};

/// File with the services of the dumps beside it.
const LIST: &str = "services.json";
const WITHOUT: &str = "to leave out the data of services: --without-services";

/// Returns the bindings of an app that have data.
fn find_bound(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vec<BoundService>> {
    let mut bound = bindings(root, app)?;
    bound.retain(|one| matches!(one.binding.state, BindingState::Bound | BindingState::Renewing));
    Ok(bound)
}

/// Describes the bindings of an app, each of which will have a dump, and checks whether each can have one.
pub(super) fn describe_services(
    root: &PikuRoot,
    app: &AppName,
) -> anyhow::Result<Vec<(SavedService, anyhow::Result<()>)>> {
    let bound = find_bound(root, app)?;
    Ok(bound.into_iter().map(|one| (describe(&one), check_dump(root, app, &one))).collect())
}

/// Checks that a binding can be dumped, and that its dump can be restored.
fn check_dump(root: &PikuRoot, app: &AppName, bound: &BoundService) -> anyhow::Result<()> {
    let kind = ServiceKind::find(root, &bound.kind)?;
    if kind.about.cache {
        return Ok(());
    }
    if let Some(lacks) = ["dump", "restore"].into_iter().find(|name| !kind.has(name)) {
        let what = format!(
            "the data of {app} in {} cannot be saved: {} has no '{lacks}'",
            bound.service, bound.kind
        );
        return Err(UserError::new(what)
            .hint(WITHOUT)
            .hint(format!(
                "if its data may be lost, mark it in its kind.yaml: 'cache: true', in '{}'",
                kind.folder.display()
            ))
            .into());
    }
    if root.service(&bound.service).is_stopped() {
        let what = format!("the data of {app} cannot be saved: {} is stopped", bound.service);
        return Err(UserError::new(what)
            .hint(format!("to start it: piku start {}", bound.service))
            .hint(WITHOUT)
            .into());
    }
    Ok(())
}

fn describe(bound: &BoundService) -> SavedService {
    SavedService {
        variable: bound.binding.variable.clone(),
        service: bound.service.clone(),
        kind: bound.kind.clone(),
        version: bound.version.clone(),
        variables: bound.binding.variables.clone(),
    }
}

/// Writes the dump of a binding. That of a cache is empty.
pub(super) fn write_dump<W: Write>(
    root: &PikuRoot,
    app: &AppName,
    variable: &str,
    to: &mut PartOutput<'_, '_, W>,
) -> anyhow::Result<LeftOut> {
    let bound = find_bound(root, app)?.into_iter().find(|one| one.binding.variable == variable);
    let bound = bound.with_context(|| format!("{app} is no longer bound as {variable}"))?;
    if !ServiceKind::find(root, &bound.kind)?.about.cache {
        let status = to.run(&mut dump_command(root, &bound)?)?;
        check_client(status, "dump", &bound)?;
    }
    Ok(LeftOut::default())
}

/// Returns the service that a restored binding gets, and whether it is there already: the one of its name, or one for
/// this app alone if that belongs to another app.
///
/// # Errors
/// Fails if there can be none, or if it has to be made and the caller may not do that: a key that is limited to apps.
pub(super) fn choose_service(
    root: &PikuRoot,
    app: &AppName,
    saved: &SavedService,
) -> anyhow::Result<(AppName, bool)> {
    let SavedService { variable, service, kind: kind_name, .. } = saved;
    let kind = ServiceKind::find(root, kind_name)?;
    if !kind.about.cache {
        kind.must_have("restore")?;
    }
    let own = format!("{kind_name}-{app}").parse().ok();
    for name in [Some(service), own.as_ref()].into_iter().flatten() {
        if !root.is_service(name) {
            if free_name::check_free(root, name).is_err() {
                continue;
            }
            kind.versions()?;
            if key_scope().is_some() {
                let what =
                    format!("there is no service {name}, and a key that is limited to apps makes none");
                return Err(UserError::new(what)
                    .hint(format!("with a key for all apps: piku service:create {kind_name} --name {name}"))
                    .hint(WITHOUT)
                    .into());
            }
            return Ok((name.clone(), false));
        }
        if can_have(root, name, &kind, (app, variable))? {
            if root.service(name).is_stopped() {
                let what = format!("the service {name} is stopped");
                return Err(UserError::new(what).hint(format!("to start it: piku start {name}")).into());
            }
            return Ok((name.clone(), true));
        }
    }
    let what =
        format!("there can be no service {service} of the kind {kind_name} for {app}: the name is taken");
    Err(UserError::new(what).hint(WITHOUT).into())
}

/// Tells which bindings of an app that was replaced the restored one does not have.
pub(super) fn tell_left_bindings(
    root: &PikuRoot,
    app: &AppName,
    services: &[SavedService],
) -> anyhow::Result<()> {
    for one in find_bound(root, app)? {
        let variable = &one.binding.variable;
        if !services.iter().any(|saved| saved.variable == *variable) {
            progress::detail(&format!(
                "{} keeps the data that {app} had as {variable}_URL; to have it again: piku service:bind {} {app} --as {variable}",
                one.service, one.service
            ));
        }
    }
    Ok(())
}

/// Writes the list of the services whose dumps are in the folder.
pub(super) fn write_list(folder: &Path, services: &[SavedService]) -> anyhow::Result<()> {
    let path = folder.join(LIST);
    let text = serde_json::to_vec(services).context("cannot make JSON of it")?;
    atomic_file::write(&path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
}

/// Removes the addresses of services from a config: they were those of another binding.
pub(super) fn remove_addresses(services: &[SavedService], config: &mut ConfigValues) {
    for one in services {
        config.unset(&format!("{}_URL", one.variable));
        for name in &one.variables {
            config.unset(name);
        }
    }
}

/// Returns the path of the dump of a binding.
pub(super) fn dump_path(folder: &Path, variable: &str) -> PathBuf {
    folder.join(format!("{variable}.dump"))
}

/// Binds a restored app to its services and gives them the dumps, if that was not done yet. Returns whether there was
/// something to do. Can be repeated.
pub(in crate::commands) fn restore_services(root: &PikuRoot, app: &AppName) -> anyhow::Result<bool> {
    let folder = root.app(app).restoring();
    let path = folder.join(LIST);
    let text = match fs::read(&path) {
        Ok(text) => text,
        // What is left of a finished restore.
        Err(err) if err.kind() == ErrorKind::NotFound => return current::remove_dir(&folder).map(|()| false),
        Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
    };
    let services: Vec<SavedService> =
        serde_json::from_slice(&text).with_context(|| format!("bad list in '{}'", path.display()))?;
    for one in &services {
        restore_service(root, app, one, &folder).map_err(|err| {
            progress::detail(&format!("to continue after that is solved: piku restore {app} --kept"));
            err.context(format!("cannot restore {}_URL of {app}", one.variable))
        })?;
    }
    // The list goes first: without it, nothing is left to do.
    fs::remove_file(&path).with_context(|| format!("cannot remove '{}'", path.display()))?;
    current::remove_dir(&folder)?;
    Ok(true)
}

fn restore_service(
    root: &PikuRoot,
    app: &AppName,
    saved: &SavedService,
    folder: &Path,
) -> anyhow::Result<()> {
    let SavedService { variable, kind, version, .. } = saved;
    let bound = find_bound(root, app)?.into_iter().find(|one| one.binding.variable == *variable);
    let service = match bound {
        // Bound by a restore that was interrupted, or by one of the destroyed app.
        Some(bound) if bound.kind == *kind => bound.service,
        _ => {
            let (service, is_there) = choose_service(root, app, saved)?;
            if !is_there {
                let installed = ServiceKind::find(root, kind)?.versions()?;
                // Another version than the newest only if it is the one that has written the dump.
                let version = installed.contains(version).then(|| version.clone());
                create_service(
                    root,
                    &NewService { kind: kind.clone(), name: Some(service.clone()), version, port: None },
                )?;
            }
            service
        }
    };
    bind_app(root, &service, app, Some(variable))?;
    let bound = find_bound(root, app)?.into_iter().find(|one| one.binding.variable == *variable);
    let bound = bound.filter(|one| one.service == service).context("the binding is gone")?;
    ensure!(bound.kind == *kind, "{service} is of the kind {} here, not {kind}", bound.kind);
    if ServiceKind::find(root, kind)?.about.cache {
        progress::detail(&format!("{service} is a cache, and begins empty for {app}"));
        return Ok(());
    }
    let path = dump_path(folder, variable);
    let file = File::open(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
    restore(root, &bound, file.into())?;
    progress::detail(&format!("{service} has the data of {app} as {variable}_URL"));
    Ok(())
}
