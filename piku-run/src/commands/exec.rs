//! `exec APP -- COMMAND…`: runs the command in the app's environment, with stdin, signals and its exit code, and
//! says why it failed if the jail was the reason. On a terminal the jail allocates another one: otherwise the
//! command could type into the caller's, and would have no job control. Without a jail, the command replaces this
//! process.

use std::io::{ErrorKind, IsTerminal, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use piku_events::verb_record::RecordedVerb;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{AppUsers, HostSettings};
use piku_procfile::command::{argv, argv_with_profile};
use piku_procfile::procfile::ProcessKind;
use piku_procfile::schedule::split_schedule;
use piku_report::caller;
use piku_report::user_error::UserError;

use crate::desired::{extra_listen_ports, limits};
use crate::grants::hint::explain_missing;
use crate::grants::resolve_grants;
use crate::instance::environment::{AppIsolation, CommandOptions, ProcessRole, ReleaseContext};
use crate::instance::record::RecordFolder;
use crate::instance::tree_access::TreeAccess;
use crate::known_apps;
use crate::kubernetes;
use crate::releases::{current, release_use};
use crate::supervisor::crash_hints::no_space::explain_no_space;
use crate::supervisor::crash_hints::refused_writes::{AppTree, explain_refused_write};

use super::one_off::{self, OneOffReport};

/// Exit code of a shell and of piku-chroot.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Returns the users of the app: those of its running processes, if any, so that the data keeps its owner.
pub(crate) fn app_users(root: &PikuRoot, app: &AppName, settings: &HostSettings) -> anyhow::Result<AppUsers> {
    let records = RecordFolder::open(&root.app(app))
        .and_then(|records| records.read_all())
        .context("cannot read the records")?;
    match records.iter().find(|record| record.is_alive()) {
        Some(record) => Ok(record.users),
        None => Ok(settings.app_users),
    }
}

/// Returns the command to run: that of a process type of the app, if it is named alone; one for the shell, if
/// a single word contains what only a shell understands; otherwise the words as they are.
fn command_line(world: &ReleaseContext, words: &[String]) -> Vec<String> {
    let [only] = words else { return words.to_vec() };
    let typed = world.release.processes.iter().find(|(name, _)| name.as_str() == only);
    if let Some((name, command)) = typed {
        let is_cron = ProcessKind::classify(name, command) == ProcessKind::Cron;
        let line = if is_cron {
            split_schedule(command).map_or(command.as_str(), |(_, line)| line)
        } else {
            command
        };
        return argv(line).to_vec();
    }
    if only.contains(|c: char| c.is_whitespace() || "$;&|<>()`*?\"'".contains(c)) {
        return argv(only).to_vec();
    }
    words.to_vec()
}

pub(super) fn run(root: &PikuRoot, app: &AppName, words: &[String]) -> anyhow::Result<ExitCode> {
    known_apps::must_be_there(root, app)?;
    let in_cluster = kubernetes::run_one_off(root, app, |number| {
        let world = ReleaseContext::read(root, app, number)?;
        let argv = command_line(&world, words);
        Ok(if world.release.profile { argv_with_profile(&argv) } else { argv })
    })?;
    if let Some(code) = in_cluster {
        return Ok(code);
    }
    let number = current::live_release(&root.app(app))?;
    let number =
        number.ok_or_else(|| UserError::new(format!("{app} has no release yet")).hint("push it first"))?;
    let _use = release_use::begin(&root.app(app), number)?;
    let world = ReleaseContext::read(root, app, number)?;
    let mut vars = world.vars(ProcessRole { ps: "run.1", kind: "run", port: None })?;
    if let Some(term) = std::env::var_os("TERM").and_then(|term| term.into_string().ok()) {
        vars.insert("TERM".to_owned(), term);
    }
    current::create_data_dir(&world.dir)?;
    let terminal = stdin().is_terminal() && stdout().is_terminal();
    let limits = limits::of("run", &vars)?;
    let settings = HostSettings::read(&root.settings())?;
    let listen = extra_listen_ports(&vars, &settings)?;
    let tmp_size = limits::tmp_size("run", &vars)?;
    let tmp_size = tmp_size.as_deref();
    let users = app_users(root, app, &settings)?;
    let (grants, remarks) = resolve_grants(root, settings.grants.of(app), users);
    for remark in remarks {
        caller::tell(crate::TOOL, &remark);
    }
    let around = CommandOptions {
        terminal,
        limits: &limits,
        tmp_size,
        listen: &listen,
        grants: &grants,
        dies_with_caller: true,
        ..CommandOptions::default()
    };
    let reserve = settings.reserve_bytes();
    let isolation = AppIsolation::new(users, settings.clone());
    let report = OneOffReport::new(world.dir.run())?;
    let argv = &command_line(&world, words);
    let mut command = world.command(&isolation, &vars, argv, report.path(), around)?;
    let err = if world.is_jailed() {
        match one_off::run_to_end(command, &report)? {
            Ok(end) => {
                if end.code != 0 {
                    let tree = AppTree::new(TreeAccess::of(&vars)?.is_read_only, end.is_read_only);
                    let granted = settings.grants.of(app);
                    let is_granted = |path: &Path| granted.iter().any(|grant| path.starts_with(grant.path()));
                    let refused = explain_refused_write(&end.lines, || tree);
                    let missing = explain_missing(root, app, is_granted, &end.lines);
                    let no_space = explain_no_space(&end.lines, &world.dir, || reserve);
                    one_off::tell(refused.into_iter().chain(missing).chain(no_space));
                }
                return Ok(ExitCode::from(end.code));
            }
            Err(err) => err,
        }
    } else {
        // This process becomes the command, and cannot record its end.
        RecordedVerb::new("run", Some(app.clone())).begin(root);
        command.exec()
    };
    let code = if err.kind() == ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    let program = argv.first().map_or("", String::as_str);
    Err(UserError::new(format!("cannot run '{program}': {err}")).code(code).into())
}
