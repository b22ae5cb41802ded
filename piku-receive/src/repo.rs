//! An app's bare repository: made on the first push, aside and renamed in, so that a half one is never there; its
//! settings and hooks put right at each later push.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::Context;
use git2::{Config, Repository, RepositoryInitOptions};
use piku_procfile::durable;
use piku_procfile::failure::{Failure, Hint};
use piku_procfile::layout::AppDir;
use piku_procfile::remove;

use crate::git;

/// What piku relies on, whatever the system's or the user's configuration says.
const SETTINGS: [(&str, &str); 11] = [
    // A push from a `--depth 1` clone works.
    ("receive.shallowUpdate", "true"),
    ("receive.advertisePushOptions", "true"),
    // The deploy branch stays; a second line behind `admit`.
    ("receive.denyDeleteCurrent", "refuse"),
    ("receive.denyDeletes", "false"),
    ("receive.denyNonFastForwards", "false"),
    ("receive.denyCurrentBranch", "ignore"),
    // Nothing in the background: it would keep the app's lock.
    ("gc.autoDetach", "false"),
    ("maintenance.autoDetach", "false"),
    ("core.hooksPath", "hooks"),
    // A power cut after a push must not leave refs to objects that are not there.
    ("core.fsync", "committed"),
    ("core.fsyncMethod", "batch"),
];

/// Git runs it before it stores anything.
const PRE_RECEIVE: &str =
    "#!/bin/sh\n# What piku does not take is refused before it is stored.\nexec piku-receive admit\n";

/// Makes the repository, or puts right what there is. Call with the app's lock held.
pub(crate) fn ensure(app: &AppDir, scripts: &Path) -> anyhow::Result<()> {
    let hook = scripts.join("post-receive");
    if !hook.is_file() {
        let failure = Failure::new(format!("there is no hook at '{}'", hook.display()));
        return Err(failure.hint("run piku's installer again, or give the folder with --scripts").into());
    }
    let repo = app.repo();
    if repo.exists() {
        let opened = git::open(&repo).hint(format!(
            "if it is broken: mv '{0}' '{0}.broken' on the server, then push again; the app runs on",
            repo.display()
        ))?;
        return furnish(&opened, &repo, &hook)
            .with_context(|| format!("cannot put the repository '{}' right", repo.display()));
    }
    make(app, &repo, &hook).with_context(|| format!("cannot make the repository '{}'", repo.display()))
}

fn make(app: &AppDir, repo: &Path, hook: &Path) -> anyhow::Result<()> {
    let aside = app.path().join("repo.git.new");
    // One that was killed in the middle has left it.
    remove::all(&aside)?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).no_reinit(true).external_template(false).initial_head("main");
    let made = Repository::init_opts(&aside, &options).map_err(git::plain)?;
    furnish(&made, &aside, hook)?;
    sync(&aside)?;
    fs::rename(&aside, repo)?;
    durable::sync_parent(repo)?;
    Ok(())
}

/// Sets what is not as it should be.
fn furnish(repo: &Repository, path: &Path, hook: &Path) -> anyhow::Result<()> {
    let own = Config::open(&path.join("config")).map_err(git::plain)?;
    let mut config = repo.config().map_err(git::plain)?;
    for (name, value) in SETTINGS {
        if own.get_string(name).ok().as_deref() != Some(value) {
            config.set_str(name, value).map_err(git::plain)?;
        }
    }
    let hooks = path.join("hooks");
    fs::create_dir_all(&hooks)?;
    link(&hooks.join("post-receive"), hook)?;
    script(&hooks.join("pre-receive"), PRE_RECEIVE)
}

/// Makes `at` a link to `target`, by a rename.
fn link(at: &Path, target: &Path) -> anyhow::Result<()> {
    if fs::read_link(at).is_ok_and(|there| there == target) {
        return Ok(());
    }
    let aside = at.with_extension("new");
    let _ = fs::remove_file(&aside);
    symlink(target, &aside)?;
    fs::rename(&aside, at)?;
    durable::sync_parent(at)?;
    Ok(())
}

fn script(at: &Path, text: &str) -> anyhow::Result<()> {
    let good = fs::read(at).is_ok_and(|there| there == text.as_bytes())
        && fs::symlink_metadata(at)
            .is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o100 != 0);
    if !good {
        durable::write(at, text.as_bytes(), 0o755)?;
    }
    Ok(())
}

/// Every file and folder below `dir` reaches the disk.
fn sync(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_procfile::layout::Root;

    fn place() -> (tempfile::TempDir, AppDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let app = Root::new(Some(dir.path().join("root"))).unwrap().app(&"blog".parse().unwrap());
        let scripts = dir.path().join("scripts");
        fs::create_dir_all(app.path()).unwrap();
        fs::create_dir(&scripts).unwrap();
        fs::write(scripts.join("post-receive"), "#!/bin/sh\n").unwrap();
        (dir, app, scripts)
    }

    #[test]
    fn what_a_kill_left_is_made_anew_and_what_is_wrong_is_put_right() {
        let (_dir, app, scripts) = place();
        fs::create_dir_all(app.path().join("repo.git.new/objects/half")).unwrap();
        ensure(&app, &scripts).unwrap();
        assert!(!app.path().join("repo.git.new").exists());
        let hook = app.repo().join("hooks/post-receive");
        let config = || Config::open(&app.repo().join("config")).unwrap();
        assert_eq!(fs::read_link(&hook).unwrap(), scripts.join("post-receive"));
        assert_eq!(config().get_string("receive.shallowUpdate").unwrap(), "true");

        fs::remove_file(&hook).unwrap();
        fs::write(&hook, "something else").unwrap();
        fs::remove_file(app.repo().join("hooks/pre-receive")).unwrap();
        config().set_str("gc.autoDetach", "true").unwrap();
        ensure(&app, &scripts).unwrap();
        assert_eq!(fs::read_link(&hook).unwrap(), scripts.join("post-receive"));
        assert_eq!(config().get_string("gc.autoDetach").unwrap(), "false");
        assert_eq!(fs::read_to_string(app.repo().join("hooks/pre-receive")).unwrap(), PRE_RECEIVE);
    }

    #[test]
    fn without_a_hook_nothing_is_made() {
        let (_dir, app, scripts) = place();
        fs::remove_file(scripts.join("post-receive")).unwrap();
        assert!(ensure(&app, &scripts).unwrap_err().to_string().contains("no hook"));
        assert!(!app.repo().exists());
    }
}
