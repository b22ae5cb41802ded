//! Restoring from an archive, which may come from anyone: its apps are made aside while it is read, and appear
//! when all of it was verified.

use std::io::Read;
use std::process::ExitCode;

use anyhow::Context;
use piku_backup::{BackupHead, BackupKind, BackupPart, PartSink, PartSum, SavedApp, read_archive};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::progress;
use piku_report::user_error::{self, USAGE, UserError};

use super::lacking::find_lacking;
use super::quiet_app::{QuietApp, check_replaceable, deploy_published};
use super::restored_app::RestoredApp;
use super::{replaced_app, services};
use crate::commands::lifecycle::free_name;
use crate::releases::current;

/// Apps of an archive that are asked for, and their name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct ArchiveRequest {
    /// The app; `None` for all apps of the archive.
    pub(in crate::commands) app: Option<AppName>,
    /// The name that it gets.
    pub(in crate::commands) new: Option<AppName>,
    pub(in crate::commands) existing: ExistingApp,
    pub(in crate::commands) dry_run: bool,
    pub(in crate::commands) skip_deploy: bool,
    /// Leaves out the data of services.
    pub(in crate::commands) without_services: bool,
}

/// Treatment of an app that has the name of a restored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum ExistingApp {
    /// It stays.
    Keep,
    /// It is saved and replaced.
    Replace,
}

/// Restores apps from an archive and deploys them.
///
/// # Errors
/// Fails without any change unless the archive is whole and the names are free.
pub(in crate::commands) fn restore_archive(
    root: &PikuRoot,
    request: &ArchiveRequest,
    input: impl Read,
) -> anyhow::Result<ExitCode> {
    let reserve = HostSettings::read(&root.settings())?.reserve_bytes();
    let mut intake = RestoreIntake { root, request, reserve, apps: Vec::new() };
    let (head, sums) = read_archive(input, &mut intake)?;
    let mut code = leave_broken(&mut intake, &head, &sums)?;
    if request.dry_run {
        progress::step("the backup is undamaged; nothing was changed");
        return Ok(code);
    }
    for app in &mut intake.apps {
        app.complete(request.skip_deploy).with_context(|| format!("cannot restore {}", app.name))?;
    }
    if let Some(app) = intake.apps.first() {
        app.sync_all()?;
    }
    // All are saved before the first one is replaced. They are stopped from here on: what they did after that would be lost.
    let mut apps = Vec::new();
    for app in intake.apps {
        let is_there = root.app(&app.name).is_there();
        let quiet = if is_there { Some(QuietApp::stop(root, &app.name)?) } else { None };
        apps.push((app, quiet));
    }
    for (app, _) in apps.iter().filter(|(_, quiet)| quiet.is_some()) {
        save_replaced(root, &app.name, !request.without_services)?;
    }
    // All are there before the first deploy, which may take long or fail.
    let mut published = Vec::new();
    for (mut app, quiet) in apps {
        let (name, lock) = (app.name.clone(), app.take_lock());
        let is_to_deploy = app.is_deployable() && !request.skip_deploy;
        match app.publish(quiet) {
            Ok(guard) => {
                progress::step(&format!("{name} is back as it was at {:.0} on {}", head.at, head.host));
                published.push((name, lock, is_to_deploy, guard));
            }
            Err(err) => {
                code = user_error::report(crate::TOOL, &err.context(format!("cannot restore {name}")));
            }
        }
    }
    for (name, lock, is_to_deploy, guard) in published {
        if let Err(err) = services::restore_services(root, &name) {
            // The other apps do not wait for it.
            let failed = err.context(format!("{name} lacks its data, and is not deployed"));
            code = user_error::report(crate::TOOL, &failed);
            current::remove_dir(&root.app(&name).undeployed())?;
        } else if !is_to_deploy {
            progress::detail(&format!("to deploy {name}: piku deploy {name}"));
        } else {
            let deployed = deploy_published(root, &name)?;
            if deployed != ExitCode::SUCCESS {
                code = deployed;
            }
        }
        // Nothing is left to do for it.
        if let Some(guard) = guard {
            guard.end();
        }
        if let Some(lock) = lock {
            progress::detail(&lock.describe(&name));
        }
    }
    Ok(code)
}

/// Tells what the backup lacks of the apps that were asked for. Those of which it lacks a whole part are not restored.
///
/// # Errors
/// Fails if that is so for the only one.
fn leave_broken(
    intake: &mut RestoreIntake<'_>,
    head: &BackupHead,
    sums: &[PartSum],
) -> anyhow::Result<ExitCode> {
    let request = intake.request;
    let mut sums = sums.to_vec();
    // What is not restored need not be there.
    sums.retain(|sum| !(request.without_services && matches!(sum.part, BackupPart::Service(..))));
    let mut code = ExitCode::SUCCESS;
    for one in find_lacking(&head.missing, &sums) {
        let Some(app) = &one.app else { continue };
        if request.app.as_ref().is_some_and(|wanted| wanted != app) {
            continue;
        }
        if !one.is_broken {
            progress::warning(&one.describe());
            continue;
        }
        let count = intake.apps.len();
        intake.apps.retain(|restored| restored.saved.app != *app);
        let error = UserError::new(format!("{app} is not restored: the backup {}", one.text))
            .hint("the data of services alone is left out by --without-services")
            .hint("its parts can be read by tar: docs/backups.md");
        if intake.apps.is_empty() && (count > 0 || request.dry_run) && head.apps.len() == 1 {
            return Err(error.into());
        }
        code = user_error::report(crate::TOOL, &error.into());
    }
    Ok(code)
}

/// Saves an app that is replaced in the next step.
fn save_replaced(root: &PikuRoot, app: &AppName, with_services: bool) -> anyhow::Result<()> {
    if replaced_app::save_app(root, app, with_services)? {
        progress::detail(&format!(
            "{app} is kept as it was; to go back to it: piku restore {app} --replace --kept"
        ));
    } else {
        progress::detail(&format!("keep_destroyed of host.yaml is 0: {app} is not kept as it was"));
    }
    Ok(())
}

/// Takes the parts of the wanted apps.
struct RestoreIntake<'a> {
    root: &'a PikuRoot,
    request: &'a ArchiveRequest,
    /// Disk space that stays free, in bytes.
    reserve: u64,
    apps: Vec<RestoredApp>,
}

impl PartSink for RestoreIntake<'_> {
    fn begin(&mut self, head: &BackupHead) -> anyhow::Result<()> {
        let wanted = choose_apps(self.request, head)?;
        if head.kind == BackupKind::Host {
            progress::detail(
                "the machine's settings and keys stay; to restore them: sudo piku restore --host",
            );
        }
        let is_single = wanted.len() == 1;
        for saved in wanted {
            let name = self.request.new.as_ref().unwrap_or(&saved.app);
            let is_replaced = self.request.existing == ExistingApp::Replace && self.root.app(name).is_there();
            let has_name = if is_replaced {
                check_replaceable(self.root, name)
            } else {
                free_name::check_free(self.root, name)
            };
            if let Err(err) = has_name {
                if is_single && !is_replaced && self.root.app(name).is_there() {
                    return Err(UserError::new(format!("{name} exists already"))
                        .hint(format!("another name: piku restore {} --as NEW", saved.app))
                        .hint(format!("to replace it: piku restore {} --replace", saved.app))
                        .into());
                }
                if is_single {
                    return Err(err);
                }
                // So that an interrupted restore of many apps can be repeated.
                progress::warning(&format!("{name} is left alone: {err:#}"));
                continue;
            }
            let services = saved.services.iter().filter(|_| !self.request.without_services);
            for one in services {
                let (service, is_there) = services::choose_service(self.root, name, one)
                    .with_context(|| format!("cannot restore {}_URL of {name}", one.variable))?;
                if !is_there {
                    progress::detail(&format!("with a new service {service}, of the kind {}", one.kind));
                }
            }
            if self.request.dry_run {
                let how = if is_replaced { "replace" } else { "restore" };
                progress::step(&format!("would {how} {name}: {}", describe(saved, head)));
            } else {
                progress::step(&format!("Restoring {name}: {}", describe(saved, head)));
                self.apps.push(RestoredApp::create(
                    self.root,
                    name,
                    saved,
                    self.reserve,
                    self.request.without_services,
                )?);
            }
        }
        Ok(())
    }

    fn take(&mut self, part: &BackupPart, content: &mut dyn Read) -> anyhow::Result<()> {
        let target = self.apps.iter_mut().find(|app| part.app() == Some(&app.saved.app));
        target.map_or(Ok(()), |app| app.take(part, content))
    }
}

/// Returns the apps of an archive that were asked for.
fn choose_apps<'a>(request: &ArchiveRequest, head: &'a BackupHead) -> anyhow::Result<Vec<&'a SavedApp>> {
    let wanted: Vec<&SavedApp> =
        head.apps.iter().filter(|saved| request.app.as_ref().is_none_or(|app| *app == saved.app)).collect();
    if let (Some(app), true) = (&request.app, wanted.is_empty()) {
        let names: Vec<&str> = head.apps.iter().map(|saved| saved.app.as_str()).collect();
        let error = UserError::new(format!("the backup has no app {app}, only {}", names.join(", ")));
        return Err(match names.first() {
            Some(first) => {
                error.hint(format!("to give it this name: piku restore {first} --as {app}")).into()
            }
            None => error.into(),
        });
    }
    if request.new.is_some() && wanted.len() > 1 {
        let what = format!("the backup has {} apps, and --as names one", wanted.len());
        return Err(UserError::new(what).hint("piku restore APP --as NEW < FILE").code(USAGE).into());
    }
    Ok(wanted)
}

/// Returns what the archive has of an app, in one line.
fn describe(saved: &SavedApp, head: &BackupHead) -> String {
    let mut has = Vec::new();
    for part in head.parts_of(&saved.app) {
        match part {
            BackupPart::Repository(_) => has.push(match &saved.commit {
                Some(commit) => format!("commit {}", &commit[..7]),
                None => "repository".to_owned(),
            }),
            BackupPart::Config(_) => has.push("settings".to_owned()),
            BackupPart::Formation(_) => has.push("formation".to_owned()),
            BackupPart::DeployLock(_) => has.push("deploy lock".to_owned()),
            BackupPart::Data(_) => has.push("data".to_owned()),
            BackupPart::Service(_, name) => has.push(format!("database {name}")),
            BackupPart::Shallow(_) | BackupPart::Release(_) | BackupPart::Host => {}
        }
    }
    let renamed = format!("{} at {:.0}, ", saved.app, head.at);
    renamed + &has.join(", ")
}
