//! A service that a command changes, under its lock. An interrupted change of a binding is finished or undone first.
//!
//! A change of a binding claims all bindings of its app to the service, from its first step to its last. The lock of the
//! service is held for the steps alone, and not while the app is deployed.

use anyhow::Context;
use jiff::Timestamp;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::unknown_app::is_reached;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::action::{binding_variables, lock_service, run_beside_server, wait_until_ready};
use super::binding_claim::{claim_bindings, try_claim};
use super::binding_values::{config_variables, is_in_config, parse_prefix};
use super::killed_restore::{recover_claimed, remove_mark};
use super::upgrade::resume_upgrade;
use crate::commands::change_config;
use crate::config::ConfigEdit;
use crate::services::kind::ServiceKind;
use crate::services::state::{BindingState, BoundService, ServiceBinding, ServiceSettings, ServiceState};

/// A locked service.
pub(super) struct OpenService<'a> {
    pub(super) root: &'a PikuRoot,
    pub(super) name: &'a AppName,
    pub(super) dir: AppDir,
    pub(super) kind: ServiceKind,
    pub(super) state: ServiceState,
    /// `None` while an app is deployed.
    lock: Option<FileLock>,
    _claim: FileLock,
}

impl<'a> OpenService<'a> {
    /// Locks a service whose server answers, after finishing or undoing what was interrupted.
    ///
    /// # Errors
    /// Fails if an interrupted change of this app cannot be finished. Those of other apps wait for the next command.
    pub(super) fn open(root: &'a PikuRoot, name: &'a AppName, app: &AppName) -> anyhow::Result<Self> {
        let claim = claim_bindings(root, name, app)?;
        let lock = lock_service(root, name)?;
        resume_upgrade(root, name)?;
        let dir = root.service(name);
        let settings = ServiceSettings::find(&dir)?.context("the service has no 'service.yaml'")?;
        let kind = ServiceKind::find(root, &settings.kind)?;
        let state = ServiceState::read(&dir)?;
        let mut opened = Self { root, name, dir, kind, state, lock: Some(lock), _claim: claim };
        wait_until_ready(root, name, &opened.kind)?;
        opened.finish_interrupted(app)?;
        Ok(opened)
    }

    pub(super) fn run(&self, program: &str, binding: &ServiceBinding) -> anyhow::Result<String> {
        run_beside_server(self.root, self.name, program, &binding_variables(binding))
    }

    /// Writes the state of a binding, which its name in the server identifies.
    pub(super) fn put(&mut self, name: &str, state: BindingState) -> anyhow::Result<()> {
        let binding = self.binding_mut(name)?;
        binding.state = state;
        binding.since = Timestamp::now();
        self.state.write(&self.dir)
    }

    pub(super) fn binding_mut(&mut self, name: &str) -> anyhow::Result<&mut ServiceBinding> {
        let binding = self.state.bindings.iter_mut().find(|one| one.name == name);
        binding.context("the binding was removed meanwhile")
    }

    /// Changes the config of an app without the lock of the service: a deploy may take long.
    pub(super) fn deploy(
        &mut self,
        app: &AppName,
        edit: &ConfigEdit,
        no_restart: bool,
    ) -> anyhow::Result<()> {
        drop(self.lock.take());
        let changed = change_config(self.root, app, no_restart, &|config| edit.apply(config));
        self.lock = Some(lock_service(self.root, self.name)?);
        // Other apps may have been bound meanwhile.
        self.state = ServiceState::read(&self.dir)?;
        changed
    }

    fn finish_interrupted(&mut self, app: &AppName) -> anyhow::Result<()> {
        let names: Vec<(AppName, String)> =
            self.state.bindings.iter().map(|one| (one.app.clone(), one.name.clone())).collect();
        for (of, name) in names {
            // A limited key neither changes nor learns of other apps.
            if !is_reached(&of) {
                continue;
            }
            if of == *app {
                self.finish_one(&name)?;
                continue;
            }
            // Otherwise another command is changing it.
            if let Some(_claim) = try_claim(self.root, self.name, &of)? {
                if let Err(err) = self.finish_one(&name) {
                    let what = format!("an interrupted change of {of} in {} is not finished", self.name);
                    progress::warning(&format!("{what}: {err:#}"));
                }
            }
        }
        Ok(())
    }

    /// Finishes or undoes the interrupted change of a binding.
    fn finish_one(&mut self, name: &str) -> anyhow::Result<()> {
        let binding = self.binding_mut(name)?.clone();
        let (app, service) = (&binding.app, self.name);
        match binding.state {
            BindingState::Unbound => {}
            BindingState::Bound => recover_claimed(self.root, &self.bound(binding))?,
            BindingState::Creating | BindingState::Renewing if is_in_config(self.root, &binding)? => {
                self.put(name, BindingState::Bound)?;
                progress::detail(&format!("finished the interrupted binding of {app} to {service}"));
            }
            BindingState::Creating | BindingState::Renewing => {
                self.undo(name)?;
                progress::detail(&format!("undid the interrupted binding of {app} to {service}"));
            }
            BindingState::Unbinding => {
                self.finish_unbinding(name)?;
                progress::detail(&format!("finished the interrupted unbinding of {app} from {service}"));
            }
            BindingState::Dropping => {
                self.finish_dropping(name)?;
                progress::detail(&format!("finished the interrupted removal of {app}'s data in {service}"));
            }
        }
        Ok(())
    }

    /// Undoes a binding that was not completed.
    pub(super) fn undo(&mut self, name: &str) -> anyhow::Result<()> {
        let binding = self.binding_mut(name)?.clone();
        if binding.state == BindingState::Renewing {
            self.run("unbind", &binding)?;
            return self.put(name, BindingState::Unbound);
        }
        self.finish_dropping(name)
    }

    pub(super) fn finish_unbinding(&mut self, name: &str) -> anyhow::Result<()> {
        let binding = self.binding_mut(name)?.clone();
        let names = config_variables(self.root, &binding)?;
        if !names.is_empty() {
            let edit = ConfigEdit::Unset(names);
            // An app that does not come up without its database has lost it all the same.
            if let Err(err) = self.deploy(&binding.app, &edit, false) {
                progress::warning(&format!("{err:#}"));
                self.deploy(&binding.app, &edit, true)?;
            }
        }
        self.run("unbind", &binding)?;
        self.put(name, BindingState::Unbound)
    }

    pub(super) fn finish_dropping(&mut self, name: &str) -> anyhow::Result<()> {
        let binding = self.binding_mut(name)?.clone();
        self.run("drop", &binding)?;
        remove_mark(self.root, self.name, name)?;
        self.state.bindings.retain(|one| one.name != name);
        let upgrade =
            self.state.upgrade.as_mut().filter(|upgrade| upgrade.names.iter().any(|one| one == name));
        if let Some(upgrade) = upgrade {
            if !upgrade.dropped.iter().any(|one| one == name) {
                upgrade.dropped.push(name.to_owned());
            }
            progress::detail(&format!(
                "the data from before the upgrade has it until: piku service:upgrade {0} --confirm {0}",
                self.name
            ));
        }
        self.state.write(&self.dir)
    }

    /// Returns a binding with its service.
    fn bound(&self, binding: ServiceBinding) -> BoundService {
        BoundService {
            service: self.name.clone(),
            kind: self.kind.name.clone(),
            version: self.state.version.clone(),
            port: self.state.port,
            binding,
        }
    }

    /// Finds the only binding of an app, or that with this prefix of its variables.
    pub(super) fn find(&self, app: &AppName, variable: Option<&str>) -> anyhow::Result<ServiceBinding> {
        let variable = variable.map(parse_prefix).transpose()?;
        let variable = variable.as_deref();
        let its = |one: &&ServiceBinding| one.app == *app && variable.is_none_or(|name| one.variable == name);
        let found: Vec<&ServiceBinding> = self.state.bindings.iter().filter(its).collect();
        match found.as_slice() {
            [one] => Ok((*one).clone()),
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
