//! The calls that the command line leads to.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use git2::Oid;
use piku_layout::deploys::deploy_lock;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use super::{
    AppKeyArgs, KeyAction, KeyFileArgs, MachineArgs, OneApp, ReceiveAction, ReceiveCli, TheApp, recorded,
};
use crate::app_context::{self, AppContext};
use crate::deploy::{self, DeploySubject, deploy_event};
use crate::distribute::catch_up;
use crate::export::{ExportMode, ExportOptions};
use crate::key::{self, NewKeyArgs};
use crate::push::push_options::PushOptions;
use crate::relay::before_deploy;
use crate::session::KeySession;
use crate::{child_env, distribute, export, push, relay, repository};

impl ReceiveCli {
    /// Returns whether the tool is the forced command of a key.
    pub(crate) fn is_session(&self) -> bool {
        self.action.is_none()
    }

    /// Runs the command, and records it if it changes something and no session of a key does.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Some((record, root)) = self.action.as_ref().and_then(recorded::recorded_action) else {
            return self.dispatch();
        };
        let end = self.dispatch();
        if let Ok(root) = absolute_root(root) {
            record.finish(&root, &end);
        }
        end
    }

    fn dispatch(self) -> anyhow::Result<ExitCode> {
        let Some(action) = self.action else {
            let key = self.key.context("--key is missing")?.to_string();
            let MachineArgs { root, scripts } = self.paths;
            return KeySession {
                key,
                scope: self.apps,
                root: absolute_root(root)?,
                scripts: app_context::scripts_dir(scripts)?,
            }
            .run();
        };
        match action {
            ReceiveAction::Key(action) => action.run()?,
            ReceiveAction::Create { app, if_missing, paths, by } => {
                let (root, scripts) = (absolute_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                let context = AppContext { root: &root, scripts: &scripts, app: &app, key: &by };
                repository::create::create_app(&context, if_missing)?;
            }
            ReceiveAction::Deploy { app, branch, dry_run, no_cache, rebuild, wait, paths, by } => {
                child_env::set_umask();
                let (root, scripts) = (existing_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                let context = AppContext { root: &root, scripts: &scripts, app: &app, key: &by };
                let options = PushOptions { dry_run, no_cache, rebuild: rebuild.is_some() };
                let what = match rebuild {
                    Some(commit) => DeploySubject::Rebuild(
                        Oid::from_str(&commit).ok().with_context(|| format!("bad commit '{commit}'"))?,
                    ),
                    None if std::env::var_os(deploy_lock::RESTORED).is_some() => DeploySubject::Restored,
                    None => DeploySubject::Tip(branch),
                };
                before_deploy::finish_before_deploy(&context)?;
                let outcome =
                    deploy::deploy_without_push(&context, &what, options, wait.map(Duration::from_secs))?;
                deploy_event::send_deploy_event(&context, &outcome);
                return Ok(ExitCode::from(outcome.exit_code()));
            }
            ReceiveAction::Targets { machines, paths, whose: AppKeyArgs { app, by } } => {
                let (root, scripts) = (existing_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                child_env::set_umask();
                let context = AppContext { root: &root, scripts: &scripts, app: &app, key: &by };
                return distribute::print_targets(&context, machines.as_deref());
            }
            ReceiveAction::Distribute { releases, targets, paths, whose: AppKeyArgs { app, by } } => {
                child_env::set_umask();
                let (root, scripts) = (existing_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                let context = AppContext { root: &root, scripts: &scripts, app: &app, key: &by };
                return distribute::distribute_releases(
                    &context,
                    &absolute(&releases)?,
                    &absolute(&targets)?,
                );
            }
            ReceiveAction::CatchUp { app, paths } => {
                child_env::set_umask();
                let (root, scripts) = (existing_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                let context = AppContext { root: &root, scripts: &scripts, app: &app, key: catch_up::ACTOR };
                return Ok(ExitCode::from(catch_up::catch_up(&context)?));
            }
            ReceiveAction::Relay { paths, app, verb, args } => {
                let (root, scripts) = (existing_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                let context = AppContext { root: &root, scripts: &scripts, app: &app, key: "" };
                return relay::relay_verb(&context, &verb, &args);
            }
            ReceiveAction::Cancel { app: TheApp { app, root }, by } => {
                deploy::cancel::cancel_build(&existing_root(root)?, &app, &by)?;
            }
            ReceiveAction::Export { repo, commit, dir, update, settings, config } => {
                child_env::set_umask();
                let settings = settings.as_deref().map(HostSettings::read).transpose()?.unwrap_or_default();
                let mode = if update { ExportMode::Update } else { ExportMode::New };
                export::export_commit(&repo, &commit, &dir, mode, &ExportOptions { settings, config })?;
            }
            ReceiveAction::BeginDeploy { repo, app, by } => {
                deploy::begin::begin_deploy(&repo, &app.app_dir()?, &by)?;
            }
            ReceiveAction::FinishDeploy { app, commit: _, dry_run: true } => {
                deploy::deploy_record::mark_planned(&app.app_dir()?)?;
            }
            ReceiveAction::FinishDeploy { app, commit, dry_run: false } => {
                deploy::deploy_record::mark_live(&app.app_dir()?, &commit)?;
            }
            ReceiveAction::Record { log, root } => {
                // Other steps report unreadable settings.
                let settings = HostSettings::read(&absolute_root(root)?.settings()).unwrap_or_default();
                deploy::record::record_output(&log, settings.deploy_log.saturating_mul(1 << 20))?;
            }
            ReceiveAction::Admit { root, app } => {
                let root = absolute_root(root)?;
                let app = app.as_ref().map(|app| (app, root.app(app)));
                push::pre_receive::check_push(&root, app.as_ref().map(|(app, dir)| (*app, dir)))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl KeyAction {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { name, apps, file, paths } => {
                // sshd passes none of this environment to the forced command, so its line names what is not
                // the default.
                let root = paths.root.as_deref().map(absolute).transpose()?;
                let scripts = paths.scripts.as_deref().map(absolute).transpose()?;
                key::add_key(&file.path()?, &NewKeyArgs { name, apps, root, scripts })
            }
            Self::List { format, file } => key::list_keys(&file.path()?, format),
            Self::RenameApp { from, to, file, root } => {
                key::rename_app(&file.path()?, &absolute_root(root)?, &from, &to)
            }
            Self::Remove { name, file, root: _ } => key::remove_key(&file.path()?, &name),
        }
    }
}

impl KeyFileArgs {
    fn path(self) -> anyhow::Result<PathBuf> {
        if let Some(path) = self.authorized_keys {
            return Ok(path);
        }
        if nix::unistd::geteuid().is_root() {
            // The keys of root are not keys of piku.
            return Err(UserError::new("running as root, but keys belong to the user that runs piku")
                .hint(
                    "sudo piku keys:add NAME [--app APP] < KEY.pub, or name the file with --authorized-keys",
                )
                .into());
        }
        let home = std::env::var_os("HOME").context("neither --authorized-keys nor HOME is set")?;
        Ok(Path::new(&home).join(".ssh/authorized_keys"))
    }
}

impl OneApp {
    fn app_dir(self) -> anyhow::Result<AppDir> {
        Ok(existing_root(self.root)?.app(&self.app))
    }
}

fn absolute_root(given: Option<PathBuf>) -> anyhow::Result<PikuRoot> {
    PikuRoot::absolute(given).context("cannot tell where the root is")
}

/// Returns the root of a command about an app that is there.
fn existing_root(given: Option<PathBuf>) -> anyhow::Result<PikuRoot> {
    let root = absolute_root(given)?;
    root.check_exists()?;
    Ok(root)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("bad path '{}'", path.display()))
}
