//! `clone APP NEW`: another app with the same code and settings. It is made in a folder aside and appears as a
//! whole; then it is deployed as after a push.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder of the new app, which only piku writes; data is copied inside of jails"
)]

use std::fs;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, anyhow, ensure};
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::unknown_app::unknown_app;
use piku_release::manifest::BuiltRelease;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::aside_app::{AsideApp, remove_bindings_of_others, remove_own_settings};
use super::{app_lock, deploy_tip, free_name};
use crate::cli::CloneArgs;
use crate::commands::data_archive::DataArchive;
use crate::config::store;
use crate::instance::data_jail;
use crate::process::deadline::Deadline;
use crate::process::git_command::git_command;
use crate::releases::current;

pub(in crate::commands) fn run(root: &PikuRoot, typed: &CloneArgs) -> anyhow::Result<ExitCode> {
    let CloneArgs { app, new, data, skip_deploy } = typed;
    if app == new {
        return Err(UserError::new(format!("a clone of {app} needs another name")).code(USAGE).into());
    }
    let dir = root.app(app);
    let check = || -> anyhow::Result<()> {
        if !dir.repo().is_dir() {
            return Err(unknown_app(root, app).into());
        }
        current::check_not_destroyed(&dir)?;
        free_name::check_free(root, new)
    };
    check()?;
    let source_lock = app_lock::wait_for_app(root, app)?;
    check()?;
    progress::step(&format!("Cloning {app} as {new}"));
    let aside = AsideApp::create(root, new)?;
    copy_app(root, app, new, &aside, *data)?;
    let clone_lock = aside.publish()?;
    drop((source_lock, clone_lock));
    progress::step(&format!("{new} has the code and the settings of {app}"));
    if *skip_deploy || dir.current_number().is_none() {
        progress::detail(&format!("to deploy it: piku deploy {new}"));
        return Ok(ExitCode::SUCCESS);
    }
    deploy_tip::deploy_or_explain(root, new)
}

fn copy_app(
    root: &PikuRoot,
    app: &AppName,
    new: &AppName,
    aside: &AsideApp,
    with_data: bool,
) -> anyhow::Result<()> {
    let dir = root.app(app);
    copy_repository(&dir, &aside.join("repo.git"))?;
    let mut config = store::read(&dir)?;
    remove_bindings_of_others(root, new, app, &mut config)?;
    let own = remove_own_settings(&mut config);
    if !own.is_empty() {
        progress::detail(&format!("without {}, which only one app can have", own.join(" and ")));
    }
    if !config.0.is_empty() {
        config.write(&aside.join("config.json"))?;
    }
    if dir.formation().exists() {
        let path = aside.join("formation.json");
        fs::copy(dir.formation(), &path).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    if with_data && dir.data().is_dir() {
        copy_data(root, app, new, &aside.join("data"))?;
    }
    Ok(())
}

/// Copies the repository, with the deploy branch at the live commit: objects are shared by hard links.
fn copy_repository(dir: &AppDir, to: &Path) -> anyhow::Result<()> {
    git(&["clone", "--quiet", "--mirror"], &[&dir.repo(), to])?;
    let live = dir.current_number().and_then(|live| BuiltRelease::read(&dir.release(live)).ok());
    let Some(commit) = live.map(|live| live.commit).filter(|commit| commit.len() == 40) else {
        return Ok(());
    };
    // A commit that the repository no longer has: the clone starts at the tip.
    if !set_branch(to, &commit)? {
        progress::detail(
            "its live commit is no longer in the repository; the clone starts at the tip of its branch",
        );
    }
    Ok(())
}

/// Sets the deploy branch of a repository; false if it lacks the commit.
pub(in crate::commands) fn set_branch(repo: &Path, commit: &str) -> anyhow::Result<bool> {
    let mut update = git_command();
    update.arg("--git-dir").arg(repo).args(["update-ref", "HEAD", commit]);
    Ok(update.stderr(Stdio::null()).status().context("cannot run 'git update-ref'")?.success())
}

fn git(words: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let status = git_command().args(words).args(paths).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("cannot run 'git {}'", words[0]))?;
    ensure!(status.success(), "git {} failed", words[0]);
    Ok(())
}

/// Copies the app's files from one jail into another: each reads or writes as the app's own user.
fn copy_data(root: &PikuRoot, app: &AppName, new: &AppName, to: &Path) -> anyhow::Result<()> {
    progress::detail("with its data");
    current::create_data_dir_at(to)?;
    let mut archive = DataArchive::start(root, app, Stdio::piped())?;
    let output = archive.take_output()?;
    let status =
        data_jail::import_command(root, new, to)?.stdin(output).status().context("cannot run 'tar'")?;
    let cannot = || format!("cannot copy the data of {app}");
    // A reader whose writer has failed has an error, too.
    let end =
        if status.success() { archive.finish(Deadline::default()) } else { Err(anyhow!("cannot unpack it")) };
    let end = end.with_context(cannot)?;
    if end.has_changed {
        progress::warning(&format!("some files of {app} changed while they were copied"));
    }
    if !end.left_out.is_empty() {
        progress::warning(&format!("{new} lacks {}", end.left_out.describe_files()));
    }
    Ok(())
}
