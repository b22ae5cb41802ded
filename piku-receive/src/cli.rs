//! What was typed, and what it means.

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
use crate::{child_env, distribute, export, push};
use piku_report::output::OutputFormat;

/// How it ends.
const EXIT_STATUS: &str = "\
Exit status:
  0  done; of a push: what was to be deployed is live
  1  refused, or failed; of a push: the deploy failed
  2  wrong usage
  n  of a verb: what the verb ended with, 128 + n after signal n";

/// The door: the forced command of every key in `authorized_keys`, and what the hook behind it needs.
///
/// sshd runs 'piku-receive --key NAME' for whoever comes in with that key; `SSH_ORIGINAL_COMMAND` says what they ask for.
#[derive(Debug, Parser)]
#[command(name = "piku-receive", version, subcommand_negates_reqs = true)]
#[command(after_long_help = EXIT_STATUS)]
pub(crate) struct ReceiveCli {
    /// The name of the key that came in.
    #[arg(long, required = true, value_name = "NAME")]
    key: Option<KeyName>,
    /// An app that this key reaches; all apps when not given.
    #[arg(long = "app", value_name = "APP")]
    apps: Vec<AppName>,
    #[command(flatten)]
    place: MachineArgs,
    #[command(subcommand)]
    action: Option<ReceiveAction>,
}

/// This machine's piku.
#[derive(Debug, Args)]
struct MachineArgs {
    /// The folder with everything that piku keeps [default: ~/.piku].
    #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// The folder with post-receive and piku [default: ../lib/piku beside this program].
    #[arg(long, env = "PIKU_SCRIPTS", value_name = "DIR")]
    scripts: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ReceiveAction {
    /// Who may come in.
    #[command(subcommand)]
    Key(KeyAction),
    /// Deploy the tip of a branch that is there already.
    Deploy {
        /// The app.
        app: AppName,
        /// Its branch [default: the one that pushes deploy].
        branch: Option<String>,
        /// Show the plan, deploy nothing.
        #[arg(long)]
        dry_run: bool,
        /// Build everything anew.
        #[arg(long)]
        no_cache: bool,
        /// Build this commit, the live one, again; deploy it only when that comes to something else.
        #[arg(long, value_name = "COMMIT", conflicts_with_all = ["branch", "dry_run", "no_cache"])]
        rebuild: Option<String>,
        /// Wait no longer than this for whoever is changing the app.
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
        #[command(flatten)]
        place: MachineArgs,
        /// In whose name.
        #[arg(long, env = "PIKU_KEY", default_value = "operator")]
        by: String,
    },
    /// End the build that is under way; the push that began it fails.
    Cancel {
        #[command(flatten)]
        app: TheApp,
        /// In whose name.
        #[arg(long, env = "PIKU_KEY", default_value = "operator")]
        by: String,
    },
    /// Ask the machines of `deploy_to` what they are, and print what is to be built for whom.
    ///
    /// A line for each kind of machine: its architecture; 'must' or 'may', whether the deploy ends where its build fails; and
    /// the machines, this one as 'here', and its line first.
    Targets {
        #[command(flatten)]
        place: MachineArgs,
        #[command(flatten)]
        whose: AppKeyArgs,
    },
    /// Send the machines of `deploy_to` the release that was built for them and have each of them deploy it; fails when one of
    /// them does.
    Ship {
        /// The folder with a release for each architecture, by its name, or one named 'any'.
        releases: PathBuf,
        /// The list that 'targets' has printed.
        #[arg(long, value_name = "FILE")]
        targets: PathBuf,
        #[command(flatten)]
        place: MachineArgs,
        #[command(flatten)]
        whose: AppKeyArgs,
    },
    /// Write the tree of a commit, submodules included, into a new folder.
    Export {
        /// The bare repository.
        repo: PathBuf,
        /// The commit, or a name of it.
        commit: String,
        /// The folder; must not be there, or be empty.
        dir: PathBuf,
        /// host.yaml: how much of the disk stays free; all defaults when not given.
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
    },
    /// In the hook: record that a deploy begins and print its COMMIT, NUMBER and push options, or nothing if none is due; reads
    /// git's 'OLD NEW REF' lines from stdin.
    #[command(alias = "select")]
    BeginDeploy {
        /// The bare repository.
        #[arg(long, env = "GIT_DIR", value_name = "DIR")]
        repo: PathBuf,
        #[command(flatten)]
        app: OneApp,
        /// In whose name.
        #[arg(long, env = "PIKU_KEY", default_value = "operator")]
        by: String,
    },
    /// In the hook: record that the deploy is live.
    #[command(alias = "settle")]
    FinishDeploy {
        #[command(flatten)]
        app: OneApp,
        /// The commit that begin-deploy printed.
        commit: String,
        /// Record that its plan was shown and nothing deployed.
        #[arg(long)]
        dry_run: bool,
    },
    /// In the hook: copy stdin to stdout and into the deploy's log, as much as `deploy_log` in host.yaml says.
    Record {
        /// The log.
        log: PathBuf,
        /// The folder with everything that piku keeps [default: ~/.piku].
        #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Git's pre-receive hook: refuse what cannot be deployed before it is stored.
    #[command(hide = true)]
    Admit {
        #[arg(long, env = "PIKU_ROOT")]
        root: Option<PathBuf>,
        #[arg(long, env = "PIKU_APP")]
        app: Option<AppName>,
    },
}

/// An app below the root.
#[derive(Debug, Args)]
struct OneApp {
    /// The folder with everything that piku keeps [default: ~/.piku].
    #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// The app.
    #[arg(long, env = "PIKU_APP", value_name = "APP")]
    app: AppName,
}

/// Of which app, and in whose name.
#[derive(Debug, Args)]
struct AppKeyArgs {
    /// The app.
    #[arg(long, env = "PIKU_APP", value_name = "APP")]
    app: AppName,
    /// In whose name.
    #[arg(long, env = "PIKU_KEY", default_value = "operator")]
    by: String,
}

/// The same, named by itself.
#[derive(Debug, Args)]
struct TheApp {
    /// The app.
    app: AppName,
    /// The folder with everything that piku keeps [default: ~/.piku].
    #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Let a key in; the public key is read from stdin.
    Add {
        /// A name for it: whose, or from which machine.
        name: KeyName,
        /// An app that this key reaches; all apps when not given.
        #[arg(long = "app", value_name = "APP")]
        apps: Vec<AppName>,
        #[command(flatten)]
        file: KeyFileArgs,
        #[command(flatten)]
        place: MachineArgs,
    },
    /// Print the keys that piku has let in.
    List {
        /// The form of the output.
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
        #[command(flatten)]
        file: KeyFileArgs,
    },
    /// Shut a key out.
    Remove {
        /// Its name.
        name: KeyName,
        #[command(flatten)]
        file: KeyFileArgs,
    },
}

#[derive(Debug, Args)]
struct KeyFileArgs {
    /// The file that sshd reads.
    #[arg(long, value_name = "FILE", help = "The file that sshd reads [default: ~/.ssh/authorized_keys]")]
    authorized_keys: Option<PathBuf>,
}

impl ReceiveCli {
    /// Does what was typed.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(action) = self.action else {
            let key = self.key.context("no key")?.to_string();
            let MachineArgs { root, scripts } = self.place;
            return KeySession {
                key,
                scope: self.apps,
                root: root_at(root)?,
                scripts: app_context::scripts(scripts)?,
            }
            .open();
        };
        match action {
            ReceiveAction::Key(action) => action.run()?,
            ReceiveAction::Deploy { app, branch, dry_run, no_cache, rebuild, wait, place, by } => {
                child_env::own_umask();
                let (root, scripts) = (root_at(place.root)?, app_context::scripts(place.scripts)?);
                let place = AppContext { root: &root, scripts: &scripts, app: &app, key: &by };
                let options = PushOptions { dry_run, no_cache, rebuild: rebuild.is_some() };
                let what = match rebuild {
                    Some(commit) => DeploySubject::Again(
                        Oid::from_str(&commit).ok().with_context(|| format!("bad commit '{commit}'"))?,
                    ),
                    None => DeploySubject::Tip(branch),
                };
                return deploy::run(&place, &what, options, wait.map(Duration::from_secs))
                    .map(|outcome| ExitCode::from(outcome.code()));
            }
            ReceiveAction::Targets { place, whose: AppKeyArgs { app, by } } => {
                let (root, scripts) = (root_at(place.root)?, app_context::scripts(place.scripts)?);
                child_env::own_umask();
                return distribute::targets(&AppContext {
                    root: &root,
                    scripts: &scripts,
                    app: &app,
                    key: &by,
                });
            }
            ReceiveAction::Ship { releases, targets, place, whose: AppKeyArgs { app, by } } => {
                child_env::own_umask();
                let (root, scripts) = (root_at(place.root)?, app_context::scripts(place.scripts)?);
                let place = AppContext { root: &root, scripts: &scripts, app: &app, key: &by };
                return distribute::run(&place, &absolute(&releases)?, &absolute(&targets)?);
            }
            ReceiveAction::Cancel { app: TheApp { app, root }, by } => {
                deploy::cancel::run(&app, &root_at(root)?.app(&app), &by)?;
            }
            ReceiveAction::Export { repo, commit, dir, settings } => {
                child_env::own_umask();
                let settings = settings.as_deref().map(HostSettings::read).transpose()?.unwrap_or_default();
                export::run(&repo, &commit, &dir, &settings)?;
            }
            ReceiveAction::BeginDeploy { repo, app, by } => deploy::begin::run(&repo, &app.dir()?, &by)?,
            ReceiveAction::FinishDeploy { app, commit: _, dry_run: true } => {
                deploy::verdict::finish_dry_run(&app.dir()?)?;
            }
            ReceiveAction::FinishDeploy { app, commit, dry_run: false } => {
                deploy::verdict::finish(&app.dir()?, &commit)?;
            }
            ReceiveAction::Record { log, root } => {
                // Settings that cannot be read are told of by the steps that need more of them.
                let settings = HostSettings::read(&root_at(root)?.settings()).unwrap_or_default();
                deploy::record::run(&log, settings.deploy_log.saturating_mul(1 << 20))?;
            }
            ReceiveAction::Admit { root, app } => {
                let app = app.map(|app| OneApp { root, app }.dir()).transpose()?;
                push::pre_receive::run(app.as_ref())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl KeyAction {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { name, apps, file, place } => {
                // sshd gives the forced command none of this environment, so what is not the default is in its line.
                let root = place.root.as_deref().map(absolute).transpose()?;
                let scripts = place.scripts.as_deref().map(absolute).transpose()?;
                key::add(&file.path()?, &NewKeyArgs { name, apps, root, scripts })
            }
            Self::List { format, file } => key::list(&file.path()?, format),
            Self::Remove { name, file } => key::remove(&file.path()?, &name),
        }
    }
}

impl KeyFileArgs {
    fn path(self) -> anyhow::Result<PathBuf> {
        if let Some(path) = self.authorized_keys {
            return Ok(path);
        }
        if nix::unistd::geteuid().is_root() {
            // root's own keys are no keys of piku's.
            return Err(UserError::new("this is root, and keys are let in to the user that runs piku")
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
    fn dir(self) -> anyhow::Result<AppDir> {
        Ok(root_at(self.root)?.app(&self.app))
    }
}

/// The root as an absolute path: programs that run in other folders are told of it.
fn root_at(given: Option<PathBuf>) -> anyhow::Result<PikuRoot> {
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
