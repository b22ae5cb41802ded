//! Arguments of the commands that have the most of them.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use piku_layout::name::{AppName, ProcessName};
use piku_layout::settings::HourLimit;
use piku_report::number_arg::number_arg;
use piku_report::output::OutputFormat;

use super::subcommands::BackupAction;
use crate::cli::ForeignPlatform;

use super::values::{parse_count, parse_deploy, parse_listed_release, parse_since};

/// Arguments of `start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Directory with the Procfile
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Number of instances of each type, such as web=2,worker=1; types that are not named do not run
    #[arg(short = 'm', long, value_name = "TYPE=N,…", value_delimiter = ',', value_parser = parse_count)]
    pub(crate) formation: Vec<(ProcessName, u32)>,
    /// First port of the first type; each further type begins 100 higher [default: PORT in the environment
    /// files, else in the environment, else 5000]
    #[arg(short, long, value_name = "PORT", value_parser = number_arg("a port from 1 to 65535", 1..=u16::MAX))]
    pub(crate) port: Option<u16>,
    /// Environment files; a later one overrides an earlier one [default: DIR/ENV,DIR/.env]
    #[arg(short, long, value_name = "FILE,…", value_delimiter = ',')]
    pub(crate) env: Vec<PathBuf>,
    /// Path of the Procfile [default: DIR/Procfile]
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) procfile: Option<PathBuf>,
    /// Seconds between SIGTERM and SIGKILL
    #[arg(short, long, default_value_t = 10, value_name = "SECONDS", value_parser = number_arg("whole seconds, such as 10", 0..=u64::MAX))]
    pub(crate) timeout: u64,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Names of apps [default: all apps]
    pub(crate) apps: Vec<AppName>,
    /// Print no app, for a key that has none
    #[arg(long, hide = true)]
    pub(crate) none: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
    /// Print one self-contained page, with charts of a day and the ends of the logs of deploys
    #[arg(long, conflicts_with = "format")]
    pub(crate) html: bool,
    /// Record the usage of all apps and write the page that nginx serves, if `status` of host.yaml is on
    #[arg(long, hide = true, conflicts_with_all = ["format", "html", "apps", "none"])]
    pub(crate) update: bool,
}

/// Arguments of `notify`.
#[derive(Debug, Args)]
pub(crate) struct NotifyArgs {
    /// Send a test notification instead
    #[arg(long)]
    pub(crate) test: bool,
}

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Name of one app [default: all apps]
    pub(crate) app: Option<AppName>,
    /// Only print what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Remove only what destroyed apps have left, after its time; the daemon asks for it
    #[arg(long, hide = true, conflicts_with_all = ["app", "dry_run"])]
    pub(crate) expired: bool,
    /// Remove only what is withdrawn from the app already; the daemon asks for it
    #[arg(long, hide = true, requires = "app", conflicts_with = "dry_run")]
    pub(crate) withdrawn: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// Arguments of `data-usage`.
#[derive(Debug, Args)]
pub(crate) struct DataUsageArgs {
    /// Only print the apps whose data is near its limit, a line each; exits with 1 if there are any
    #[arg(long)]
    pub(crate) problems: bool,
}

/// Arguments of `rename`.
#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// Name of the app
    pub(crate) app: AppName,
    /// New name
    pub(crate) new: AppName,
    /// Start the app under its old name, if an interrupted renaming has not moved it yet
    #[arg(long, hide = true)]
    pub(crate) undo: bool,
    /// Wait for the end of stdin, then complete or undo an interrupted renaming
    #[arg(long, hide = true)]
    pub(crate) resume: bool,
}

/// Arguments of `status-password`.
#[derive(Debug, Args)]
pub(crate) struct StatusPasswordArgs {
    /// Name of the reader
    #[arg(default_value = "admin")]
    pub(crate) user: String,
    /// Read the password from stdin [default: make one and print it]
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Remove the reader
    #[arg(long, conflicts_with = "stdin")]
    pub(crate) remove: bool,
}

/// Arguments of `metrics`.
#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    /// Names of apps [default: all apps]
    pub(crate) apps: Vec<AppName>,
    /// Print no app, for a key that has none
    #[arg(long, hide = true)]
    pub(crate) none: bool,
}

/// Arguments of `release-info`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseInfoArgs {
    /// Name of the app
    pub(crate) app: AppName,
    /// Number of the release [default: the live release]
    #[arg(value_parser = parse_listed_release)]
    pub(crate) number: Option<u64>,
    /// Release to compare it with [default: the one before it]
    #[arg(long, value_name = "N", value_parser = parse_listed_release)]
    pub(crate) since: Option<u64>,
    /// Also print the old and new values of settings, which may be secrets
    #[arg(long)]
    pub(crate) show: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// Arguments of `logs`.
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Name of the app [default: all apps]
    pub(crate) app: Option<AppName>,
    /// Process type or instance of the app, as with --ps, or names of more apps
    #[arg(value_name = "TYPE|APP")]
    pub(crate) more: Vec<String>,
    /// Keep printing new lines
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Number of last lines [default: 100; for a deploy all]
    #[arg(short = 'n', long, value_name = "N", value_parser = number_arg("a number of lines, such as 100", 0..=usize::MAX))]
    pub(crate) lines: Option<usize>,
    /// Only this process type or instance, such as web.1
    #[arg(long, value_name = "PS")]
    pub(crate) ps: Option<String>,
    /// Only lines since this age, such as 10m, 2h or 1d, since today or yesterday, or since a time, such as
    /// 2026-11-22T10:00:00Z; all of them unless -n is given
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    pub(crate) since: Option<Timestamp>,
    /// Log of deploy N [default: the last deploy]
    #[arg(long, value_name = "N", num_args = 0..=1, conflicts_with_all = ["ps", "since"], value_parser = parse_deploy)]
    #[expect(clippy::option_option, reason = "without a number it means the last deploy")]
    pub(crate) deploy: Option<Option<u64>>,
    /// Log of requests and errors that nginx keeps for the app
    #[arg(long, conflicts_with_all = ["ps", "deploy"])]
    pub(crate) nginx: bool,
    /// Log of requests that nginx keeps for the app, without its errors
    #[arg(long, conflicts_with_all = ["ps", "deploy", "nginx"])]
    pub(crate) access: bool,
    /// Print all bytes unchanged, including control sequences, for a file or another program. By default only
    /// text and colours are printed
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print the names in colours, as on a terminal, unless `NO_COLOR` is set
    #[arg(long)]
    pub(crate) terminal: bool,
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Name of one app, also of one that is gone [default: all apps]
    pub(crate) app: Option<AppName>,
    /// Only this key; 'operator' means all work on the server itself
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Only lines since this age, such as 10m, 2h or 1d, since today or yesterday, or since a time, such as
    /// 2026-11-22T10:00:00Z; all of them unless -n is given
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    pub(crate) since: Option<Timestamp>,
    /// Number of last lines [default: 100]
    #[arg(short = 'n', long, value_name = "N", value_parser = number_arg("a number of lines, such as 100", 0..=usize::MAX))]
    pub(crate) lines: Option<usize>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// Arguments of `clone`.
#[derive(Debug, Args)]
pub(crate) struct CloneArgs {
    /// Name of the app
    pub(crate) app: AppName,
    /// Name of the new app
    pub(crate) new: AppName,
    /// Also copy the app's own files, as they are at this moment
    #[arg(long)]
    pub(crate) data: bool,
    /// Do not deploy the new app yet
    #[arg(long)]
    pub(crate) skip_deploy: bool,
}

/// Arguments of `destroy`.
#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    /// Name of the app
    pub(crate) app: AppName,
    /// Name of the app, to confirm
    #[arg(long, value_name = "APP")]
    pub(crate) confirm: AppName,
    /// Keep nothing, not even the data
    #[arg(long)]
    pub(crate) now: bool,
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
pub(crate) struct BackupArgs {
    /// Name of the app
    pub(crate) app: Option<AppName>,
    /// Write all apps
    #[arg(long, conflicts_with = "app")]
    pub(crate) all: bool,
    /// Write all apps, and the settings, keys and certificates of the machine
    #[arg(long, conflicts_with_all = ["app", "all"])]
    pub(crate) host: bool,
    /// Leave out the data that the apps have in services
    #[arg(long)]
    pub(crate) without_services: bool,
    /// Give up after so many hours, such as 0.5 [default: never]
    #[arg(long, value_name = "HOURS")]
    pub(crate) max_hours: Option<HourLimit>,
    /// Action to perform [default: write a backup]
    #[command(subcommand)]
    pub(crate) action: Option<BackupAction>,
}

/// Arguments of `restore`.
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Name of the app [default: all apps of the backup]
    pub(crate) app: Option<AppName>,
    /// Wait for the end of stdin, then start the app that a killed restore has stopped, or deploy the restored one
    #[arg(long, hide = true, requires = "app")]
    pub(crate) resume: bool,
    /// Give the app of the backup another name
    #[arg(long = "as", value_name = "NEW")]
    pub(crate) new: Option<AppName>,
    /// Replace apps that are there; each is saved first, and kept for `keep_destroyed` of host.yaml
    #[arg(long, conflicts_with = "host")]
    pub(crate) replace: bool,
    /// Read the whole backup, print what would be restored, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not deploy what is restored from a backup
    #[arg(long)]
    pub(crate) skip_deploy: bool,
    /// Bind the apps to no service, and leave out the data that they had there
    #[arg(long)]
    pub(crate) without_services: bool,
    /// Restore the settings, keys and certificates of the machine, and no app
    #[arg(long, conflicts_with_all = ["app", "new", "skip_deploy", "without_services", "kept"])]
    pub(crate) host: bool,
    /// Restore from a backup on stdin, however long it takes to begin
    #[arg(long)]
    pub(crate) archive: bool,
    /// Bring back the destroyed app, whatever stdin is; with --replace, what the app was before the last --replace
    #[arg(long, requires = "app", conflicts_with_all = ["archive", "new", "dry_run", "skip_deploy", "without_services"])]
    pub(crate) kept: bool,
}

/// Arguments of `import-app`.
#[derive(Debug, Args)]
pub(crate) struct ForeignAppArgs {
    /// Name of the app
    pub(crate) app: AppName,
    /// Platform whose exports are on stdin
    #[arg(long, value_enum, value_name = "PLATFORM")]
    pub(crate) from: ForeignPlatform,
    /// Only print what would be taken over
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only store the settings, for the next release or restart
    #[arg(long)]
    pub(crate) no_restart: bool,
}

/// Arguments of `import-piku`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Home of the old piku's user, or its directory .piku
    pub(crate) dir: PathBuf,
    /// Names of apps [default: all apps]
    pub(crate) apps: Vec<String>,
    /// Only print what would be taken over
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not deploy the apps
    #[arg(long)]
    pub(crate) no_deploy: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Name of the app
    pub(crate) app: AppName,
    /// Directory of the app, with its Procfile and ENV
    pub(crate) folder: PathBuf,
}
