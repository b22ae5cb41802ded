//! Command line of the tool.

mod exit_status;
mod long_arguments;
pub(crate) mod service_action;
mod subcommands;
#[cfg(test)]
mod tests;
mod values;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::ROOT_VARIABLE;
use piku_layout::settings::{GrantedPath, HostDomain};
use piku_report::output::OutputFormat;

pub(crate) use long_arguments::{
    AuditArgs, BackupArgs, CheckArgs, CloneArgs, DataUsageArgs, DestroyArgs, ForeignAppArgs, GcArgs,
    ImportArgs, LogsArgs, MetricsArgs, NotifyArgs, ReleaseInfoArgs, RenameArgs, RestoreArgs, StartArgs,
    StatusArgs, StatusPasswordArgs,
};
pub(crate) use subcommands::{
    BackupAction, CertsCommand, ConfigCommand, DataAction, DomainsCommand, FrontAction, FrontArgs, OnOff,
};
pub(crate) use values::{ForeignPlatform, RestartTarget};
use values::{parse_count, parse_release, parse_target};

/// Run apps: start, check, log and restart their instances, and replace them without downtime
///
/// The daemon runs one supervisor for each app; deploy and similar commands send requests to it. start needs
/// neither: it is a foreman for any directory with a Procfile. Data goes to stdout, progress and errors to
/// stderr.
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
        /// Output format
        #[arg(long, value_enum, default_value_t, conflicts_with = "domain")]
        format: OutputFormat,
    },
    /// Print who has done what: the audit log, oldest first
    ///
    /// Each request of a key is one line, also a refused one, and so is each change that is made on the server
    /// itself. A limited key sees its own apps.
    #[command(after_long_help = exit_status::READ)]
    Audit(AuditArgs),
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
    /// Measure the data of the apps that have a `DATA_LIMIT`
    #[command(hide = true)]
    DataUsage(DataUsageArgs),
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
    Check(CheckArgs),
    /// List the machines to which this machine's nginx passes the requests to an app
    #[command(after_long_help = exit_status::READ)]
    Front(FrontArgs),
    /// Refuse deploys of an app until it is unlocked: pushes, rebuilds, releases from other machines
    ///
    /// A deploy in progress goes on. Config changes, rollbacks and restarts stay possible: the lock freezes the code.
    #[command(after_long_help = exit_status::CHANGE)]
    Lock {
        /// Name of the app
        app: AppName,
        /// Reason that refused deploys are given
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Allow deploys of a locked app again
    #[command(after_long_help = exit_status::CHANGE)]
    Unlock {
        /// Name of the app
        app: AppName,
    },
    /// Make a built release live; its directory is moved away
    #[command(after_long_help = exit_status::CHANGE)]
    Deploy {
        /// Name of the app
        app: AppName,
        /// Release directory made by piku-build
        release: PathBuf,
        /// Its files are on the disk already: piku-build has just made it
        #[arg(long)]
        written: bool,
    },
    /// List the instances of apps
    #[command(after_long_help = exit_status::READ)]
    Ps {
        /// Name of one app [default: all apps]
        app: Option<AppName>,
        /// Print the instances every two seconds
        #[arg(long, conflicts_with = "format")]
        watch: bool,
        /// Clear the terminal before each table, although the output does not go to one
        #[arg(long, requires = "watch")]
        terminal: bool,
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
    /// the same tree.
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
    /// Run a cron job once, now
    #[command(after_long_help = exit_status::CHANGE)]
    CronRun {
        /// Name of the app
        app: AppName,
        /// Cron job, such as cron-nightly
        job: ProcessName,
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
    /// Describe a release, and how its settings and files differ from those of the one before it
    ///
    /// Of settings, only the names are printed. Files are compared by their commits.
    #[command(after_long_help = exit_status::READ)]
    ReleaseInfo(ReleaseInfoArgs),
    /// Make a new release with the tree and config of an old one
    #[command(after_long_help = exit_status::CHANGE)]
    Rollback {
        /// Name of the app
        app: AppName,
        /// Number of the release [default: the one before the live release]
        #[arg(value_parser = parse_release)]
        number: Option<u64>,
    },
    /// Remove old releases, unused layers, caches and image bases over their limits, and old deploy logs
    ///
    /// Most of this happens after each deploy. Nothing in use is removed. `keep_releases`, `cache_limit` and
    /// `image_bases` in host.yaml set the number of releases and the size of the others to keep.
    #[command(after_long_help = exit_status::CHANGE)]
    Gc(GcArgs),
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
    /// Take over the apps of a Python piku: repositories, settings, scale, data and certificates
    ///
    /// The old home is only read. Prints for each app what was taken over and what differs. An app that has a
    /// branch here already is not changed, so the command can be repeated.
    #[command(after_long_help = exit_status::CHANGE)]
    ImportPiku(ImportArgs),
    /// Take over the settings and the scale of an app of Heroku or dokku, from what their commands print, on stdin
    ///
    /// Prints what is taken over and what differs, without values. The app is created if there is none.
    #[command(after_long_help = exit_status::CHANGE)]
    ImportApp(ForeignAppArgs),
    /// Give an app another name, with its releases, config, data, certificates, grants, logs and keys
    ///
    /// The app is down for the time of a restart. Its host names stay; the one that the host assigns follows the name.
    /// A killed renaming is completed at once, or undone if it has not moved the app yet; after a power cut, the daemon does that when it starts. The same command completes it, too.
    #[command(after_long_help = exit_status::CHANGE)]
    Rename(RenameArgs),
    /// Make another app with the code, config and formation of one
    ///
    /// The new app starts at the live commit. Host names, pinned ports, certificates, grants, logs and keys are not copied.
    #[command(after_long_help = exit_status::CHANGE)]
    Clone(CloneArgs),
    /// Manage services: databases and other servers that apps are bound to
    #[command(subcommand)]
    Service(service_action::ServiceAction),
    /// Tell the operator of new problems, in the ways that `notify` of host.yaml names
    ///
    /// The daemon runs it every minute. Problems are failed deploys, crash loops, failed cron jobs, certificates
    /// near their end, a full disk, and failed or overdue backups. Each is told once, and that it has ended;
    /// what cannot be delivered is retried for a day.
    #[command(after_long_help = exit_status::READ)]
    Notify(NotifyArgs),
    /// Show the machine and its apps: instances, usage, crons, certificates and the last deploys
    #[command(after_long_help = exit_status::READ)]
    Status(StatusArgs),
    /// Set the password of a reader of the status page, which nginx serves to readers only
    #[command(after_long_help = exit_status::CHANGE)]
    StatusPassword(StatusPasswordArgs),
    /// Print the state of the machine and its apps as metrics for Prometheus
    ///
    /// The text is for a scrape, or for the textfile collector of its node exporter.
    #[command(after_long_help = exit_status::READ)]
    Metrics(MetricsArgs),
    /// Remove an app; its repository, config and data are kept for `keep_destroyed` of host.yaml
    #[command(after_long_help = exit_status::CHANGE)]
    Destroy(DestroyArgs),
    /// Write an app to stdout as a backup: repository, config, formation and data, while it runs
    ///
    /// 'restore' brings the app back, on this machine or another, and refuses what was cut off or changed.
    #[command(after_long_help = exit_status::READ)]
    Backup(BackupArgs),
    /// Bring back a destroyed app, or apps from a backup on stdin, and deploy them
    ///
    /// If stdin is a terminal or empty, the app that 'destroy' has kept comes back. A backup is verified first.
    #[command(after_long_help = exit_status::CHANGE)]
    Restore(RestoreArgs),
}
