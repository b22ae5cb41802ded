//! Command line of the tool.

mod exit_status;
#[cfg(test)]
mod tests;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::ROOT_VARIABLE;
use piku_layout::settings::{GrantedPath, HostDomain};
use piku_report::number_arg::number_arg;
use piku_report::output::OutputFormat;

pub(crate) use values::RestartTarget;
use values::{parse_count, parse_deploy, parse_release, parse_since, parse_target};

/// Run apps: start, check, log and restart their instances, and replace them without downtime
///
/// The daemon runs one supervisor for each app; deploy and similar commands send requests to it. start needs
/// neither: it
/// is a foreman for any directory with a Procfile. Data goes to stdout, progress and errors to stderr.
#[derive(Debug, Parser)]
#[command(name = "piku-run", version, max_term_width = 100, after_long_help = exit_status::ALL)]
pub(crate) struct RunCli {
    /// Root directory of piku [default: ~/.piku]
    #[arg(long, global = true, env = ROOT_VARIABLE, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Subcommand to run.
    #[command(subcommand)]
    pub(crate) command: RunCommand,
}

/// Subcommands and their arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Run one supervisor for each app, in the foreground; on SIGTERM it exits and instances keep running
    #[command(after_long_help = exit_status::DAEMON)]
    Daemon,
    /// Run piku's nginx in the foreground; SIGTERM stops it after its requests have finished, SIGHUP reloads
    /// host.yaml
    #[command(after_long_help = exit_status::NGINX)]
    Nginx {
        /// Only check that nginx accepts the files of all apps and the ports and addresses of host.yaml
        #[arg(long)]
        check: bool,
    },
    /// List the apps, with their state if it is unusual
    #[command(after_long_help = exit_status::READ)]
    Apps {
        /// Names of apps [default: all apps]
        apps: Vec<AppName>,
        /// Print a table with the state, the live release, the instances and the URLs
        #[arg(short, long)]
        long: bool,
        /// Print only the best URL of each
        #[arg(long, conflicts_with_all = ["long", "format"])]
        urls: bool,
        /// Print no app, for a key that has none
        #[arg(long, hide = true)]
        none: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// List, change or check the host names of apps
    ///
    /// They are kept in `NGINX_SERVER_NAME` of the app's config; an app that sets none has those that the host
    /// assigns.
    #[command(after_long_help = exit_status::CHANGE, subcommand_precedence_over_arg = true)]
    Domains {
        /// Names of apps [default: all apps]
        apps: Vec<AppName>,
        /// Output format
        #[arg(long, value_enum, default_value_t, global = true)]
        format: OutputFormat,
        /// Print no app, for a key that has none
        #[arg(long, hide = true)]
        none: bool,
        /// Action to perform [default: list the names]
        #[command(subcommand)]
        action: Option<DomainsCommand>,
    },
    /// Print or set the domain below which this machine serves apps without a name of their own
    #[command(after_long_help = exit_status::CHANGE)]
    HostDomain {
        /// A domain such as apps.example.org; local, sslip.io, auto or off
        domain: Option<HostDomain>,
    },
    /// Manage the certificates of the apps' host names
    #[command(after_long_help = exit_status::CHANGE)]
    Certs {
        /// Action to perform
        #[command(subcommand)]
        action: CertsCommand,
    },
    /// Export, import or remove the app's own files, also after it was destroyed
    #[command(after_long_help = exit_status::CHANGE)]
    Data {
        /// Name of the app
        app: AppName,
        /// Action to perform
        #[command(subcommand)]
        action: DataAction,
    },
    /// Show the protections between apps on this machine, and those recorded in host.yaml
    #[command(after_long_help = exit_status::READ)]
    Protections {
        /// Record the protections in effect; builds and starts fail if one of them is missing later
        #[arg(long)]
        record: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Answer all requests to an app with 503 and a maintenance page, or stop doing so
    #[command(after_long_help = exit_status::CHANGE)]
    Maintenance {
        /// Name of the app
        app: AppName,
        /// New state of the maintenance mode
        state: OnOff,
    },
    /// Supervise one app
    #[command(hide = true)]
    Supervise {
        /// Name of the app
        app: AppName,
    },
    /// Forward one app's logs to a syslog receiver
    #[command(hide = true)]
    Drain {
        /// Name of the app
        app: AppName,
    },
    /// Run the processes of a Procfile with one log until Ctrl-C; needs no installation of piku
    #[command(after_long_help = exit_status::START)]
    Start(StartArgs),
    /// Check the settings of an app before it is built: limits, network, nginx
    #[command(after_long_help = exit_status::READ)]
    Check {
        /// Name of the app
        app: AppName,
        /// Directory of the app, with its Procfile and ENV
        folder: PathBuf,
    },
    /// Make a built release live; its directory is moved away
    #[command(after_long_help = exit_status::CHANGE)]
    Deploy {
        /// Name of the app
        app: AppName,
        /// Release directory made by piku-build
        release: PathBuf,
    },
    /// List the instances of apps
    #[command(after_long_help = exit_status::READ)]
    Ps {
        /// Name of one app [default: all apps]
        app: Option<AppName>,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Set the number of instances of process types
    #[command(after_long_help = exit_status::CHANGE)]
    Scale {
        /// Name of the app
        app: AppName,
        /// Process types and their number of instances
        /// [default: print the numbers]
        #[arg(value_name = "TYPE=N", value_parser = parse_count)]
        counts: Vec<(ProcessName, u32)>,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Replace all instances, or those of one type, by new ones of the same release; starts a stopped app
    ///
    /// If all are replaced, changes stored with `config set --no-restart` take effect, as a new release with
    /// the same
    /// tree.
    #[command(after_long_help = exit_status::CHANGE)]
    Restart {
        /// Name of the app
        app: AppName,
        /// Process type, instance such as worker.1, or cron type, which runs once now [default: all]
        #[arg(value_name = "TYPE|INSTANCE", value_parser = parse_target)]
        target: Option<RestartTarget>,
        /// Do nothing unless the app is stopped
        #[arg(long)]
        if_stopped: bool,
    },
    /// Stop all instances of an app until `restart` or a push
    #[command(after_long_help = exit_status::CHANGE)]
    Stop {
        /// Name of the app
        #[arg(required_unless_present = "all")]
        app: Option<AppName>,
        /// Stop all apps; they start again with the daemon
        #[arg(long, conflicts_with = "app")]
        all: bool,
    },
    /// Print the logs of an app's instances or of a deploy
    #[command(after_long_help = exit_status::READ)]
    Logs(LogsArgs),
    /// List the releases of an app, newest first
    #[command(after_long_help = exit_status::READ)]
    Releases {
        /// Name of the app
        app: AppName,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Make a new release with the tree and config of an old one
    #[command(after_long_help = exit_status::CHANGE)]
    Rollback {
        /// Name of the app
        app: AppName,
        /// Number of the release [default: the one before the live release]
        #[arg(value_parser = parse_release)]
        number: Option<u64>,
    },
    /// Remove old releases, unused layers, caches over their limit and old deploy logs
    ///
    /// Most of this happens after each deploy. Nothing in use is removed. `keep_releases` and `cache_limit`
    /// in host.yaml
    /// set the number of releases and the size of the caches to keep.
    #[command(after_long_help = exit_status::CHANGE)]
    Gc {
        /// Name of one app [default: all apps]
        app: Option<AppName>,
        /// Only print what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Print or change the config of an app, which overrides its ENV file; each change makes a new release
    #[command(after_long_help = exit_status::CHANGE)]
    Config {
        /// Name of the app
        app: AppName,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
        /// Action to perform [default: print the config]
        #[command(subcommand)]
        action: Option<ConfigCommand>,
    },
    /// List, or add to, the devices, sockets and directories of this machine that an app may use
    ///
    /// They are kept in `grants` of host.yaml. An app sees each at its own path: a device such as
    /// /dev/i2c-1, a directory of devices such as /dev/snd, a directory of sockets such as
    /// /run/postgresql, or any other directory or file, read-only with ':ro' after it. No app, and no
    /// key, can grant itself anything.
    #[command(after_long_help = exit_status::CHANGE)]
    Grant {
        /// Name of the app [default: list those of all apps]
        app: Option<AppName>,
        /// Paths to grant [default: list those of the app]
        #[arg(value_name = "PATH[:ro]")]
        paths: Vec<GrantedPath>,
        /// Only store the change, for the next start of each process
        #[arg(long, requires = "paths")]
        no_restart: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t, conflicts_with = "paths")]
        format: OutputFormat,
    },
    /// Take back paths that were granted to an app
    #[command(after_long_help = exit_status::CHANGE)]
    Revoke {
        /// Name of the app
        app: AppName,
        /// Paths to take back
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<GrantedPath>,
        /// Only store the change, for the next start of each process
        #[arg(long)]
        no_restart: bool,
    },
    /// Run a command in the live release of an app, with its environment
    #[command(after_long_help = exit_status::EXEC)]
    Exec {
        /// Name of the app
        app: AppName,
        /// Command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Remove an app except its data
    #[command(after_long_help = exit_status::CHANGE)]
    Destroy {
        /// Name of the app
        app: AppName,
        /// Name of the app, to confirm
        #[arg(long, value_name = "APP")]
        confirm: AppName,
    },
}

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

/// Arguments of `logs`.
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Name of the app
    pub(crate) app: AppName,
    /// Process type or instance, as with --ps
    #[arg(value_name = "TYPE", conflicts_with_all = ["ps", "deploy", "nginx", "access"])]
    pub(crate) only: Option<String>,
    /// Keep printing new lines
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Number of last lines [default: 100; for a deploy all]
    #[arg(short = 'n', long, value_name = "N", value_parser = number_arg("a number of lines, such as 100", 0..=usize::MAX))]
    pub(crate) lines: Option<usize>,
    /// Only this process type or instance, such as web.1
    #[arg(long, value_name = "PS")]
    pub(crate) ps: Option<String>,
    /// Only lines since this age, such as 10m, 2h or 1d, or time, such as 2026-11-22T10:00:00Z; all of them
    /// unless -n
    /// is given
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
    /// Print all bytes unchanged, including control sequences, for a file or another program. By default
    /// only text and
    /// colours are printed
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Actions of `data`.
#[derive(Debug, Subcommand)]
pub(crate) enum DataAction {
    /// Write the files to stdout as a tar archive
    #[command(after_long_help = exit_status::READ)]
    Export,
    /// Unpack a tar archive from stdin into the directory
    #[command(after_long_help = exit_status::CHANGE)]
    Import,
    /// Remove the files of a destroyed app
    #[command(after_long_help = exit_status::CHANGE)]
    Remove {
        /// Name of the app, to confirm
        #[arg(long, value_name = "APP")]
        confirm: AppName,
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
    },
    /// Set values and deploy a new release with them; if it does not come up, nothing changes
    #[command(after_long_help = exit_status::CHANGE)]
    Set {
        /// Values to set
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

/// State of the maintenance mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// Answer with the maintenance page
    On,
    /// Answer requests as usual
    Off,
}
