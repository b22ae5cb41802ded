//! The command line.

mod dispatch;
mod recorded;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use piku_layout::name::AppName;
use piku_report::number_arg::number_arg;

use crate::exit_status;
use crate::key::KeyName;
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
        #[arg(long, value_name = "SECONDS", value_parser = number_arg("whole seconds, such as 60", 0..=u64::MAX))]
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
        /// File for what the machines have answered, by which 'piku-build' knows before a build what they lack.
        #[arg(long, value_name = "FILE")]
        machines: Option<PathBuf>,
        #[command(flatten)]
        paths: MachineArgs,
        #[command(flatten)]
        whose: AppKeyArgs,
    },
    /// Send each machine in `deploy_to` the release for its platform and deploy it there.
    // Hooks of older versions call it by its alias.
    #[command(alias = "ship", after_long_help = exit_status::DISTRIBUTE)]
    Distribute {
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
    /// Send the last release to machines that were down at its deploy, if they are back.
    ///
    /// The daemon runs this as long as there are any (`skip_down` in `deploy_to` of host.yaml).
    #[command(after_long_help = exit_status::CATCH_UP)]
    CatchUp {
        /// Name of the app.
        app: AppName,
        #[command(flatten)]
        paths: MachineArgs,
    },
    /// Execute a verb about an app of machines in `deploy_to` where the app runs.
    ///
    /// The script of the verbs runs this for each verb about an app, if host.yaml has `deploy_to`. The verb is
    /// executed on each machine, on one of them or on this one, or refused.
    #[command(after_long_help = exit_status::RELAY)]
    Relay {
        #[command(flatten)]
        paths: MachineArgs,
        /// Name of the app.
        app: AppName,
        /// Verb of 'piku help'.
        verb: String,
        /// Its arguments without the app, behind '--'.
        #[arg(last = true, value_name = "ARGUMENT")]
        args: Vec<String>,
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
        /// Make the directory of an earlier export with this option equal to the commit.
        ///
        /// Files that are the same stay; everything else in the directory is removed. DIR.index says which
        /// object each file is, and by which metadata a later change is seen.
        #[arg(long)]
        update: bool,
        /// host.yaml with the disk space that stays free [default: the defaults].
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        /// config.json of the app, with the key for private submodules [default: no key].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Begin the deploy of a push (for the hook).
    ///
    /// Reads git's 'OLD NEW REF' lines from stdin. If a deploy is due, records that it begins, creates a
    /// folder for it and prints four lines: its commit, its number and the push options; the subject of the
    /// commit; the folder; the names of git's variables, which later steps must not see.
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
    /// Replace an app by another in the scope of each key (for `piku-run rename`).
    #[command(hide = true)]
    RenameApp {
        from: AppName,
        to: AppName,
        #[command(flatten)]
        file: KeyFileArgs,
        /// Directory of the app; keys for another one are left alone.
        #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Remove a key.
    #[command(after_long_help = exit_status::COMMAND)]
    Remove {
        /// Name of the key.
        name: KeyName,
        #[command(flatten)]
        file: KeyFileArgs,
        /// Directory of all data of piku, with the audit log [default: ~/.piku].
        #[arg(long, env = "PIKU_ROOT", value_name = "DIR")]
        root: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct KeyFileArgs {
    /// File that sshd reads [default: `~/.ssh/authorized_keys`].
    #[arg(long, value_name = "FILE")]
    authorized_keys: Option<PathBuf>,
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

    #[test]
    fn hooks_of_older_versions_are_understood() {
        let line = "piku-receive ship /r --targets /t --app blog";
        let cli = ReceiveCli::try_parse_from(line.split(' ')).unwrap();
        assert!(matches!(cli.action, Some(ReceiveAction::Distribute { .. })));
        for (name, same) in [("select", "begin-deploy"), ("settle", "finish-deploy")] {
            let command = ReceiveCli::command();
            let found = command.find_subcommand(name).unwrap();
            assert_eq!(found.get_name(), same);
        }
    }

    #[test]
    fn arguments_of_a_relayed_verb_are_not_options() {
        let line = "piku-receive relay blog run -- --root /x -- --scripts /y";
        let cli = ReceiveCli::try_parse_from(line.split(' ')).unwrap();
        let Some(ReceiveAction::Relay { paths, args, .. }) = cli.action else { panic!() };
        assert_eq!(args, ["--root", "/x", "--", "--scripts", "/y"]);
        assert!(paths.root.is_none() && paths.scripts.is_none());
        assert!(ReceiveCli::try_parse_from("piku-receive relay blog run --follow".split(' ')).is_err());
    }
}
