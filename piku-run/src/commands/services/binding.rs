//! Bindings of apps to services. Each change is written down before its first step, so that the next command finishes
//! or undoes an interrupted one.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::action::lock_service;
use super::binding_claim::claim_bindings;
use super::binding_values::{
    choose_name, hash_values, is_in_config, parse_prefix, parse_variables, random_password,
};
use super::open_service::OpenService;
use crate::commands::create_if_missing;
use crate::config::{ConfigEdit, store};
use crate::known_apps::must_be_there;
use crate::services::state::{BindingState, ServiceBinding, ServiceState};

/// Binds an app to a service: a role and a database of its own, and their address in the app's config as one release.
///
/// # Errors
/// Fails if the app cannot be bound or does not come up with the new config; the binding is then undone.
pub(crate) fn bind_app(
    root: &PikuRoot,
    service: &AppName,
    app: &AppName,
    variable: Option<&str>,
) -> anyhow::Result<()> {
    if root.is_service(app) {
        let what = format!("{app} is a service; an app is bound to a service");
        return Err(UserError::new(what).hint("piku service:bind SERVICE APP").code(USAGE).into());
    }
    let variable = variable.map(parse_prefix).transpose()?;
    let mut opened = OpenService::open(root, service, app)?;
    let variable = variable.unwrap_or_else(|| opened.kind.about.variable.clone());
    let at = opened.state.position(app, &variable);
    let old = at.map(|at| opened.state.bindings[at].clone());
    if let Some(old) = old.as_ref().filter(|old| old.state == BindingState::Bound) {
        if is_in_config(root, old)? {
            progress::step(&format!("{app} is bound to {service} already"));
            return Ok(());
        }
    }
    check_exclusive(&opened, app, &variable)?;
    create_if_missing(root, app)?;
    check_variable(root, app, &variable)?;
    let binding = ServiceBinding {
        app: app.clone(),
        variable: variable.clone(),
        // Of a binding that was renewed, the data has the name under which it was made.
        name: match &old {
            Some(old) => old.name.clone(),
            None => choose_name(app, &variable, &opened.kind, &opened.state.bindings),
        },
        password: random_password()?,
        variables: vec![format!("{variable}_URL")],
        value_hashes: BTreeMap::new(),
        state: if old.is_some() { BindingState::Renewing } else { BindingState::Creating },
        since: Timestamp::now(),
    };
    let at = at.unwrap_or(opened.state.bindings.len());
    if at == opened.state.bindings.len() {
        opened.state.bindings.push(binding.clone());
    } else {
        opened.state.bindings[at] = binding.clone();
    }
    opened.state.write(&opened.dir)?;
    let name = binding.name.as_str();
    let bound = opened.run("bind", &binding).and_then(|printed| parse_variables(&printed)).and_then(|vars| {
        let written = opened.binding_mut(name)?;
        written.variables = vars.keys().cloned().collect();
        written.value_hashes = hash_values(&vars);
        opened.state.write(&opened.dir)?;
        opened.deploy(app, &ConfigEdit::Set(vars.into_iter().collect()), false)
    });
    let written = opened.binding_mut(name)?.clone();
    if let Err(err) = bound {
        // After the switch to the release that has it, the app uses its data.
        if is_in_config(root, &written)? {
            opened.put(name, BindingState::Bound)?;
            return Err(
                err.context(format!("{app} is bound to {service}, but what follows the binding failed"))
            );
        }
        opened.undo(name).context("cannot undo the binding; the next command on the service does")?;
        return Err(err.context(format!("{app} is not bound to {service}")));
    }
    opened.put(name, BindingState::Bound)?;
    progress::step(&format!("{app} is bound to {service}: {}", written.variables.join(", ")));
    Ok(())
}

/// Takes a service away from an app. The data is kept.
pub(crate) fn unbind_app(
    root: &PikuRoot,
    service: &AppName,
    app: &AppName,
    variable: Option<&str>,
) -> anyhow::Result<()> {
    let mut opened = OpenService::open(root, service, app)?;
    let binding = opened.find(app, variable)?;
    if binding.state == BindingState::Unbound {
        progress::step(&format!("{app} is not bound to {service}; its data is kept"));
        return Ok(());
    }
    opened.put(&binding.name, BindingState::Unbinding)?;
    opened.finish_unbinding(&binding.name)?;
    progress::step(&format!("{app} is no longer bound to {service}; its data is kept"));
    progress::detail(&format!("to remove the data: piku service:drop {service} {app} --confirm {app}"));
    Ok(())
}

/// Removes the data of an app that is not bound any more.
///
/// # Errors
/// Fails if the app is bound.
pub(crate) fn drop_binding(
    root: &PikuRoot,
    service: &AppName,
    app: &AppName,
    confirm: &AppName,
    variable: Option<&str>,
) -> anyhow::Result<()> {
    if app != confirm {
        let what = format!("'{confirm}' is not the name of the app whose data is to go, '{app}'");
        return Err(UserError::new(what).code(USAGE).into());
    }
    let mut opened = OpenService::open(root, service, app)?;
    let binding = opened.find(app, variable)?;
    if binding.state == BindingState::Bound
        && is_in_config(root, &binding)?
        && must_be_there(root, app).is_ok()
    {
        return Err(UserError::new(format!("{app} is bound to {service}, and uses its data"))
            .hint(format!("first: piku service:unbind {service} {app}"))
            .into());
    }
    opened.put(&binding.name, BindingState::Dropping)?;
    opened.finish_dropping(&binding.name)?;
    progress::step(&format!("the data of {app} in {service} is removed"));
    Ok(())
}

/// Takes the data of an app that is removed for good out of reach of a later app of its name, and removes it in all
/// services. What is left to do in a server that does not answer, the next command on the service does.
///
/// # Errors
/// Fails if the state of a service cannot be written.
pub(crate) fn remove_data_of(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let has_bindings = |state: &ServiceState| state.bindings.iter().any(|one| one.app == *app);
    for service in root.services().context("cannot list the services")? {
        let dir = root.service(&service);
        if !has_bindings(&ServiceState::read(&dir)?) {
            continue;
        }
        let claim = claim_bindings(root, &service, app)?;
        let lock = lock_service(root, &service)?;
        let mut state = ServiceState::read(&dir)?;
        for binding in state.bindings.iter_mut().filter(|one| one.app == *app) {
            binding.state = BindingState::Dropping;
            binding.since = Timestamp::now();
        }
        state.write(&dir)?;
        drop((lock, claim));
        let finished = if root.service(&service).is_stopped() {
            Ok(())
        } else {
            OpenService::open(root, &service, app).map(drop)
        };
        if let Err(err) = finished {
            progress::warning(&format!("{err:#}"));
        }
        if has_bindings(&ServiceState::read(&dir)?) {
            progress::detail(&format!("the next command on {service} removes the data of {app} there"));
        }
    }
    Ok(())
}

/// Fails if a server for one binding has another one.
fn check_exclusive(opened: &OpenService<'_>, app: &AppName, variable: &str) -> anyhow::Result<()> {
    let other = opened.state.bindings.iter().find(|one| one.app != *app || one.variable != variable);
    let Some(other) = other.filter(|_| opened.kind.about.exclusive) else { return Ok(()) };
    let kind = &opened.kind;
    let what = format!(
        "{} belongs to {}: a server of the kind {} has one binding",
        opened.name, other.app, kind.name
    );
    let name = format!("{}-{app}", kind.name);
    let hint =
        format!("piku service:create {} --name {name}; then piku service:bind {name} {app}", kind.name);
    Err(UserError::new(what).hint(hint).into())
}

/// Fails if the app has a variable of this name that is not of a binding.
fn check_variable(root: &PikuRoot, app: &AppName, variable: &str) -> anyhow::Result<()> {
    let name = format!("{variable}_URL");
    if store::read(&root.app(app))?.get(&name).is_none() {
        return Ok(());
    }
    Err(UserError::new(format!("{app} has {name} already"))
        .hint(format!("remove it: piku config:unset {app} {name}; or choose another name: --as NAME"))
        .into())
}
