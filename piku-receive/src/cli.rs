//! The command line, and the calls that it leads to.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use git2::Oid;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use crate::app_context::{self, AppContext};
use crate::deploy::{self, DeploySubject};
use crate::key::{self, KeyName, NewKeyArgs};
use crate::push::push_options::PushOptions;
use crate::session::KeySession;
use crate::{child_env, distribute, exit_status, export, push, repository};
use piku_report::output::OutputFormat;

/// Receive pushes and deploy them.
///
/// sshd runs 'piku-receive --key NAME' as the forced command of a key in `authorized_keys`. The request of
/// the client, a git service or a verb, is in `SSH_ORIGINAL_COMMAND`. The subcommands manage keys and serve
/// the hooks.
#[derive(Debug, Parser)]
#[command(name = "piku-receive", version, subcommand_negates_reqs = true)]
#[command(after_long_help = exit_status::MAIN)]
pub(crate) struct ReceiveCli {
    /// Name of the client's key.
    #[arg(long, required = true, value_name = "NAME")]
    key: Option<KeyName>,
    /// App that the key may use [default: all apps].
    #[arg(long = "app", value_name = "APP")]
    apps: Vec<AppName>,
    #[command(flatten)]
    paths: MachineArgs,
    #[command(subcommand)]
    action: Option<ReceiveAction>,
}

/// The paths of this installation.
#[derive(Debug, Args)]
struct MachineArgs {
    /// Directory of all data of piku [default: ~/.piku].
    #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory of post-receive and piku [default: ../lib/piku beside this program].
    #[arg(long, env = "PIKU_SCRIPTS", value_name = "DIR")]
    scripts: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ReceiveAction {
    /// Manage the keys that may push and run verbs.
    #[command(subcommand)]
    Key(KeyAction),
    /// Create an app before its first push.
    #[command(after_long_help = exit_status::COMMAND)]
    Create {
        /// Name of the app.
        app: AppName,
        /// Print nothing and succeed if the app exists.
        #[arg(long)]
        if_missing: bool,
        #[command(flatten)]
        paths: MachineArgs,
        /// Name of the key in records.
        #[arg(long, env = "PIKU_KEY", default_value = "operator")]
        by: String,
    },
    /// Deploy the tip of a branch without a push.
    #[command(after_long_help = exit_status::DEPLOY)]
    Deploy {
        /// Name of the app.
        app: AppName,
        /// Branch [default: the deploy branch].
        branch: Option<String>,
        /// Print the build plan and deploy nothing.
        #[arg(long)]
        dry_run: bool,
        /// Ignore all caches.
        #[arg(long)]
        no_cache: bool,
        /// Rebuild this commit, the live one, and deploy it only if the result differs.
        #[arg(long, value_name = "COMMIT", conflicts_with_all = ["branch", "dry_run", "no_cache"])]
        rebuild: Option<String>,
        /// Time to wait for another change of the app [default: `lock_timeout` of host.yaml].
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
        #[command(flatten)]
        paths: MachineArgs,
        /// Name of the key in records.
        #[arg(long, env = "PIKU_KEY", default_value = "operator")]
        by: String,
    },
    /// End the running build, so that its push fails.
    #[command(after_long_help = exit_status::CANCEL)]
    Cancel {
        #[command(flatten)]
        app: TheApp,
        /// Name of the key in records.
        #[arg(long, env = "PIKU_KEY", default_value = "operator")]
        by: String,
    },
    /// Ask the machines in `deploy_to` for their platforms and print what must be built.
    ///
    /// Prints a line for each platform: its architecture, 'must' or 'may' (a failed build fails the deploy,
    /// or not), and its machines. This machine is 'here', on the first line.
    #[command(after_long_help = exit_status::TARGETS)]
    Targets {
        #[command(flatten)]
        paths: MachineArgs,
        #[command(flatten)]
        whose: AppKeyArgs,
    },
    /// Send each machine in `deploy_to` the release for its platform and deploy it there.
    #[command(after_long_help = exit_status::SHIP)]
    Ship {
        /// Directory with a release for each architecture, by its name, or one named 'any'.
        releases: PathBuf,
        /// List from 'targets'.
        #[arg(long, value_name = "FILE")]
        targets: PathBuf,
        #[command(flatten)]
        paths: MachineArgs,
        #[command(flatten)]
        whose: AppKeyArgs,
    },
    /// Write the tree of a commit and its submodules to a new directory.
    #[command(after_long_help = exit_status::COMMAND)]
    Export {
        /// Bare repository.
        repo: PathBuf,
        /// Commit, or a name for it.
        commit: String,
        /// Missing or empty directory.
        dir: PathBuf,
        /// host.yaml with the disk space that stays free [default: the defaults].
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
    },
    /// Begin the deploy of a push (for the hook).
    ///
    /// Reads git's 'OLD NEW REF' lines from stdin. If a deploy is due, records that it begins and prints its
    /// commit, its number and the push options.
    #[command(alias = "select", after_long_help = exit_status::COMMAND)]
    BeginDeploy {
        /// Bare repository.
        #[arg(long, env = "GIT_DIR", value_name = "DIR")]
        repo: PathBuf,
        #[command(flatten)]
        app: OneApp,
        /// Name of the key in records.
        #[arg(long, env = "PIKU_KEY", default_value = "operator")]
        by: String,
    },
    /// Record that a deploy is live (for the hook).
    #[command(alias = "settle", after_long_help = exit_status::COMMAND)]
    FinishDeploy {
        #[command(flatten)]
        app: OneApp,
        /// Commit from begin-deploy.
        commit: String,
        /// Record that its plan was printed and nothing was deployed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Copy the output of a deploy to the push and to its log (for the hook).
    ///
    /// Copies stdin to stdout and to the log, up to `deploy_log` of host.yaml.
    #[command(after_long_help = exit_status::COMMAND)]
    Record {
        /// Log file.
        log: PathBuf,
        /// Directory of all data of piku [default: ~/.piku].
        #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Refuse what cannot be deployed before git stores it (for the pre-receive hook).
    #[command(hide = true)]
    Admit {
        #[arg(long, env = "PIKU_ROOT")]
        root: Option<PathBuf>,
        #[arg(long, env = "PIKU_APP")]
        app: Option<AppName>,
    },
}

#[derive(Debug, Args)]
struct OneApp {
    /// Directory of all data of piku [default: ~/.piku].
    #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Name of the app.
    #[arg(long, env = "PIKU_APP", value_name = "APP")]
    app: AppName,
}

/// An app and the key that changes it.
#[derive(Debug, Args)]
struct AppKeyArgs {
    /// Name of the app.
    #[arg(long, env = "PIKU_APP", value_name = "APP")]
    app: AppName,
    /// Name of the key in records.
    #[arg(long, env = "PIKU_KEY", default_value = "operator")]
    by: String,
}

#[derive(Debug, Args)]
struct TheApp {
    /// Name of the app.
    app: AppName,
    /// Directory of all data of piku [default: ~/.piku].
    #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Add a key; the public key is read from stdin.
    #[command(after_long_help = exit_status::COMMAND)]
    Add {
        /// Name for the key: its owner or machine.
        name: KeyName,
        /// App that the key may use [default: all apps].
        #[arg(long = "app", value_name = "APP")]
        apps: Vec<AppName>,
        #[command(flatten)]
        file: KeyFileArgs,
        #[command(flatten)]
        paths: MachineArgs,
    },
    /// List the keys of piku.
    #[command(after_long_help = exit_status::COMMAND)]
    List {
        /// Output format.
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
        #[command(flatten)]
        file: KeyFileArgs,
    },
    /// Remove a key.
    #[command(after_long_help = exit_status::COMMAND)]
    Remove {
        /// Name of the key.
        name: KeyName,
        #[command(flatten)]
        file: KeyFileArgs,
    },
}

#[derive(Debug, Args)]
struct KeyFileArgs {
    /// File that sshd reads [default: `~/.ssh/authorized_keys`].
    #[arg(long, value_name = "FILE")]
    authorized_keys: Option<PathBuf>,
}

impl ReceiveCli {
    /// Runs the command.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
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
                let (root, scripts) = (absolute_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                let context = AppContext { root: &root, scripts: &scripts, app: &app, key: &by };
                let options = PushOptions { dry_run, no_cache, rebuild: rebuild.is_some() };
                let what = match rebuild {
                    Some(commit) => DeploySubject::Rebuild(
                        Oid::from_str(&commit).ok().with_context(|| format!("bad commit '{commit}'"))?,
                    ),
                    None => DeploySubject::Tip(branch),
                };
                return deploy::deploy_without_push(&context, &what, options, wait.map(Duration::from_secs))
                    .map(|outcome| ExitCode::from(outcome.exit_code()));
            }
            ReceiveAction::Targets { paths, whose: AppKeyArgs { app, by } } => {
                let (root, scripts) = (absolute_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                child_env::set_umask();
                return distribute::print_targets(&AppContext {
                    root: &root,
                    scripts: &scripts,
                    app: &app,
                    key: &by,
                });
            }
            ReceiveAction::Ship { releases, targets, paths, whose: AppKeyArgs { app, by } } => {
                child_env::set_umask();
                let (root, scripts) = (absolute_root(paths.root)?, app_context::scripts_dir(paths.scripts)?);
                let context = AppContext { root: &root, scripts: &scripts, app: &app, key: &by };
                return distribute::distribute_releases(
                    &context,
                    &absolute(&releases)?,
                    &absolute(&targets)?,
                );
            }
            ReceiveAction::Cancel { app: TheApp { app, root }, by } => {
                deploy::cancel::cancel_build(&app, &absolute_root(root)?.app(&app), &by)?;
            }
            ReceiveAction::Export { repo, commit, dir, settings } => {
                child_env::set_umask();
                let settings = settings.as_deref().map(HostSettings::read).transpose()?.unwrap_or_default();
                export::export_commit(&repo, &commit, &dir, &settings)?;
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
                let app = app.map(|app| OneApp { root, app }.app_dir()).transpose()?;
                push::pre_receive::check_push(app.as_ref())?;
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
            Self::Remove { name, file } => key::remove_key(&file.path()?, &name),
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
        Ok(absolute_root(self.root)?.app(&self.app))
    }
}

/// Returns the root with an absolute path: programs in other directories use it.
fn absolute_root(given: Option<PathBuf>) -> anyhow::Result<PikuRoot> {
    let root = PikuRoot::new(given)?;
    Ok(PikuRoot::new(Some(absolute(root.path())?))?)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("bad path '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        ReceiveCli::command().debug_assert();
        assert!(ReceiveCli::try_parse_from(["piku-receive"]).is_err());
        assert!(
            ReceiveCli::try_parse_from(["piku-receive", "--key", "a", "--app", "x", "--app", "y"]).is_ok()
        );
        assert!(ReceiveCli::try_parse_from(["piku-receive", "key", "list"]).is_ok());
        assert!(ReceiveCli::try_parse_from(["piku-receive", "--key", "a b"]).is_err());
        assert!(ReceiveCli::try_parse_from(["piku-receive", "--key", "a", "--app", ".."]).is_err());
    }
}
