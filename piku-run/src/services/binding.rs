//! Bindings of apps to services. Each change is written down before its first step, so that the next command finishes
//! or undoes an interrupted one.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::unknown_app::is_reached;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::action::{binding_variables, lock_service, run_beside_server, wait_until_ready};
use super::binding_values::{
    choose_name, config_variables, hash_values, is_in_config, parse_prefix, parse_variables, random_password,
};
use super::kind::ServiceKind;
use super::state::{BindingState, ServiceBinding, ServiceSettings, ServiceState};
use crate::commands::{change_config, create_if_missing, must_be_there};
use crate::config::{ConfigEdit, store};

/// A locked service.
struct OpenService<'a> {
    root: &'a PikuRoot,
    name: &'a AppName,
    dir: AppDir,
    kind: ServiceKind,
    state: ServiceState,
    _lock: piku_files::FileLock,
}

impl<'a> OpenService<'a> {
    /// Locks a service whose server answers, after finishing or undoing what was interrupted.
    ///
    /// # Errors
    /// Fails if an interrupted change of this app cannot be finished. Those of other apps wait for the next command.
    fn open(root: &'a PikuRoot, name: &'a AppName, app: &AppName) -> anyhow::Result<Self> {
        let lock = lock_service(root, name)?;
        let dir = root.service(name);
        let settings = ServiceSettings::find(&dir)?.context("the service has no 'service.yaml'")?;
        let kind = ServiceKind::find(root, &settings.kind)?;
        let state = ServiceState::read(&dir)?;
        let mut opened = Self { root, name, dir, kind, state, _lock: lock };
        wait_until_ready(root, name, &opened.kind)?;
        opened.finish_interrupted(app)?;
        Ok(opened)
    }

    fn run(&self, program: &str, binding: &ServiceBinding) -> anyhow::Result<String> {
        run_beside_server(self.root, self.name, program, &binding_variables(binding))
    }

    /// Writes the state of one binding.
    fn put(&mut self, at: usize, state: BindingState) -> anyhow::Result<()> {
        self.state.bindings[at].state = state;
        self.state.bindings[at].since = Timestamp::now();
        self.state.write(&self.dir)
    }

    fn finish_interrupted(&mut self, app: &AppName) -> anyhow::Result<()> {
        // From the last one on, because dropped ones are removed.
        for at in (0..self.state.bindings.len()).rev() {
            let of = self.state.bindings[at].app.clone();
            // A limited key neither changes nor learns of other apps.
            if !is_reached(&of) {
                continue;
            }
            match self.finish_one(at) {
                Err(err) if of != *app => {
                    let what = format!("an interrupted change of {of} in {} is not finished", self.name);
                    progress::warning(&format!("{what}: {err:#}"));
                }
                finished => finished?,
            }
        }
        Ok(())
    }

    /// Finishes or undoes the interrupted change of a binding.
    fn finish_one(&mut self, at: usize) -> anyhow::Result<()> {
        let binding = self.state.bindings[at].clone();
        let (app, service) = (&binding.app, self.name);
        match binding.state {
            BindingState::Bound | BindingState::Unbound => {}
            BindingState::Creating | BindingState::Renewing if is_in_config(self.root, &binding)? => {
                self.put(at, BindingState::Bound)?;
                progress::detail(&format!("finished the interrupted binding of {app} to {service}"));
            }
            BindingState::Creating | BindingState::Renewing => {
                self.undo(at)?;
                progress::detail(&format!("undid the interrupted binding of {app} to {service}"));
            }
            BindingState::Unbinding => {
                self.finish_unbinding(at)?;
                progress::detail(&format!("finished the interrupted unbinding of {app} from {service}"));
            }
            BindingState::Dropping => {
                self.finish_dropping(at)?;
                progress::detail(&format!("finished the interrupted removal of {app}'s data in {service}"));
            }
        }
        Ok(())
    }

    /// Undoes a binding that was not completed.
    fn undo(&mut self, at: usize) -> anyhow::Result<()> {
        let binding = self.state.bindings[at].clone();
        if binding.state == BindingState::Renewing {
            self.run("unbind", &binding)?;
            return self.put(at, BindingState::Unbound);
        }
        self.finish_dropping(at)
    }

    fn finish_unbinding(&mut self, at: usize) -> anyhow::Result<()> {
        let binding = self.state.bindings[at].clone();
        let names = config_variables(self.root, &binding)?;
        if !names.is_empty() {
            let edit = ConfigEdit::Unset(names);
            // An app that does not come up without its database has lost it all the same.
            if let Err(err) = change_config(self.root, &binding.app, false, &|config| edit.apply(config)) {
                progress::warning(&format!("{err:#}"));
                change_config(self.root, &binding.app, true, &|config| edit.apply(config))?;
            }
        }
        self.run("unbind", &binding)?;
        self.put(at, BindingState::Unbound)
    }

    fn finish_dropping(&mut self, at: usize) -> anyhow::Result<()> {
        let binding = self.state.bindings[at].clone();
        self.run("drop", &binding)?;
        self.state.bindings.remove(at);
        self.state.write(&self.dir)
    }

    /// Finds the only binding of an app, or that with this prefix of its variables.
    fn find(&self, app: &AppName, variable: Option<&str>) -> anyhow::Result<usize> {
        let variable = variable.map(parse_prefix).transpose()?;
        let variable = variable.as_deref();
        let its = |one: &&ServiceBinding| one.app == *app && variable.is_none_or(|name| one.variable == name);
        let found: Vec<&ServiceBinding> = self.state.bindings.iter().filter(its).collect();
        match found.as_slice() {
            [one] => self.state.position(app, &one.variable).context("the binding is gone"),
            [] => Err(UserError::new(format!("{app} is not bound to {}", self.name))
                .hint(format!("to bind it: piku service:bind {} {app}", self.name))
                .into()),
            several => Err(name_one(app, several.iter().map(|one| one.variable.as_str())).into()),
        }
    }
}

/// Returns the error that an app has several bindings, of which one has to be named.
pub(super) fn name_one<'a>(app: &AppName, variables: impl Iterator<Item = &'a str>) -> UserError {
    let options: Vec<String> = variables.map(|name| format!("--as {name}")).collect();
    UserError::new(format!("{app} has several bindings")).hint(format!("name one: {}", options.join(" or ")))
}

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
    let bound = opened.run("bind", &binding).and_then(|printed| parse_variables(&printed)).and_then(|vars| {
        opened.state.bindings[at].variables = vars.keys().cloned().collect();
        opened.state.bindings[at].value_hashes = hash_values(&vars);
        opened.state.write(&opened.dir)?;
        let edit = ConfigEdit::Set(vars.into_iter().collect());
        change_config(root, app, false, &|config| edit.apply(config))
    });
    if let Err(err) = bound {
        // After the switch to the release that has it, the app uses its data.
        if is_in_config(root, &opened.state.bindings[at])? {
            opened.put(at, BindingState::Bound)?;
            return Err(
                err.context(format!("{app} is bound to {service}, but what follows the binding failed"))
            );
        }
        opened.undo(at).context("cannot undo the binding; the next command on the service does")?;
        return Err(err.context(format!("{app} is not bound to {service}")));
    }
    opened.put(at, BindingState::Bound)?;
    let names = opened.state.bindings[at].variables.join(", ");
    progress::step(&format!("{app} is bound to {service}: {names}"));
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
    let at = opened.find(app, variable)?;
    if opened.state.bindings[at].state == BindingState::Unbound {
        progress::step(&format!("{app} is not bound to {service}; its data is kept"));
        return Ok(());
    }
    opened.put(at, BindingState::Unbinding)?;
    opened.finish_unbinding(at)?;
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
    let at = opened.find(app, variable)?;
    let binding = &opened.state.bindings[at];
    if binding.state == BindingState::Bound
        && is_in_config(root, binding)?
        && must_be_there(root, app).is_ok()
    {
        return Err(UserError::new(format!("{app} is bound to {service}, and uses its data"))
            .hint(format!("first: piku service:unbind {service} {app}"))
            .into());
    }
    opened.put(at, BindingState::Dropping)?;
    opened.finish_dropping(at)?;
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
        let lock = lock_service(root, &service)?;
        let mut state = ServiceState::read(&dir)?;
        for binding in state.bindings.iter_mut().filter(|one| one.app == *app) {
            binding.state = BindingState::Dropping;
            binding.since = Timestamp::now();
        }
        state.write(&dir)?;
        drop(lock);
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
