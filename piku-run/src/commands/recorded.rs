//! The subcommands that change something, as the audit log and journald name them.

use piku_events::actor;
use piku_events::verb_record::RecordedVerb;
use piku_layout::name::AppName;

use crate::cli::service_action::ServiceAction;
use crate::cli::{BackupAction, CertsCommand, ConfigCommand, DataAction, DomainsCommand, OnOff, RunCommand};

/// Returns the record of a subcommand; `None` for one that only reads, or is a part of another.
pub(super) fn recorded_verb(command: &RunCommand) -> Option<RecordedVerb> {
    let of = |verb, app: &AppName| Some(RecordedVerb::new(verb, Some(app.clone())));
    match command {
        RunCommand::Apps { .. }
        | RunCommand::Audit(_)
        | RunCommand::Certs { action: CertsCommand::List { .. } }
        | RunCommand::Check(_)
        | RunCommand::Front(_)
        | RunCommand::Daemon
        | RunCommand::DataUsage(_)
        | RunCommand::Drain { .. }
        | RunCommand::Logs(_)
        | RunCommand::Metrics(_)
        | RunCommand::Nginx { .. }
        | RunCommand::Notify(_)
        | RunCommand::Ps { .. }
        | RunCommand::ReleaseInfo { .. }
        | RunCommand::Releases { .. }
        | RunCommand::Start(_)
        | RunCommand::Status(_)
        | RunCommand::Supervise { .. } => None,
        RunCommand::Domains { apps, action, .. } => match action {
            Some(DomainsCommand::Add { .. }) => Some(RecordedVerb::new("domains:add", apps.first().cloned())),
            Some(DomainsCommand::Remove { .. }) => {
                Some(RecordedVerb::new("domains:remove", apps.first().cloned()))
            }
            Some(DomainsCommand::Check) | None => None,
        },
        RunCommand::HostDomain { domain, .. } => {
            domain.as_ref().map(|_| RecordedVerb::new("domains:host", None))
        }
        // Each certificate is an event of its own. Without an app, the timer has run it.
        RunCommand::Certs { action: CertsCommand::Renew { app, .. } } => Some(RecordedVerb {
            by: app.is_none().then(|| "timer".to_owned()),
            is_event: false,
            ..RecordedVerb::new("certs:renew", app.clone())
        }),
        RunCommand::Data { app, action } => match action {
            DataAction::Export => of("data:export", app),
            // Guards are parts of other commands.
            DataAction::Import { resume: true } => None,
            DataAction::Import { resume: false } => of("data:import", app),
            DataAction::Remove { .. } => of("data:remove", app),
        },
        RunCommand::Protections { record, .. } => record.then(|| RecordedVerb::new("protections", None)),
        RunCommand::Maintenance { app, state: OnOff::On } => of("maintenance:on", app),
        RunCommand::Maintenance { app, state: OnOff::Off } => of("maintenance:off", app),
        RunCommand::Lock { app, .. } => of("lock", app),
        RunCommand::Unlock { app } => of("unlock", app),
        // The event of a push is that of piku-receive, which knows whether its build has failed.
        RunCommand::Deploy { app, .. } => {
            let is_event = actor::calling_key().is_none();
            Some(RecordedVerb { is_event, ..RecordedVerb::new("deploy", Some(app.clone())) })
        }
        RunCommand::Scale { counts, .. } if counts.is_empty() => None,
        RunCommand::Scale { app, .. } => of("ps:scale", app),
        RunCommand::Restart { app, if_stopped: true, .. } => of("start", app),
        RunCommand::Restart { app, .. } => of("restart", app),
        RunCommand::CronRun { app, .. } => of("cron:run", app),
        RunCommand::Stop { app, .. } => Some(RecordedVerb::new("stop", app.clone())),
        RunCommand::Gc(typed) if typed.dry_run || typed.expired || typed.withdrawn => None,
        RunCommand::Gc(typed) => Some(RecordedVerb::new("gc", typed.app.clone())),
        RunCommand::Rollback { app, .. } => of("rollback", app),
        RunCommand::Config { app, action, .. } => match action {
            None | Some(ConfigCommand::Get { .. }) => None,
            Some(ConfigCommand::Set { .. }) => of("config:set", app),
            Some(ConfigCommand::Unset { .. }) => of("config:unset", app),
            Some(ConfigCommand::Import { .. }) => of("config:import", app),
        },
        RunCommand::Grant { paths, .. } if paths.is_empty() => None,
        RunCommand::Grant { app, .. } => Some(RecordedVerb::new("grant", app.clone())),
        RunCommand::Revoke { app, .. } => of("revoke", app),
        RunCommand::StatusPassword(_) => Some(RecordedVerb::new("status:password", None)),
        RunCommand::Exec { app, .. } => of("run", app),
        RunCommand::ImportApp(typed) if typed.dry_run => None,
        RunCommand::ImportApp(typed) => of(typed.from.verb(), &typed.app),
        RunCommand::ImportPiku(typed) => (!typed.dry_run).then(|| RecordedVerb::new("import-piku", None)),
        RunCommand::Rename(typed) if typed.resume => None,
        RunCommand::Rename(typed) => of("rename", &typed.app),
        RunCommand::Clone(typed) => of("clone", &typed.app),
        RunCommand::Destroy(typed) => of("destroy", &typed.app),
        RunCommand::Service(action) => recorded_service(action),
        RunCommand::Backup(typed) => match typed.action {
            Some(BackupAction::Verify { .. } | BackupAction::List { .. }) => None,
            Some(BackupAction::Run { due: true, .. }) => {
                Some(RecordedVerb { by: Some("timer".to_owned()), ..RecordedVerb::new("backup:run", None) })
            }
            Some(BackupAction::Run { .. }) => Some(RecordedVerb::new("backup:run", None)),
            None => Some(RecordedVerb::new("backup", typed.app.clone())),
        },
        RunCommand::Restore(typed) if typed.resume => None,
        RunCommand::Restore(typed) => {
            let app = typed.new.as_ref().or(typed.app.as_ref());
            (!typed.dry_run).then(|| RecordedVerb::new("restore", app.cloned()))
        }
    }
}

/// Returns the record of a verb of services.
fn recorded_service(action: &ServiceAction) -> Option<RecordedVerb> {
    let (verb, app) = match action {
        // The guard is a part of another command.
        ServiceAction::List { .. }
        | ServiceAction::Info { .. }
        | ServiceAction::Recover { .. }
        | ServiceAction::Upgrade { resume: true, .. } => return None,
        ServiceAction::Upgrade { .. } => ("service:upgrade", None),
        ServiceAction::Create { .. } => ("service:create", None),
        ServiceAction::Destroy { .. } => ("service:destroy", None),
        ServiceAction::Bind { app, .. } => ("service:bind", Some(app)),
        ServiceAction::Unbind { app, .. } => ("service:unbind", Some(app)),
        ServiceAction::Drop { app, .. } => ("service:drop", Some(app)),
        ServiceAction::Console { app, .. } => ("service:console", Some(app)),
        ServiceAction::Dump { app, .. } => ("service:dump", Some(app)),
        ServiceAction::Restore { app, .. } => ("service:restore", Some(app)),
    };
    Some(RecordedVerb::new(verb, app.cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::RunCli;
    use clap::Parser;

    #[test]
    fn verbs_that_change_something_are_recorded() {
        let verb = |line: &str| {
            let cli = RunCli::try_parse_from(std::iter::once("piku-run").chain(line.split(' ')));
            recorded_verb(&cli.unwrap_or_else(|err| panic!("{line}: {err}")).command)
                .map(|record| (record.verb, record.app.map(|app| app.to_string())))
        };
        let blog = || Some("blog".to_owned());
        for (line, name) in [
            ("config blog set A=1", "config:set"),
            ("config blog unset A", "config:unset"),
            ("config blog import", "config:import"),
            ("domains blog add x.example", "domains:add"),
            ("domains blog remove x.example", "domains:remove"),
            ("restart blog --if-stopped", "start"),
            ("scale blog web=2", "ps:scale"),
            ("grant blog /dev/a", "grant"),
            ("exec blog -- id", "run"),
            ("gc blog", "gc"),
        ] {
            assert_eq!(verb(line), Some((name, blog())), "{line}");
        }
        for line in [
            "config blog",
            "config blog get A",
            "scale blog",
            "grant blog",
            "gc --dry-run",
            "ps",
            "domains blog",
        ] {
            assert_eq!(verb(line), None, "{line}");
        }
        assert_eq!(verb("stop --all"), Some(("stop", None)));
        assert_eq!(verb("host-domain"), None);
        assert_eq!(verb("status-password ops"), Some(("status:password", None)));
    }
}
