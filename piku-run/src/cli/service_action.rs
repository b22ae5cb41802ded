//! Actions of `service`, and the commands that no service has.

use clap::Subcommand;
use piku_layout::name::AppName;
use piku_report::number_arg::number_arg;
use piku_report::output::OutputFormat;

use super::{BackupAction, BackupArgs, CertsCommand, RunCommand, exit_status};

/// Actions of `service`.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAction {
    /// Make a service and start it
    #[command(after_long_help = exit_status::CHANGE)]
    Create {
        /// Kind of the service, such as postgres
        kind: AppName,
        /// Name of the service [default: that of the kind]
        #[arg(long)]
        name: Option<AppName>,
        /// Version of the server [default: the newest that is installed]
        #[arg(long)]
        version: Option<String>,
        /// Port of the server, of those that host.yaml has for services [default: a free one]
        #[arg(long, value_parser = number_arg("a port from 1 to 65535", 1..=65535))]
        port: Option<u16>,
    },
    /// List the services and the apps that are bound to them
    #[command(after_long_help = exit_status::READ)]
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Describe a service
    #[command(after_long_help = exit_status::READ)]
    Info {
        /// Name of the service
        service: AppName,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Give an app a database of its own, with its address in the app's config, as a new release
    #[command(after_long_help = exit_status::CHANGE)]
    Bind {
        /// Name of the service
        service: AppName,
        /// Name of the app
        app: AppName,
        /// Beginning of the variable, such as REPORTS for `REPORTS_URL` [default: that of the kind]
        #[arg(long = "as", value_name = "NAME")]
        prefix: Option<String>,
    },
    /// Take a service away from an app, as a new release; its data is kept
    #[command(after_long_help = exit_status::CHANGE)]
    Unbind {
        /// Name of the service
        service: AppName,
        /// Name of the app
        app: AppName,
        /// Beginning of the variable, if the app has several bindings
        #[arg(long = "as", value_name = "NAME")]
        prefix: Option<String>,
    },
    /// Remove the data of an app that is not bound any more
    #[command(after_long_help = exit_status::CHANGE)]
    Drop {
        /// Name of the service
        service: AppName,
        /// Name of the app
        app: AppName,
        /// Name of the app, to confirm
        #[arg(long, value_name = "APP")]
        confirm: AppName,
        /// Beginning of the variable, if the app has several bindings
        #[arg(long = "as", value_name = "NAME")]
        prefix: Option<String>,
    },
    /// Run the server's own client, such as psql, with the rights of the app
    #[command(after_long_help = exit_status::READ)]
    Console {
        /// Name of the app
        app: AppName,
        /// Beginning of the variable, if the app has several bindings
        #[arg(long = "as", value_name = "NAME")]
        prefix: Option<String>,
    },
    /// Write a consistent dump of an app's data to stdout
    #[command(after_long_help = exit_status::READ)]
    Dump {
        /// Name of the app
        app: AppName,
        /// Beginning of the variable, if the app has several bindings
        #[arg(long = "as", value_name = "NAME")]
        prefix: Option<String>,
    },
    /// Replace an app's data by a dump on stdin
    #[command(after_long_help = exit_status::CHANGE)]
    Restore {
        /// Name of the app
        app: AppName,
        /// Beginning of the variable, if the app has several bindings
        #[arg(long = "as", value_name = "NAME")]
        prefix: Option<String>,
    },
    /// Wait for the end of stdin, then complete or undo killed restores of apps' data
    #[command(hide = true)]
    Recover {
        /// Name of the service
        service: AppName,
    },
    /// Change to a newer version of the server, with all data; the old data is kept until it is confirmed
    #[command(after_long_help = exit_status::CHANGE)]
    Upgrade {
        /// Name of the service
        service: AppName,
        /// Version of the server [default: the newest that is installed]
        #[arg(long)]
        version: Option<String>,
        /// Make the data anew also for the version that the service has
        #[arg(long)]
        rebuild: bool,
        /// Name of the service: remove the data that an upgrade has kept
        #[arg(long, value_name = "SERVICE", conflicts_with_all = ["version", "rebuild", "undo"])]
        confirm: Option<AppName>,
        /// Go back to the data that an upgrade has kept; what was written since is lost
        #[arg(long, conflicts_with_all = ["version", "rebuild"])]
        undo: bool,
        /// Wait for the end of stdin, then finish or undo an interrupted upgrade
        #[arg(long, hide = true, conflicts_with_all = ["version", "rebuild", "undo", "confirm"])]
        resume: bool,
    },
    /// Stop a service to which no app is bound, and remove it with its data
    #[command(after_long_help = exit_status::CHANGE)]
    Destroy {
        /// Name of the service
        service: AppName,
        /// Name of the service, to confirm
        #[arg(long, value_name = "SERVICE")]
        confirm: AppName,
    },
}

impl RunCommand {
    /// Returns false for a command that makes what it needs of the root, or reads nothing there.
    pub(crate) fn needs_root(&self) -> bool {
        !matches!(
            self,
            Self::Daemon
                | Self::Nginx { .. }
                | Self::Start(_)
                | Self::Protections { record: false, .. }
                | Self::Backup(BackupArgs { action: Some(BackupAction::Verify { .. }), .. })
        )
    }

    /// Returns the app of a command that has no meaning for a service.
    pub(crate) fn app_only(&self) -> Option<&AppName> {
        match self {
            Self::Data { app, .. }
            | Self::Maintenance { app, .. }
            | Self::Lock { app, .. }
            | Self::Unlock { app }
            | Self::Deploy { app, .. }
            | Self::Scale { app, .. }
            | Self::Rollback { app, .. }
            | Self::Revoke { app, .. } => Some(app),
            Self::Check(typed) => Some(&typed.app),
            Self::Front(typed) => Some(&typed.app),
            Self::Rename(typed) => Some(&typed.app),
            Self::Clone(typed) => Some(&typed.app),
            Self::Destroy(typed) => Some(&typed.app),
            Self::Restore(typed) => typed.app.as_ref(),
            Self::Apps { apps, .. }
            | Self::Domains { apps, .. }
            | Self::Certs { action: CertsCommand::List { apps, .. } } => apps.first(),
            Self::Certs { action: CertsCommand::Renew { app, .. } } | Self::Grant { app, .. } => app.as_ref(),
            _ => None,
        }
    }
}
