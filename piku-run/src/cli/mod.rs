//! The command line.

mod exit_status;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{Span, SpanRelativeTo, Timestamp};
use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::ROOT_VARIABLE;
use piku_report::output::OutputFormat;

/// Workers: started, checked, logged, restarted, replaced without a gap
///
/// The daemon keeps one supervisor an app; deploy and its like ask that supervisor. start needs none of it: it is a foreman
/// for any folder with a Procfile. Data goes to stdout, talk and errors to stderr.
#[derive(Debug, Parser)]
#[command(name = "piku-run", version, max_term_width = 100, after_long_help = exit_status::ALL)]
pub(crate) struct RunCli {
    /// The folder with everything that piku keeps [default: ~/.piku]
    #[arg(long, global = true, env = ROOT_VARIABLE, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: RunCommand,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Keep one supervisor an app running, in the foreground; SIGTERM ends it, the workers stay
    #[command(after_long_help = exit_status::DAEMON)]
    Daemon,
    /// Keep piku's nginx running, in the foreground; SIGTERM ends it when its requests have ended, SIGHUP has it read host.yaml
    #[command(after_long_help = exit_status::NGINX)]
    Nginx {
        /// Only see whether nginx takes the files of all apps as they are now, and host.yaml's ports and addresses
        #[arg(long)]
        check: bool,
    },
    /// Certificates of the apps' host names
    #[command(after_long_help = exit_status::CHANGE)]
    Certs {
        /// What to do
        #[command(subcommand)]
        action: CertsCommand,
    },
    /// The app's own files, also after it was destroyed
    #[command(after_long_help = exit_status::CHANGE)]
    Data {
        /// The app
        app: AppName,
        /// What to do with them
        #[command(subcommand)]
        action: DataAction,
    },
    /// Say what protects apps from each other on this machine, and what is recorded of that in host.yaml
    #[command(after_long_help = exit_status::READ)]
    Protections {
        /// Record what holds now: from then on it is an error when one of these is missing
        #[arg(long)]
        record: bool,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Answer all requests to an app with 503 and a page that says why, or let them through again
    #[command(after_long_help = exit_status::CHANGE)]
    Maintenance {
        /// The app
        app: AppName,
        /// Whether it is down
        state: OnOff,
    },
    /// Supervise one app
    #[command(hide = true)]
    Supervise {
        /// The app
        app: AppName,
    },
    /// Send one app's logs on to a receiver of syslog
    #[command(hide = true)]
    Drain {
        /// The app
        app: AppName,
    },
    /// Run what a folder's Procfile says, with one log, until Ctrl-C; needs no piku
    #[command(after_long_help = exit_status::START)]
    Start(StartArgs),
    /// Make a built release the live one; its folder is moved away
    #[command(after_long_help = exit_status::CHANGE)]
    Deploy {
        /// The app
        app: AppName,
        /// What piku-build made
        release: PathBuf,
    },
    /// What runs
    #[command(after_long_help = exit_status::READ)]
    Ps {
        /// One app [default: all]
        app: Option<AppName>,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Set how many instances of each type there should be
    #[command(after_long_help = exit_status::CHANGE)]
    Scale {
        /// The app
        app: AppName,
        /// How many of each
        #[arg(required = true, value_name = "TYPE=N", value_parser = parse_count)]
        counts: Vec<(ProcessName, u32)>,
    },
    /// Replace all instances, or those of one type, by new ones of the same release; starts a stopped app
    ///
    /// What was stored with `config set --no-restart` takes effect when all are replaced: as a new release with the same tree.
    #[command(after_long_help = exit_status::CHANGE)]
    Restart {
        /// The app
        app: AppName,
        /// Only this process type
        #[arg(value_name = "TYPE")]
        only: Option<ProcessName>,
    },
    /// End all instances of an app; it stays stopped until `restart` or a push
    #[command(after_long_help = exit_status::CHANGE)]
    Stop {
        /// The app
        #[arg(required_unless_present = "all")]
        app: Option<AppName>,
        /// All apps; they come back when the daemon is started again
        #[arg(long, conflicts_with = "app")]
        all: bool,
    },
    /// What the instances of an app, or a deploy, said
    #[command(after_long_help = exit_status::READ)]
    Logs(LogsArgs),
    /// The releases of an app, newest first
    #[command(after_long_help = exit_status::READ)]
    Releases {
        /// The app
        app: AppName,
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Make a new release with the tree and the configuration of an old one
    #[command(after_long_help = exit_status::CHANGE)]
    Rollback {
        /// The app
        app: AppName,
        /// Which release [default: the one before the live one]
        number: Option<u64>,
    },
    /// Remove what nothing needs: old releases, layers of none, caches over their bound, old logs of deploys
    ///
    /// Much of it is done after each deploy. What is in use is left alone. How many releases stay, and how much the caches may take,
    /// is said in host.yaml: `keep_releases`, `cache_limit`.
    #[command(after_long_help = exit_status::CHANGE)]
    Gc {
        /// One app [default: all]
        app: Option<AppName>,
        /// Remove nothing, say what would be
        #[arg(long)]
        dry_run: bool,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// The configuration of an app, over what its ENV says; a change is a release of its own
    #[command(after_long_help = exit_status::CHANGE)]
    Config {
        /// The app
        app: AppName,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
        /// What to do with it [default: print it]
        #[command(subcommand)]
        action: Option<ConfigCommand>,
    },
    /// Run one command in the live release of an app, with its environment
    #[command(after_long_help = exit_status::EXEC)]
    Exec {
        /// The app
        app: AppName,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Remove an app, all but its data
    #[command(after_long_help = exit_status::CHANGE)]
    Destroy {
        /// The app
        app: AppName,
        /// The app's name once more
        #[arg(long, value_name = "APP")]
        confirm: AppName,
    },
}

/// `start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The folder with the Procfile
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// How many of each type, such as web=2,worker=1; a type that is not named has none then
    #[arg(short = 'm', long, value_name = "TYPE=N,…", value_delimiter = ',', value_parser = parse_count)]
    pub(crate) formation: Vec<(ProcessName, u32)>,
    /// The first type's first port; each further type begins 100 higher
    #[arg(short, long, default_value_t = 5000, value_name = "PORT")]
    pub(crate) port: u16,
    /// The file with the environment [default: DIR/ENV]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) env: Option<PathBuf>,
    /// The Procfile [default: DIR/Procfile]
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) procfile: Option<PathBuf>,
    /// Seconds from SIGTERM to SIGKILL
    #[arg(short, long, default_value_t = 10, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The app
    pub(crate) app: AppName,
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many of the last lines [default: 100; of a deploy all]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,
    /// Only this type, or this instance, such as web.1
    #[arg(long, value_name = "PS")]
    pub(crate) ps: Option<String>,
    /// Only what was said since then: a while ago, such as 10m, 2h or 1d, or a time, such as 2026-11-22T10:00:00Z; all of
    /// it, unless -n says how many lines
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    pub(crate) since: Option<Timestamp>,
    /// What deploy N, or the last one, said
    #[arg(long, value_name = "N", num_args = 0..=1, conflicts_with_all = ["ps", "since"])]
    #[expect(clippy::option_option, reason = "without a number it means the last deploy")]
    pub(crate) deploy: Option<Option<u64>>,
    /// All bytes as they were printed, also those that act on a terminal: for a file, or another program. Without it only text
    /// and colours are shown
    #[arg(long)]
    pub(crate) raw: bool,
}

/// `data`.
#[derive(Debug, Subcommand)]
pub(crate) enum DataAction {
    /// Write them to stdout as a tar archive
    #[command(after_long_help = exit_status::READ)]
    Export,
    /// Unpack a tar archive from stdin among them
    #[command(after_long_help = exit_status::CHANGE)]
    Import,
    /// Remove those of an app that was destroyed
    #[command(after_long_help = exit_status::CHANGE)]
    Remove {
        /// The app's name again
        #[arg(long, value_name = "APP")]
        confirm: AppName,
    },
}

/// `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print one value
    #[command(after_long_help = exit_status::READ)]
    Get {
        /// Its name
        name: String,
    },
    /// Set values: a new release runs with them, or, where it does not come up, nothing is changed
    #[command(after_long_help = exit_status::CHANGE)]
    Set {
        /// What to store
        #[arg(required = true, value_name = "NAME=VALUE")]
        pairs: Vec<String>,
        /// Store it for the next release, or restart of the whole app
        #[arg(long)]
        no_restart: bool,
    },
    /// Forget values, in a new release as for set
    #[command(after_long_help = exit_status::CHANGE)]
    Unset {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Store it for the next release, or restart of the whole app
        #[arg(long)]
        no_restart: bool,
    },
    /// Set what an ENV file on stdin says, in a new release as for set
    #[command(after_long_help = exit_status::CHANGE)]
    Import {
        /// Store it for the next release, or restart of the whole app
        #[arg(long)]
        no_restart: bool,
    },
}

/// A time in the past, or how long ago.
fn parse_since(word: &str) -> Result<Timestamp, String> {
    if let Ok(time) = word.parse() {
        return Ok(time);
    }
    let ago = || {
        let span: Span = word.parse().ok()?;
        let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Timestamp::now().checked_sub(ago.abs()).ok()
    };
    ago().ok_or_else(|| {
        "expected 10m, 2h, 1d, or a time with its zone, such as 2026-11-22T10:00:00Z".to_owned()
    })
}

/// `certs`.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Ask for those that are lacking or end within 30 days, through acme.sh or certbot; a timer does it daily
    #[command(after_long_help = exit_status::CHANGE)]
    Renew {
        /// One app [default: all that nginx serves]
        app: Option<AppName>,
        /// Also where it was tried in vain a short while ago
        #[arg(long)]
        force: bool,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// It is
    On,
    /// It is not
    Off,
}

/// `TYPE=N`.
fn parse_count(word: &str) -> Result<(ProcessName, u32), String> {
    let (name, count) = word.split_once('=').ok_or("expected TYPE=N, such as web=2")?;
    let name = name.parse().map_err(|err: piku_layout::name::BadName| err.to_string())?;
    match count.parse() {
        Ok(count) if count <= 1000 => Ok((name, count)),
        _ => Err(format!("bad number '{count}': expected 0 to 1000")),
    }
}
