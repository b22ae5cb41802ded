//! An app's bare repository: made on the first push, aside and renamed in, so that a half one is never there. Its settings are
//! written by piku alone, and its hooks are piku's own.

#![expect(
    clippy::disallowed_methods,
    reason = "a repository in the making and its configuration, which only git and piku write"
)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::{Repository, RepositoryInitOptions};
use piku_files::atomic_file;
use piku_files::{TreeHandle, remove_all};
use piku_layout::paths::AppDir;
use piku_procfs::ProcFields;
use piku_report::user_error::{UserError, WithHint};

use crate::repository;

/// What piku relies on, whatever the system's or the user's configuration says, beside what depends on the machine's memory.
const SETTINGS: [(&str, &[(&str, &str)]); 5] = [
    (
        "core",
        &[
            ("repositoryformatversion", "0"),
            ("filemode", "true"),
            ("bare", "true"),
            // A power cut after a push must not leave refs to objects that are not there. `admit` sees to loose objects, all at
            // once, before git syncs the ref; what git packs later it syncs itself.
            ("fsync", "reference,pack,pack-metadata,-loose-object"),
            // refs/replace would put other objects in the place of those that were pushed.
            ("useReplaceRefs", "false"),
            // A file that is larger goes from the push to the disk, and from there into the app, piece by piece.
            ("bigFileThreshold", "1m"),
        ],
    ),
    (
        "receive",
        &[
            // A push from a `--depth 1` clone works.
            ("shallowUpdate", "true"),
            ("advertisePushOptions", "true"),
            // The deploy branch stays; a second line behind `admit`.
            ("denyDeleteCurrent", "refuse"),
            ("denyDeletes", "false"),
            ("denyNonFastForwards", "false"),
            ("denyCurrentBranch", "ignore"),
            ("fsckObjects", "true"),
        ],
    ),
    (
        // What old tools have written into the histories of real repositories, and other git servers take. None of it changes a
        // file. Not "warn": that is a line for each such commit, at each first push.
        "receive \"fsck\"",
        &[
            ("badDate", "ignore"),
            ("badDateOverflow", "ignore"),
            ("badEmail", "ignore"),
            ("badName", "ignore"),
            ("badTimezone", "ignore"),
            ("missingEmail", "ignore"),
            ("missingNameBeforeEmail", "ignore"),
            ("missingSpaceBeforeDate", "ignore"),
            ("missingSpaceBeforeEmail", "ignore"),
            ("multipleAuthors", "ignore"),
            ("zeroPaddedDate", "ignore"),
            ("zeroPaddedFilemode", "ignore"),
        ],
    ),
    // Nothing in the background: it would keep the app's lock.
    ("gc", &[("autoDetach", "false")]),
    ("maintenance", &[("autoDetach", "false")]),
];

/// From so much memory on, in mebibytes, git works with a thread for each processor, and with as much memory as on any machine.
const ENOUGH: u64 = 1024;

/// In front of the settings.
const PREFACE: &str = "# Written by piku at each push; what is changed here is lost. Settings of your own: git config --global.\n";
/// The hooks that git is to find in the folder of the scripts. Without the first, nothing that is pushed would be looked at.
const HOOKS: [&str; 2] = ["pre-receive", "post-receive"];

/// Makes the repository, or puts right what there is. Call with the app's lock held.
pub(crate) fn ensure(app: &AppDir, scripts: &Path) -> anyhow::Result<()> {
    for hook in HOOKS.map(|hook| scripts.join(hook)) {
        if !hook.is_file() {
            let failure = UserError::new(format!("there is no hook at '{}'", hook.display()));
            return Err(failure.hint("run piku's installer again, or give the folder with --scripts").into());
        }
    }
    let repo = app.repo();
    if !repo.exists() {
        return make(app, &repo, scripts)
            .with_context(|| format!("cannot make the repository '{}'", repo.display()));
    }
    settle_config(&repo, scripts)?;
    repository::open(&repo)
        .hint(format!(
            "if it is broken: mv '{0}' '{0}.broken' on the server, then push again; the app runs on",
            repo.display()
        ))
        .map(drop)
}

/// Writes the repository's settings where they are not those that piku writes: git obeys them, and some of them name programs.
/// Needs no lock: it is written as a whole, and always the same.
pub(crate) fn settle_config(repo: &Path, scripts: &Path) -> anyhow::Result<()> {
    let memory = total_memory(piku_procfs::meminfo().as_ref());
    let (path, text) = (repo.join("config"), config(scripts, memory));
    if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    atomic_file::write(&path, text.as_bytes(), 0o644)
        .with_context(|| format!("cannot put '{}' right", path.display()))
}

/// Returns the machine's memory in mebibytes; [`ENOUGH`] if the kernel does not report it.
fn total_memory(meminfo: Option<&ProcFields>) -> u64 {
    meminfo.and_then(|meminfo| meminfo.bytes("MemTotal")).map_or(ENOUGH, |bytes| bytes >> 20)
}

/// What git may take of a machine with so much memory, in mebibytes, while it reads a push: a sixteenth for the objects that others
/// differ from, another for each thread that looks for differences.
fn memory_settings(total: u64) -> String {
    let share = |most: u64| (total / 16).clamp(4, most);
    let threads = if total < ENOUGH { "\tthreads = 1\n" } else { "" };
    format!(
        "[core]\n\tdeltaBaseCacheLimit = {}m\n[pack]\n\twindowMemory = {}m\n{threads}",
        share(32),
        share(64)
    )
}

fn config(scripts: &Path, total: u64) -> String {
    let mut text = PREFACE.to_owned();
    for (section, values) in SETTINGS {
        let _ = writeln!(text, "[{section}]");
        for (name, value) in values {
            let _ = writeln!(text, "\t{name} = {value}");
        }
        if section == "core" {
            let path = scripts.to_string_lossy().replace('\\', r"\\").replace('"', "\\\"");
            let _ = writeln!(text, "\thooksPath = \"{}\"", path.replace('\n', r"\n"));
        }
    }
    text + &memory_settings(total)
}

/// Returns what is to stand in front of git's subcommand: hooks are taken from the folder of the scripts, which only root writes
/// where piku is installed, whatever the repository says.
pub(crate) fn hooks_option(scripts: &Path) -> [std::ffi::OsString; 2] {
    let mut hooks = std::ffi::OsString::from("core.hooksPath=");
    hooks.push(scripts);
    ["-c".into(), hooks]
}

fn make(app: &AppDir, repo: &Path, scripts: &Path) -> anyhow::Result<()> {
    let aside: PathBuf = app.path().join("repo.git.new");
    // One that was killed in the middle has left it.
    remove_all(&aside)?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).no_reinit(true).external_template(false).initial_head("main");
    Repository::init_opts(&aside, &options).map(drop).map_err(repository::plain_error)?;
    settle_config(&aside, scripts)?;
    // Before the refs that git syncs in it.
    TreeHandle::open(&aside)?.write_out(None)?;
    fs::rename(&aside, repo)?;
    atomic_file::order_parent(repo)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::Config;
    use piku_layout::paths::PikuRoot;

    fn place() -> (tempfile::TempDir, AppDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().join("root"))).unwrap().app(&"blog".parse().unwrap());
        let scripts = dir.path().join("scr \"i\\pts");
        fs::create_dir_all(app.path()).unwrap();
        fs::create_dir(&scripts).unwrap();
        for hook in HOOKS {
            fs::write(scripts.join(hook), "#!/bin/sh\n").unwrap();
        }
        (dir, app, scripts)
    }

    #[test]
    fn what_a_kill_left_is_made_anew_and_what_is_wrong_is_put_right() {
        let (_dir, app, scripts) = place();
        fs::create_dir_all(app.path().join("repo.git.new/objects/half")).unwrap();
        ensure(&app, &scripts).unwrap();
        assert!(!app.path().join("repo.git.new").exists());
        let path = app.repo().join("config");
        let value = |name: &str| Config::open(&path).unwrap().get_string(name);
        assert_eq!(value("receive.shallowUpdate").unwrap(), "true");
        assert_eq!(value("receive.fsck.missingEmail").unwrap(), "ignore");
        assert_eq!(value("core.hooksPath").unwrap(), scripts.to_str().unwrap());

        let mut config = Config::open(&path).unwrap();
        config.set_str("gc.autoDetach", "true").unwrap();
        config.set_str("core.alternateRefsCommand", "id").unwrap();
        config.set_str("core.hooksPath", "hooks").unwrap();
        ensure(&app, &scripts).unwrap();
        assert_eq!(value("gc.autoDetach").unwrap(), "false");
        assert_eq!(value("core.hooksPath").unwrap(), scripts.to_str().unwrap());
        assert!(value("core.alternateRefsCommand").is_err());
    }

    #[test]
    fn git_takes_less_where_there_is_less() {
        let values = |meminfo: &str| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("config");
            fs::write(&path, config(Path::new("/scripts"), total_memory(Some(&meminfo.into())))).unwrap();
            let config = Config::open(&path).unwrap();
            let value = |name: &str| config.get_i64(name).ok();
            assert_eq!(config.get_string("core.hooksPath").unwrap(), "/scripts");
            [value("core.deltaBaseCacheLimit"), value("pack.windowMemory"), value("pack.threads")]
        };
        let of = |megabytes: u64| values(&format!("MemTotal: {} kB\nMemFree: 1 kB\n", megabytes * 1024));
        assert_eq!(of(128), [Some(8 << 20), Some(8 << 20), Some(1)]);
        assert_eq!(of(256), [Some(16 << 20), Some(16 << 20), Some(1)]);
        assert_eq!(of(512), [Some(32 << 20), Some(32 << 20), Some(1)]);
        assert_eq!(of(4096), [Some(32 << 20), Some(64 << 20), None]);
        assert_eq!(values(""), of(1024));
    }

    #[test]
    fn without_a_hook_nothing_is_made() {
        for hook in HOOKS {
            let (_dir, app, scripts) = place();
            fs::remove_file(scripts.join(hook)).unwrap();
            assert!(ensure(&app, &scripts).unwrap_err().to_string().contains("no hook"));
            assert!(!app.repo().exists());
        }
    }
}
