//! `rename APP NEW`: gives an app another name, with everything it has. The rename of its directory is the one
//! step that decides: before it the app has its old name, after it the new one, and what is left to do after a kill is
//! done by a guard, after a power cut by the daemon when it starts, or by the next `rename` of the same names.

#![expect(clippy::disallowed_methods, reason = "records in the app's own folder, which only piku writes")]

use std::fs;
use std::io::ErrorKind;
use std::process::Stdio;

use anyhow::Context;
use piku_files::free_space::SpaceNeeded;
use piku_layout::former_names;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_layout::unknown_app::unknown_app;
use piku_release::manifest::BuiltRelease;
use piku_release::removals;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::{app_lock, free_name};
use crate::app_request;
use crate::commands::services;
use crate::garbage;
use crate::ipc::protocol::SupervisorRequest;
use crate::nginx::WebServer;
use crate::process::caller_guard::{self, CallerGuard};
use crate::releases::current;
use crate::releases::rename_record::RenameRecord;

pub(in crate::commands) fn run(root: &PikuRoot, from: &AppName, to: &AppName) -> anyhow::Result<()> {
    if from == to {
        return Err(UserError::new(format!("{from} has this name already")).code(USAGE).into());
    }
    // What has the old name now is another app, or the folder of a refused push.
    let begun = || RenameRecord::read(&root.app(to)).filter(|there| there.from == *from && there.to == *to);
    if begun().is_some() {
        let _lock = app_lock::wait_for_app(root, to)?;
        let Some(record) = begun() else { return Ok(()) };
        let guard = start_guard(root, &record)?;
        finish(root, &record)?;
        guard.end();
        return Ok(());
    }
    let record = RenameRecord { from: from.clone(), to: to.clone(), is_complete: false };
    check(root, &record)?;
    let lock = app_lock::wait_for_app(root, from)?;
    // Another session may have been faster.
    check(root, &record)?;
    let guard = start_guard(root, &record)?;
    record.write(&root.app(from))?;
    progress::step(&format!("Renaming {from} to {to}"));
    if let Err(err) = move_app(root, &record) {
        // The old state, with its instances.
        let _ = current::remove_dir(&root.app(from).renaming());
        drop(lock);
        start(root, from).context("it does not come up again")?;
        guard.end();
        return Err(err);
    }
    // If it fails, for example because a program of it was killed, the guard tries once more.
    finish(root, &record)?;
    guard.end();
    Ok(())
}

/// Starts the process that completes or undoes the renaming if this one is killed.
fn start_guard(root: &PikuRoot, RenameRecord { from, to, .. }: &RenameRecord) -> anyhow::Result<CallerGuard> {
    CallerGuard::start(root, &["rename", from.as_str(), to.as_str(), "--resume"])
}

/// Completes in the guard a renaming that was killed, or starts the app that it has not moved.
pub(in crate::commands) fn resume(root: &PikuRoot, from: &AppName, to: &AppName) -> anyhow::Result<()> {
    caller_guard::wait_for_caller()?;
    let is_this = |record: &RenameRecord| record.from == *from && record.to == *to;
    if RenameRecord::read(&root.app(to)).is_some_and(|record| is_this(&record)) {
        let _lock = app_lock::wait_for_app(root, to)?;
        let record = RenameRecord::read(&root.app(to)).filter(is_this);
        return record.map_or(Ok(()), |record| finish(root, &record));
    }
    if RenameRecord::read(&root.app(from)).is_some_and(|record| is_this(&record)) {
        return undo(root, from);
    }
    Ok(())
}

/// Starts an app that an interrupted renaming has stopped and not moved.
pub(in crate::commands) fn undo(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    let _lock = app_lock::wait_for_app(root, app)?;
    if RenameRecord::read(&dir).is_none_or(|record| record.from != *app) {
        return Ok(());
    }
    current::remove_dir(&dir.renaming())?;
    start(root, app)
}

/// Checks that the app can have the new name.
fn check(root: &PikuRoot, RenameRecord { from, to, .. }: &RenameRecord) -> anyhow::Result<()> {
    let dir = root.app(from);
    if !dir.is_there() {
        return Err(unknown_app(root, from).into());
    }
    current::check_not_destroyed(&dir)?;
    // A former name of the app itself is free.
    if former_names::find_successor(root, to).as_ref() != Some(from) || root.app(to).path().exists() {
        free_name::check_free(root, to)?;
    }
    let settings = HostSettings::read(&root.settings())?;
    if settings.deploy_to.contains_key(from) {
        let what = format!("{from} is in deploy_to of host.yaml, and runs on other machines under this name");
        return Err(UserError::new(what).hint(format!("clone it: piku clone {from} {to}")).into());
    }
    if dir.is_in_cluster() || dir.left_cluster().exists() {
        let what = format!("{from} runs in a cluster under this name, or has left objects there");
        return Err(UserError::new(what)
            .hint(format!("move it to this machine first: piku restart {from}"))
            .into());
    }
    if settings.network.of(from) != settings.network.of(to) {
        let what = format!("host.yaml gives {from} another network than {to}");
        return Err(UserError::new(what)
            .hint(format!("write the same for {to} below 'network' first"))
            .into());
    }
    // The name stands in a file of each release, which is written after the decision.
    let releases = dir.release_numbers().map_or(0, |numbers| numbers.len()) as u64;
    let need = SpaceNeeded { bytes: 64 * 1024 * (releases + 1), files: releases + 20 };
    removals::check_space_of(root, root.path(), need, 0, "the new name")?;
    let live = dir.current_number().and_then(|live| BuiltRelease::read(&dir.release(live)).ok());
    if live.is_some_and(|live| !live.jailed) {
        let what = format!(
            "the release of {from} was built without the sandbox and contains the path of its directory"
        );
        return Err(UserError::new(what).hint(format!("clone it: piku clone {from} {to}")).into());
    }
    Ok(())
}

/// Stops the app and renames its directory. The caller holds the app's lock.
fn move_app(root: &PikuRoot, RenameRecord { from, to, .. }: &RenameRecord) -> anyhow::Result<()> {
    // Until the daemon or the guard, which also complete the renaming, start it again.
    app_request::ask(root, from, &SupervisorRequest::Stop { stay: false })?;
    app_request::ask(root, from, &SupervisorRequest::Leave)?;
    let _alone = app_lock::keep_out_supervisor(root, from)?;
    let (old, new) = (root.app(from), root.app(to));
    // From the move on, who has waited for the lock finds the new name.
    former_names::add(&old, from)?;
    crate::folder_moves::move_app_dir(old.path(), new.path())
        .with_context(|| format!("cannot rename '{}' to '{}'", old.path().display(), new.path().display()))
}

/// Does what follows the rename of the directory, and starts the app.
fn finish(root: &PikuRoot, record: &RenameRecord) -> anyhow::Result<()> {
    let to = &record.to;
    if !record.is_complete {
        move_names(root, record)?;
    }
    let started = start(root, to).with_context(|| format!("{to} does not come up"));
    current::remove_dir(&root.app(to).renaming())?;
    // The daemon was asked for the old name.
    if let Err(err) = garbage::remove_withdrawn(root, to) {
        progress::detail(&format!("cannot remove old releases: {err:#}"));
    }
    started
}

/// Writes the new name wherever the old one is. Each step can be repeated.
fn move_names(root: &PikuRoot, RenameRecord { from, to, .. }: &RenameRecord) -> anyhow::Result<()> {
    let dir = root.app(to);
    services::rename_app(root, from, to).context("cannot rename the app in the services it is bound to")?;
    for number in dir.release_numbers().context("cannot list the releases")? {
        // A broken release stays what it is.
        let Ok(mut release) = BuiltRelease::read(&dir.release(number)) else { continue };
        if release.app != *to {
            release.app = to.clone();
            release.write(&dir.release(number))?;
        }
    }
    move_grants(root, from, to)?;
    piku_chroot::rename_own_user(&root.uid_ranges(), from.as_str(), to.as_str())?;
    WebServer::load(root)?.rename_app(from, to)?;
    rename_in_keys(root, from, to)?;
    move_replaced(root, from, to)?;
    former_names::forget(root, to)?;
    current::remove_dir(root.app(from).run())?;
    // The record stays until the app has started.
    RenameRecord { from: from.clone(), to: to.clone(), is_complete: true }.write(&dir)?;
    progress::step(&format!("{from} is called {to} now"));
    Ok(())
}

/// Starts the app unless it is stopped or has no release.
pub(in crate::commands) fn start(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    if dir.stopped().exists() || dir.current_number().is_none() {
        return Ok(());
    }
    app_request::ask(root, app, &SupervisorRequest::Restart { only: None, index: None })
}

fn move_grants(root: &PikuRoot, from: &AppName, to: &AppName) -> anyhow::Result<()> {
    let settings = HostSettings::read(&root.settings())?;
    let granted = settings.grants.of(from).to_vec();
    if granted.is_empty() {
        return Ok(());
    }
    // In this order: an interruption leaves both, and the next try removes the old one.
    root.change_grants(to, |_| Ok(granted)).context("cannot move what was granted")?;
    root.change_grants(from, |_| Ok(Vec::new())).context("cannot move what was granted")
}

/// Gives the backups of earlier states to the new name.
fn move_replaced(root: &PikuRoot, from: &AppName, to: &AppName) -> anyhow::Result<()> {
    match fs::rename(root.replaced(from), root.replaced(to)) {
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
        moved => moved.with_context(|| format!("cannot move '{}'", root.replaced(from).display())),
    }
}

/// Gives the keys that may use the app the new name.
fn rename_in_keys(root: &PikuRoot, from: &AppName, to: &AppName) -> anyhow::Result<()> {
    let mut keys = crate::process::sibling_tool::sibling_tool("piku-receive");
    keys.args(["key", "rename-app", from.as_str(), to.as_str(), "--root"])
        .arg(root.path())
        .stdin(Stdio::null());
    let status = keys.status().context("cannot run 'piku-receive'")?;
    if status.success() { Ok(()) } else { Err(UserError::new("cannot change the keys of the app").into()) }
}
