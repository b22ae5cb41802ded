//! Actions of the commands that have several.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use piku_layout::name::AppName;
use piku_report::output::OutputFormat;

use super::exit_status;

/// Actions of `data`.
#[derive(Debug, Subcommand)]
pub(crate) enum DataAction {
    /// Write the files to stdout as a tar archive
    #[command(after_long_help = exit_status::READ)]
    Export,
    /// Unpack a tar archive from stdin into the directory, as a whole or not at all
    #[command(after_long_help = exit_status::CHANGE)]
    Import {
        /// Wait for the end of stdin, then complete or undo an interrupted import
        #[arg(long, hide = true)]
        resume: bool,
    },
    /// Remove the files of a destroyed app
    #[command(after_long_help = exit_status::CHANGE)]
    Remove {
        /// Name of the app, to confirm
        #[arg(long, value_name = "APP")]
        confirm: AppName,
    },
}

/// Actions of `backup`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupAction {
    /// List the scheduled backups of host.yaml with their last results
    #[command(after_long_help = exit_status::READ)]
    List {
        /// Only print what is wrong, a line each; exits with 1 if anything is
        #[arg(long, conflicts_with = "format")]
        problems: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Take the backups that host.yaml schedules, now
    #[command(after_long_help = exit_status::CHANGE)]
    Run {
        /// Name of one in 'backups' of host.yaml [default: all]
        plan: Option<AppName>,
        /// Only those whose time has come; the daemon does that
        #[arg(long, hide = true, conflicts_with = "plan")]
        due: bool,
    },
    /// Read a backup on stdin to its end, and list what is in it
    #[command(after_long_help = exit_status::READ)]
    Verify {
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
}

/// Actions of `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print one value
    #[command(after_long_help = exit_status::READ)]
    Get {
        /// Name of the value
        name: String,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Set values and deploy a new release with them; if it does not come up, nothing changes
    #[command(after_long_help = exit_status::CHANGE)]
    Set {
        /// Values to set; of a name given twice, the last one
        #[arg(required = true, value_name = "NAME=VALUE")]
        pairs: Vec<String>,
        /// Read the value of the only NAME from stdin, without its last newline
        #[arg(long)]
        stdin: bool,
        /// Only store the change, for the next release or restart of the whole app
        #[arg(long)]
        no_restart: bool,
    },
    /// Remove values, with a new release as for set
    #[command(after_long_help = exit_status::CHANGE)]
    Unset {
        /// Names of the values
        #[arg(required = true)]
        names: Vec<String>,
        /// Only store the change, for the next release or restart of the whole app
        #[arg(long)]
        no_restart: bool,
    },
    /// Set the values of an ENV file on stdin, with a new release as for set
    #[command(after_long_help = exit_status::CHANGE)]
    Import {
        /// Remove the values that the file does not have
        #[arg(long)]
        replace: bool,
        /// With --replace: remove all values if the file has none
        #[arg(long, requires = "replace")]
        allow_empty: bool,
        /// Refuse if the config is not the first BYTES of stdin, as `config` prints it; the file follows
        #[arg(long, value_name = "BYTES", requires = "replace")]
        before: Option<usize>,
        /// Only store the change, for the next release or restart of the whole app
        #[arg(long)]
        no_restart: bool,
    },
}

/// Actions of `certs`.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// List the certificates: who issued them, until when they are valid, and what failed last
    #[command(after_long_help = exit_status::READ)]
    List {
        /// Names of apps [default: all apps]
        apps: Vec<AppName>,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
        /// Print no app, for a key that has none
        #[arg(long, hide = true)]
        none: bool,
    },
    /// Request missing certificates and those that expire within 30 days, through acme.sh or certbot; a
    /// timer runs this daily
    #[command(after_long_help = exit_status::CHANGE)]
    Renew {
        /// Name of one app [default: all that nginx serves]
        app: Option<AppName>,
        /// Also retry requests that failed a short while ago
        #[arg(long)]
        force: bool,
    },
}

/// Actions of `domains`.
#[derive(Debug, Subcommand)]
pub(crate) enum DomainsCommand {
    /// Add host names to the app's config, with a new release
    #[command(after_long_help = exit_status::CHANGE)]
    Add {
        /// Host names, such as blog.example.org
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Only store the change, for the next release or restart of the whole app
        #[arg(long)]
        no_restart: bool,
    },
    /// Remove host names from the app's config, with a new release
    #[command(after_long_help = exit_status::CHANGE)]
    Remove {
        /// Host names to remove
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Only store the change, for the next release or restart of the whole app
        #[arg(long)]
        no_restart: bool,
    },
    /// Check that DNS leads here and that nginx answers for each name
    #[command(after_long_help = exit_status::READ)]
    Check,
}

/// Arguments of `front`.
#[derive(Debug, Args)]
pub(crate) struct FrontArgs {
    /// Name of the app
    pub(crate) app: AppName,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
    /// Action to perform [default: list the machines]
    #[command(subcommand)]
    pub(crate) action: Option<FrontAction>,
}

/// Actions of `front`.
#[derive(Debug, Subcommand)]
pub(crate) enum FrontAction {
    /// Take over the settings of a release, and print the key for the machines; part of a deploy
    #[command(after_long_help = exit_status::CHANGE)]
    Prepare {
        /// Tree of the release, with its ENV
        tree: PathBuf,
    },
    /// Have nginx send requests to the machines that answer and have the last release; part of a deploy
    #[command(after_long_help = exit_status::CHANGE)]
    Refresh {
        /// Print the URLs of the app, and on stderr what is wrong with them
        #[arg(long)]
        urls: bool,
    },
    /// Send no requests to a machine until stdin ends; part of a deploy
    ///
    /// Prints 'drained' when its requests have ended. After the line 'deployed' on stdin, it waits until the
    /// machine answers, and takes over the settings of the release; after 'undone', it returns to those before.
    #[command(after_long_help = exit_status::CHANGE)]
    Drain {
        /// Machine, as `deploy_to` in host.yaml names it, without the user
        machine: String,
    },
}

/// State of the maintenance mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// Answer with the maintenance page
    On,
    /// Answer requests as usual
    Off,
}
