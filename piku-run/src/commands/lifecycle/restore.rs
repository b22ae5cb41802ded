//! `restore`: brings a destroyed app back, or apps from a backup on stdin, and deploys them.

use std::io::{IsTerminal, Read, stdin};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use piku_backup::is_backup;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::unknown_app;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::destroyed_app::DestroyedApp;
use super::{app_lock, deploy_tip};
use crate::cli::RestoreArgs;
use crate::commands::backup::{
    ArchiveRequest, ExistingApp, deploy_published, open_last_replaced, restore_archive, restore_host,
    restore_services, resume_restore,
};
use crate::process::git_command::has_refs;
use crate::process::wait::{READ, wait};
use crate::releases::current;

/// Time for the first byte of a backup, if one is expected, and if there may be none: ssh leaves stdin open.
const EXPECTED: Duration = Duration::from_secs(120);
const UNCERTAIN: Duration = Duration::from_secs(3);

pub(in crate::commands) fn run(root: &PikuRoot, typed: &RestoreArgs) -> anyhow::Result<ExitCode> {
    if let (true, Some(app)) = (typed.resume, &typed.app) {
        resume_restore(root, app)?;
        return Ok(ExitCode::SUCCESS);
    }
    let RestoreArgs { app, new, replace, dry_run, skip_deploy, without_services, .. } = typed;
    let request = ArchiveRequest {
        app: app.clone(),
        new: new.clone(),
        existing: if *replace { ExistingApp::Replace } else { ExistingApp::Keep },
        dry_run: *dry_run,
        skip_deploy: *skip_deploy,
        without_services: *without_services,
    };
    if let (true, true, Some(app)) = (typed.kept, replace, app) {
        // Before a renaming, the app had another name.
        let request = ArchiveRequest { app: None, new: Some(app.clone()), ..request };
        return restore_archive(root, &request, open_last_replaced(root, app)?);
    }
    let begin = match (find_archive(typed)?, app) {
        (Some(begin), _) if typed.host => {
            return restore_host(root, *dry_run, begin.as_slice().chain(stdin().lock()));
        }
        (Some(begin), _) => begin,
        (None, Some(app)) => return restore_destroyed(root, app),
        (None, None) => return Err(no_archive()),
    };
    restore_archive(root, &request, begin.as_slice().chain(stdin().lock()))
}

/// Returns the first bytes of the backup on stdin; `None` if the destroyed app is meant.
fn find_archive(typed: &RestoreArgs) -> anyhow::Result<Option<Vec<u8>>> {
    if typed.kept {
        return Ok(None);
    }
    let is_expected =
        typed.archive || typed.app.is_none() || typed.new.is_some() || typed.dry_run || typed.replace;
    if stdin().is_terminal() {
        return if is_expected { Err(no_archive()) } else { Ok(None) };
    }
    let patience = if is_expected { EXPECTED } else { UNCERTAIN };
    let mut begin = vec![0; 4];
    let mut count = 0;
    while count < begin.len() && !wait(&[(stdin().as_fd(), READ, ())], Some(patience))?.is_empty() {
        match rustix::io::read(stdin(), &mut begin[count..]).context("cannot read stdin")? {
            0 => break,
            more => count += more,
        }
    }
    begin.truncate(count);
    if count == 0 {
        return if is_expected { Err(no_archive()) } else { Ok(None) };
    }
    if !is_expected && !is_backup(&begin) && !begin.starts_with(b"age-") {
        let app = typed.app.as_ref().map_or("APP", AppName::as_str);
        return Err(UserError::new("stdin is no backup")
            .hint(format!("to bring back the destroyed app: piku restore {app} --kept"))
            .code(USAGE)
            .into());
    }
    Ok(Some(begin))
}

fn no_archive() -> anyhow::Error {
    let error = UserError::new("expected a backup on stdin");
    error.hint("piku restore [APP] [--as NEW] < FILE").code(USAGE).into()
}

/// Brings back what `destroy` has kept.
fn restore_destroyed(root: &PikuRoot, app: &AppName) -> anyhow::Result<ExitCode> {
    let dir = root.app(app);
    // What an interrupted restore from a backup has left to do.
    if dir.is_there() && restore_services(root, app)? {
        progress::step(&format!("{app} has its data"));
        return deploy_published(root, app);
    }
    let check = || -> anyhow::Result<()> {
        if dir.is_there() {
            current::check_not_destroyed(&dir)?;
            return Err(UserError::new(format!("{app} is there: it was not destroyed")).into());
        }
        match DestroyedApp::read(&dir) {
            Some(_) => current::check_not_destroyed(&dir),
            None if current::has_dir(dir.path(), "data") => {
                let what = format!("only the data of {app} is left, of an older piku");
                Err(UserError::new(what)
                    .hint(format!("to save it: piku data:export {app} > FILE.tar"))
                    .into())
            }
            None => Err(unknown_app(root, app).into()),
        }
    };
    check()?;
    let lock = app_lock::wait_for_app(root, app)?;
    check()?;
    DestroyedApp::bring_back(&dir)?;
    progress::step(&format!("{app} is back, with its repository, config and data"));
    drop(lock);
    if !has_refs(&dir.repo()) {
        progress::detail("it has no commit here; it runs from the next release or push on");
        return Ok(ExitCode::SUCCESS);
    }
    deploy_tip::deploy_or_explain(root, app)
}
