//! `service upgrade`: another version of the server. The new data is made beside the old data, while two servers run that no
//! app is connected to; one write of the service's state then decides which data it has. The old data is kept until the
//! operator confirms the upgrade.
//!
//! The service is down meanwhile: what an app wrote would be lost. A guard, which outlives this process, has it serve again
//! if this process is killed.

#![expect(clippy::disallowed_methods, reason = "looks for the marker of a stopped service")]

mod new_data;
mod spare_server;

use std::path::Path;

use anyhow::Context;
use piku_files::FileLock;
use piku_files::free_space::SpaceNeeded;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_release::removals;
use piku_report::progress;
use piku_report::user_error::{BUSY, USAGE, UserError};

use self::new_data::NewData;
use super::action::{binding_variables, lock_service, run_beside_server, wait_until_ready};
use super::binding_claim::try_claim;
use super::destroy::remove_service_data;
use crate::app_request;
use crate::commands::keep_out_supervisor;
use crate::data_limit;
use crate::ipc::protocol::SupervisorRequest;
use crate::process::caller_guard::{self, CallerGuard};
use crate::services::kind::ServiceKind;
use crate::services::state::{BindingState, ServiceSettings, ServiceState, ServiceUpgrade, UpgradeStep};

/// Task of `service upgrade`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpgradeRequest {
    /// Changes to a version, the newest one by default; to the same one only with `rebuild`.
    Begin { version: Option<String>, rebuild: bool },
    /// Removes the old data.
    Confirm(AppName),
    /// Goes back to the old data.
    Undo,
    /// Waits for the end of stdin, then finishes or undoes what was interrupted.
    Resume,
}

/// Changes the version of a service, or finishes a change.
///
/// # Errors
/// Fails if the data cannot be brought to the other version; the service is then as it was.
pub(crate) fn upgrade_service(
    root: &PikuRoot,
    name: &AppName,
    request: &UpgradeRequest,
) -> anyhow::Result<()> {
    if *request == UpgradeRequest::Resume {
        caller_guard::wait_for_caller()?;
    }
    let mut upgraded = UpgradedService::lock(root, name)?;
    upgraded.resume()?;
    match request {
        UpgradeRequest::Begin { version, rebuild } => upgraded.begin(version.as_deref(), *rebuild),
        UpgradeRequest::Confirm(confirmed) => upgraded.confirm(confirmed),
        UpgradeRequest::Undo => upgraded.go_back(),
        UpgradeRequest::Resume => Ok(()),
    }
}

/// Finishes or undoes the interrupted upgrade of a service that is locked.
pub(super) fn resume_upgrade(root: &PikuRoot, name: &AppName) -> anyhow::Result<()> {
    UpgradedService::read(root, name)?.resume()
}

/// A service whose version is changed.
struct UpgradedService<'a> {
    root: &'a PikuRoot,
    name: &'a AppName,
    dir: AppDir,
    kind: ServiceKind,
    state: ServiceState,
    /// `None` if the caller has it.
    _lock: Option<FileLock>,
}

impl<'a> UpgradedService<'a> {
    fn read(root: &'a PikuRoot, name: &'a AppName) -> anyhow::Result<Self> {
        let dir = root.service(name);
        let settings = ServiceSettings::find(&dir)?.context("the service has no 'service.yaml'")?;
        let kind = ServiceKind::find(root, &settings.kind)?;
        let state = ServiceState::read(&dir)?;
        Ok(Self { root, name, dir, kind, state, _lock: None })
    }

    fn lock(root: &'a PikuRoot, name: &'a AppName) -> anyhow::Result<Self> {
        let lock = lock_service(root, name)?;
        Ok(Self { _lock: Some(lock), ..Self::read(root, name)? })
    }

    /// Returns the server with this version, for people.
    fn server(&self, version: &str) -> String {
        format!("{} {version}", self.kind.about.description)
    }

    fn set(&mut self, version: &str, upgrade: Option<(UpgradeStep, &str)>) -> anyhow::Result<()> {
        let (names, dropped) = match &self.state.upgrade {
            Some(upgrade) => (upgrade.names.clone(), upgrade.dropped.clone()),
            None => (self.state.bindings.iter().map(|one| one.name.clone()).collect(), Vec::new()),
        };
        let upgrade = upgrade.map(|(step, other)| (step, other.to_owned()));
        version.clone_into(&mut self.state.version);
        self.state.upgrade =
            upgrade.map(|(step, other_version)| ServiceUpgrade { step, other_version, names, dropped });
        self.state.write(&self.dir)
    }

    /// Finishes or undoes what was interrupted.
    fn resume(&mut self) -> anyhow::Result<()> {
        let Some(upgrade) = self.state.upgrade.clone() else { return Ok(()) };
        let (version, other) = (self.state.version.clone(), upgrade.other_version);
        match upgrade.step {
            UpgradeStep::Kept => return Ok(()),
            UpgradeStep::Preparing => {
                self.discard()?;
                progress::detail(&format!("undid the interrupted upgrade of {} to {other}", self.name));
            }
            UpgradeStep::Switching => {
                self.finish_switch()?;
                progress::detail(&format!("finished the interrupted upgrade of {} to {version}", self.name));
            }
            UpgradeStep::Returning => {
                self.finish_return()?;
                progress::detail(&format!("finished the interrupted return of {} to {version}", self.name));
            }
            UpgradeStep::Confirming => self.remove_old()?,
        }
        Ok(())
    }

    fn begin(&mut self, version: Option<&str>, rebuild: bool) -> anyhow::Result<()> {
        if let Some(kept) = &self.state.upgrade {
            let what =
                format!("the old data of {}, of {}, is kept", self.name, self.server(&kept.other_version));
            return Err(UserError::new(what)
                .hint(format!("to remove it: piku service:upgrade {0} --confirm {0}", self.name))
                .hint(format!("to go back to it: piku service:upgrade {} --undo", self.name))
                .into());
        }
        let Some(version) = self.choose_version(version, rebuild)? else { return Ok(()) };
        let _claims = self.claim_all()?;
        self.check_space()?;
        let old = self.state.version.clone();
        self.remove_data(&self.dir.new_service_data())?;
        self.remove_data(&self.dir.old_service_data())?;
        self.set(&old, Some((UpgradeStep::Preparing, &version)))?;
        let guard = self.start_guard()?;
        progress::step(&format!("Stopping {}, {}", self.name, self.server(&old)));
        let made = self.stop().and_then(|alone| {
            let (root, name, dir, kind) = (self.root, self.name, &self.dir, &self.kind);
            NewData { root, name, dir, kind, state: &self.state, version: &version }.make()?;
            Ok(alone)
        });
        let made = made.and_then(|alone| {
            self.set(&version, Some((UpgradeStep::Switching, &old)))?;
            // Only now that it is written which data the server has may a supervisor start it.
            drop(alone);
            self.finish_switch()
        });
        if let Err(err) = made {
            let err = match self.give_up(&old) {
                Ok(()) => err.context(format!("{} is not upgraded, and is as it was", self.name)),
                Err(after) => err
                    .context(format!("{} is not upgraded, and does not serve again ({after:#})", self.name)),
            };
            return Err(UserError::new(format!("{err:#}"))
                .hint(format!("what the servers said: {}", NewData::log_path(&self.dir).display()))
                .into());
        }
        guard.end();
        progress::step(&format!("{} is {}, with its data", self.name, self.server(&version)));
        progress::detail(&format!(
            "the old data is kept until: piku service:upgrade {0} --confirm {0}",
            self.name
        ));
        progress::detail(&format!("to go back to it: piku service:upgrade {} --undo", self.name));
        if self.dir.is_stopped() {
            progress::detail(&format!("it is stopped; to start it: piku start {}", self.name));
        }
        Ok(())
    }

    /// Checks that there is space for the data once more, while the server still runs.
    fn check_space(&self) -> anyhow::Result<()> {
        let bytes = data_limit::count_data(self.root, self.name)
            .with_context(|| format!("cannot measure the data of {}", self.name))?;
        let reserve = HostSettings::read(&self.root.settings())?.reserve_bytes();
        removals::check_space_of(
            self.root,
            self.dir.path(),
            SpaceNeeded { bytes, files: 1 },
            reserve,
            "the upgraded data",
        )
    }

    /// Returns the version to change to; `None` if the service has it.
    fn choose_version(&self, asked: Option<&str>, rebuild: bool) -> anyhow::Result<Option<String>> {
        let installed = self.kind.versions()?;
        let version = match asked {
            None if rebuild => self.state.version.as_str(),
            None => installed[0].as_str(),
            Some(asked) => asked,
        };
        let Some(at) = installed.iter().position(|one| one == version) else {
            let what = format!("{} is not installed", self.server(version));
            return Err(UserError::new(what).hint(format!("installed: {}", installed.join(", "))).into());
        };
        if version == self.state.version && !rebuild {
            progress::step(&format!("{} is {} already", self.name, self.server(version)));
            if at == 0 && asked.is_none() {
                progress::detail("no newer version is installed");
            }
            return Ok(None);
        }
        if installed.iter().position(|one| *one == self.state.version).is_some_and(|own| own < at) {
            let what = format!("{} is older than {}", self.server(version), self.state.version);
            return Err(UserError::new(what).hint("an upgrade goes to a newer version").into());
        }
        if !self.kind.has("upgrade") {
            let needed: &[&str] = if self.kind.about.cache { &[] } else { &["dump", "restore"] };
            needed.iter().try_for_each(|program| self.kind.must_have(program))?;
        }
        Ok(Some(version.to_owned()))
    }

    /// Keeps other commands away from all bindings.
    fn claim_all(&self) -> anyhow::Result<Vec<FileLock>> {
        let mut apps: Vec<&AppName> = self.state.bindings.iter().map(|one| &one.app).collect();
        apps.sort();
        apps.dedup();
        let mut claims = Vec::new();
        for app in apps {
            let Some(claim) = try_claim(self.root, self.name, app)? else {
                let what = format!("{} is being changed for {app}", self.name);
                return Err(UserError::new(what).hint("try again when that has ended").code(BUSY).into());
            };
            claims.push(claim);
        }
        let is_step = |state: BindingState| !matches!(state, BindingState::Bound | BindingState::Unbound);
        if let Some(one) = self.state.bindings.iter().find(|one| is_step(one.state)) {
            let what = format!("a change of {} in {} was interrupted", one.app, self.name);
            return Err(UserError::new(what)
                .hint(format!("finish it: piku service:unbind {} {}", self.name, one.app))
                .into());
        }
        Ok(claims)
    }

    fn confirm(&mut self, confirmed: &AppName) -> anyhow::Result<()> {
        if confirmed != self.name {
            let what = format!("'{confirmed}' is not the name of the service, '{}'", self.name);
            return Err(UserError::new(what).code(USAGE).into());
        }
        let (version, other) = self.kept()?;
        self.set(&version, Some((UpgradeStep::Confirming, &other)))?;
        self.remove_old()?;
        progress::step(&format!("the data of {} is removed", self.server(&other)));
        Ok(())
    }

    fn remove_old(&mut self) -> anyhow::Result<()> {
        self.remove_data(&self.dir.old_service_data())?;
        let version = self.state.version.clone();
        self.set(&version, None)
    }

    /// Returns the version of the service and that of the data that is kept.
    fn kept(&self) -> anyhow::Result<(String, String)> {
        let Some(upgrade) = &self.state.upgrade else {
            let what = format!("{} was not upgraded, or the upgrade is confirmed", self.name);
            return Err(UserError::new(what).into());
        };
        Ok((self.state.version.clone(), upgrade.other_version.clone()))
    }

    fn go_back(&mut self) -> anyhow::Result<()> {
        let (version, old) = self.kept()?;
        let upgrade = self.state.upgrade.as_ref();
        let names = upgrade.map_or(&[][..], |upgrade| &upgrade.names);
        let dropped = upgrade.map_or(&[][..], |upgrade| &upgrade.dropped);
        let is_gone = |name: &&String| {
            dropped.contains(name) || self.state.bindings.iter().all(|one| one.name != **name)
        };
        if let Some(gone) = names.iter().find(is_gone) {
            let what = format!("the old data has that of {gone}, which was removed since the upgrade");
            return Err(UserError::new(what)
                .hint(format!("it does not come back: piku service:upgrade {0} --confirm {0}", self.name))
                .into());
        }
        if self.dir.is_stopped() {
            return Err(UserError::new(format!("{} is stopped", self.name))
                .hint(format!("to start it: piku start {}", self.name))
                .into());
        }
        let _claims = self.claim_all()?;
        let guard = self.start_guard()?;
        let alone = self.stop()?;
        self.set(&old, Some((UpgradeStep::Returning, &version)))?;
        drop(alone);
        self.finish_return()?;
        guard.end();
        progress::step(&format!("{} is {} again, with the data of that time", self.name, self.server(&old)));
        Ok(())
    }

    fn start_guard(&self) -> anyhow::Result<CallerGuard> {
        CallerGuard::start(self.root, &["service", "upgrade", self.name.as_str(), "--resume"])
    }

    /// Stops the server. No other one is started while the returned value is there.
    fn stop(&self) -> anyhow::Result<FileLock> {
        if !self.dir.is_stopped() {
            app_request::ask(self.root, self.name, &SupervisorRequest::Stop { stay: false })?;
        }
        app_request::ask(self.root, self.name, &SupervisorRequest::Leave)?;
        keep_out_supervisor(self.root, self.name)
    }

    /// Starts the server, unless the operator has stopped it, and waits until it answers.
    fn start(&self) -> anyhow::Result<()> {
        if self.dir.stopped().exists() {
            return Ok(());
        }
        app_request::ask(self.root, self.name, &SupervisorRequest::Restart { only: None, index: None })?;
        wait_until_ready(self.root, self.name, &self.kind)
    }

    /// Removes the new data, and starts the old server again.
    fn discard(&mut self) -> anyhow::Result<()> {
        self.remove_data(&self.dir.new_service_data())?;
        let version = self.state.version.clone();
        self.set(&version, None)?;
        self.start()
    }

    /// Has the service be as it was before an upgrade that has failed.
    fn give_up(&mut self, old: &str) -> anyhow::Result<()> {
        let step = self.state.upgrade.as_ref().map(|upgrade| upgrade.step);
        if step == Some(UpgradeStep::Preparing) {
            return self.discard();
        }
        let new = self.state.version.clone();
        let alone = self.stop()?;
        self.set(old, Some((UpgradeStep::Returning, &new)))?;
        drop(alone);
        self.finish_return()
    }

    fn finish_switch(&mut self) -> anyhow::Result<()> {
        self.state.finish_switch(&self.dir)?;
        self.start()?;
        let (version, other) = self.kept()?;
        self.set(&version, Some((UpgradeStep::Kept, &other)))
    }

    /// Puts the old data in its place, and lets in the apps that are bound, and no others.
    fn finish_return(&mut self) -> anyhow::Result<()> {
        self.state.finish_switch(&self.dir)?;
        self.start()?;
        if !self.dir.is_stopped() {
            for binding in &self.state.bindings {
                let program = if binding.state == BindingState::Bound { "bind" } else { "unbind" };
                run_beside_server(self.root, self.name, program, &binding_variables(binding))?;
            }
        }
        self.remove_data(&self.dir.new_service_data())?;
        let version = self.state.version.clone();
        self.set(&version, None)
    }

    fn remove_data(&self, data: &Path) -> anyhow::Result<()> {
        remove_service_data(self.root, self.name, data)
    }
}
