//! Subcommands, each a thin layer over other modules.

mod apps;
mod audit;
mod backup;
mod data;
mod data_archive;
mod data_import;
mod exec;
mod gc;
mod lifecycle;
mod logs;
mod one_off;
mod ps;
mod python_home;
mod recorded;
mod release_info;
mod services;
mod settings;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::Context;
use clap::FromArgMatches;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot, ROOT_VARIABLE};
use piku_report::user_error::UserError;
use piku_report::{caller, output};

pub(crate) use backup::{BackupRequest, BackupScope, WrittenBackup, write_backup};
pub(crate) use data::{empty as empty_data, pipe_archive};
pub(crate) use exec::app_users;
pub(crate) use lifecycle::app_lock::{keep_out_supervisor, wait_for_app};
pub(crate) use lifecycle::deploy_tip;
pub(crate) use lifecycle::free_name::check_free;
use lifecycle::{clone, deploy, destroy, rename, restart, restore, rollback, scale, stop};
pub(crate) use one_off::OneOffReport;
use python_home::ImportOptions;
pub(crate) use settings::config::change_config;
use settings::{certs, check, config, deploy_lock, domains, foreign_app, grant, maintenance};

use crate::cli::{DataUsageArgs, NotifyArgs, RunCli, RunCommand};
use crate::instance::launch;
use crate::nginx::front;
use crate::process::sibling_tool::sibling_tool;
use crate::{
    cli, daemon, data_limit, known_apps, log_forwarding, nginx, notify, protections, releases, start, status,
    supervisor,
};

/// Runs the command line.
pub(crate) fn run_words(words: &[OsString]) -> anyhow::Result<ExitCode> {
    match words {
        [name, dashes, command @ ..] if name == launch::NAME && dashes == "--" => {
            launch::run(command).map(|()| ExitCode::SUCCESS)
        }
        _ => match parse_resident(words) {
            Some(cli) => run(cli),
            None => run_recorded(parse_words(words)?),
        },
    }
}

fn parse_words(words: &[OsString]) -> anyhow::Result<RunCli> {
    let words = std::iter::once(crate::TOOL.into()).chain(words.iter().cloned());
    let matches = caller::parse_arguments(crate::command(), words)?;
    Ok(RunCli::from_arg_matches(&matches).unwrap_or_else(|err| err.exit()))
}

/// Runs the subcommand and records it, if it changes something.
fn run_recorded(cli: RunCli) -> anyhow::Result<ExitCode> {
    if cli.command.needs_root() {
        find_root(cli.root.as_ref())?.check_exists()?;
    }
    if let Some(name) = cli.command.app_only() {
        services::refuse_service(&find_root(cli.root.as_ref())?, name)?;
    }
    let Some(record) = recorded::recorded_verb(&cli.command) else { return run(cli) };
    let root = find_root(cli.root.as_ref());
    if let (Ok(root), true) = (&root, record.is_begun()) {
        record.begin(root);
    }
    let end = run(cli);
    if let Ok(root) = root {
        record.finish(&root, &end);
    }
    end
}

fn find_root(given: Option<&PathBuf>) -> anyhow::Result<PikuRoot> {
    PikuRoot::absolute(given.cloned()).context("cannot tell where the root is")
}

/// Parses the subcommands that stay for long, without clap: building the whole command line would double the
/// memory of a supervisor for as long as it lives. `None` for any other command line.
fn parse_resident(words: &[OsString]) -> Option<RunCli> {
    let app = |word: &OsString| word.to_str()?.parse().ok();
    let command = match words {
        [name] if name == daemon::NAME => RunCommand::Daemon,
        [name] if name == nginx::NAME => RunCommand::Nginx { check: false },
        [name, word] if name == supervisor::NAME => RunCommand::Supervise { app: app(word)? },
        [name, word] if name == log_forwarding::NAME => RunCommand::Drain { app: app(word)? },
        _ => return None,
    };
    let root = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
    root.as_ref().is_none_or(|root| root.is_absolute()).then_some(RunCli { root, command })
}

/// Returns the exit code of a command that has printed what is not well.
fn exit_code(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the subcommand.
fn run(cli: RunCli) -> anyhow::Result<ExitCode> {
    let root = || find_root(cli.root.as_ref());
    match cli.command {
        RunCommand::Daemon => daemon::run(&root()?)?,
        RunCommand::Nginx { check: true } => nginx::check_config(&root()?)?,
        RunCommand::Nginx { check: false } => return nginx::run(&root()?),
        RunCommand::Certs { action: cli::CertsCommand::Renew { app, force } } => {
            certs::renew(&root()?, app.as_ref(), force)?;
        }
        RunCommand::Certs { action: cli::CertsCommand::List { apps, format, none: false } } => {
            certs::list(&root()?, &apps, format)?;
        }
        RunCommand::Apps { none: true, format, .. }
        | RunCommand::Domains { none: true, format, .. }
        | RunCommand::Certs { action: cli::CertsCommand::List { none: true, format, .. } } => {
            output::print(format, &[] as &[()], String::new)?;
        }
        RunCommand::Apps { apps, urls: true, .. } => apps::print_urls(&root()?, &apps)?,
        RunCommand::Apps { apps, long, format, .. } => apps::run(&root()?, &apps, long, format)?,
        RunCommand::Domains { apps, format, action, none: false } => {
            return Ok(exit_code(domains::run(&root()?, &apps, format, action.as_ref())?));
        }
        RunCommand::Audit(typed) => audit::run(&root()?, typed)?,
        RunCommand::HostDomain { domain: None, format } => domains::print_host_domain(&root()?, format)?,
        RunCommand::HostDomain { domain: Some(domain), .. } => domains::host_domain(&root()?, &domain)?,
        RunCommand::Data { app, action } => return data::run(&root()?, &app, action),
        RunCommand::Protections { record, format } => {
            return Ok(exit_code(protections::run(&root()?, record, format)?));
        }
        RunCommand::Maintenance { app, state } => maintenance::run(&root()?, &app, state)?,
        RunCommand::Lock { app, reason } => deploy_lock::lock(&root()?, &app, &reason)?,
        RunCommand::Unlock { app } => deploy_lock::unlock(&root()?, &app)?,
        RunCommand::Supervise { app } => supervisor::run(&root()?, &app)?,
        RunCommand::Drain { app } => log_forwarding::run(&root()?, &app)?,
        RunCommand::Check(typed) => check::run(&root()?, &typed.app, &typed.folder)?,
        RunCommand::Front(typed) => front::run(&root()?, typed)?,
        RunCommand::Deploy { app, release, written } => deploy::run(&root()?, &app, &release, written)?,
        RunCommand::Scale { app, counts, format } => scale::run(&root()?, &app, counts, format)?,
        RunCommand::Restart { app, target, if_stopped } => {
            restart::run(&root()?, &app, target.unwrap_or_default(), if_stopped)?;
        }
        RunCommand::CronRun { app, job } => restart::run_cron(&root()?, &app, job)?,
        RunCommand::Stop { app, all: _ } => stop::run(&root()?, app.as_ref())?,
        RunCommand::Exec { app, command } => return exec::run(&root()?, &app, &command),
        RunCommand::Grant { app: Some(app), paths, no_restart, .. } if !paths.is_empty() => {
            grant::grant_paths(&root()?, &app, &paths, no_restart)?;
        }
        RunCommand::Grant { app, format, .. } => grant::list_grants(&root()?, app.as_ref(), format)?,
        RunCommand::Revoke { app, paths, no_restart } => {
            grant::revoke_paths(&root()?, &app, &paths, no_restart)?;
        }
        RunCommand::ImportApp(typed) => foreign_app::run(&root()?, &typed)?,
        RunCommand::ImportPiku(typed) => {
            let options = ImportOptions { dry_run: typed.dry_run, no_deploy: typed.no_deploy };
            return Ok(exit_code(python_home::import_home(&root()?, &typed.dir, &typed.apps, options)?));
        }
        RunCommand::Rename(typed) if typed.resume => rename::resume(&root()?, &typed.app, &typed.new)?,
        RunCommand::Rename(typed) if typed.undo => rename::undo(&root()?, &typed.app)?,
        RunCommand::Rename(typed) => rename::run(&root()?, &typed.app, &typed.new)?,
        RunCommand::Clone(typed) => return clone::run(&root()?, &typed),
        RunCommand::Destroy(typed) => destroy::run(&root()?, &typed)?,
        RunCommand::Backup(typed) => return backup::run(&root()?, typed),
        RunCommand::Restore(typed) => return restore::run(&root()?, &typed),
        RunCommand::Notify(NotifyArgs { test: false }) => notify::notify(&root()?)?,
        RunCommand::Notify(NotifyArgs { test: true }) => {
            return Ok(exit_code(notify::notify_test(&root()?)?));
        }
        RunCommand::DataUsage(DataUsageArgs { problems: false }) => data_limit::measure_due(&root()?)?,
        RunCommand::DataUsage(DataUsageArgs { problems: true }) => {
            return Ok(exit_code(data_limit::print_problems(&root()?)?));
        }
        RunCommand::Status(typed) => status::run(&root()?, &typed)?,
        RunCommand::StatusPassword(typed) => status::set_password(&root()?, &typed)?,
        RunCommand::Metrics(typed) => status::print_metrics(&root()?, &typed)?,
        RunCommand::Service(action) => services::run(&root()?, action)?,
        RunCommand::Start(typed) => return start::run(typed),
        RunCommand::Ps { app, watch: true, terminal, .. } => ps::watch(&root()?, app.as_ref(), terminal)?,
        RunCommand::Ps { app, format, .. } => ps::run(&root()?, app.as_ref(), format)?,
        RunCommand::Logs(typed) => logs::run(&root()?, typed)?,
        RunCommand::Releases { app, format } => {
            let root = root()?;
            known_apps::must_be_there(&root, &app)?;
            releases::print_releases(&releases::list_releases(&root.app(&app))?, format)?;
        }
        RunCommand::ReleaseInfo(cli::ReleaseInfoArgs { app, number, since, show, format }) => {
            let root = root()?;
            known_apps::must_be_there(&root, &app)?;
            let asked = release_info::ReleaseQuery { number, since, show, format };
            release_info::print_release(&root, &app, &asked)?;
        }
        RunCommand::Gc(typed) => gc::run(&root()?, &typed)?,
        RunCommand::Rollback { app, number } => rollback::run(&root()?, &app, number)?,
        RunCommand::Config { app, format, action } => config::run(&root()?, &app, format, action)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the numbers of its releases, ascending.
fn release_numbers(dir: &AppDir) -> anyhow::Result<Vec<u64>> {
    dir.release_numbers().with_context(|| format!("cannot read '{}'", dir.releases().display()))
}

/// The tool that creates apps, with their repositories, and deploys them.
const CREATOR: &str = "piku-receive";

/// Creates the app if it does not exist, for a verb that stores something before the first push; the tool
/// then prints how to push to it.
pub(crate) fn create_if_missing(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    // On a machine that only receives releases, an app has no repository.
    if dir.is_there() {
        return Ok(());
    }
    let mut creator = sibling_tool(CREATOR);
    creator.args(["create", app.as_str(), "--if-missing"]);
    creator.env(ROOT_VARIABLE, root.path()).stdin(Stdio::null());
    let status = creator.status().with_context(|| format!("cannot run '{CREATOR}'"))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(match code {
        Some(code) => UserError::new(format!("cannot create {app}")).code(code).printed(),
        None => UserError::new(format!("cannot create {app}: '{CREATOR}' was killed")),
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn both_parsers_agree() {
        let parse = |words: &[&str]| parse_resident(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for words in [&["daemon"][..], &["nginx"], &["supervise", "blog"], &["drain", "blog"]] {
            let clap = RunCli::try_parse_from(["piku-run"].iter().chain(words)).unwrap();
            assert_eq!(format!("{:?}", parse(words).unwrap()), format!("{clap:?}"));
        }
        for words in [
            &[][..],
            &["daemon", "--help"],
            &["nginx", "--check"],
            &["supervise"],
            &["supervise", "../x"],
            &["supervise", "blog", "x"],
            &["ps"],
        ] {
            assert!(parse(words).is_none(), "{words:?}");
        }
    }
}
