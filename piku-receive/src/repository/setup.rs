//! Creation and configuration of an app's bare repository.
//!
//! It is created in a temporary directory and renamed, so that an incomplete one is never used. Only piku
//! writes its configuration, and its hooks are those of piku.

#![expect(
    clippy::disallowed_methods,
    reason = "an incomplete repository and its configuration, which only git and piku write"
)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use git2::{Repository, RepositoryInitOptions};
use piku_files::atomic_file;
use piku_files::{TreeHandle, remove_all};
use piku_layout::git_history::TOLERATED_ERRORS;
use piku_layout::paths::AppDir;
use piku_procfs::ProcFields;
use piku_report::user_error::{UserError, WithHint};

use crate::repository;

/// Settings that override those of the system and the user. [`memory_settings`] depend on the machine and
/// are added.
const SETTINGS: [(&str, &[(&str, &str)]); 4] = [
    (
        "core",
        &[
            ("repositoryformatversion", "0"),
            ("filemode", "true"),
            ("bare", "true"),
            // A power cut after a push must not leave refs to missing objects. The pre-receive hook syncs
            // loose objects all at once, before git syncs the ref; git syncs what it packs later.
            ("fsync", "reference,pack,pack-metadata,-loose-object"),
            // refs/replace would substitute other objects for those that were pushed.
            ("useReplaceRefs", "false"),
            // Larger files are copied in pieces, from the push to the disk and from there into the app.
            ("bigFileThreshold", "1m"),
        ],
    ),
    (
        "receive",
        &[
            // A push from a `--depth 1` clone works.
            ("shallowUpdate", "true"),
            ("advertisePushOptions", "true"),
            // A second check after the pre-receive hook.
            ("denyDeleteCurrent", "refuse"),
            ("denyDeletes", "false"),
            ("denyNonFastForwards", "false"),
            ("denyCurrentBranch", "ignore"),
            ("fsckObjects", "true"),
            // Objects stay packed as they came. Written one by one, a pack of a megabyte whose objects are
            // differences from one of them can fill any disk.
            ("unpackLimit", "1"),
        ],
    ),
    (
        "gc",
        &[
            // A background process would keep the app's lock.
            ("autoDetach", "false"),
            // For the same reason, objects that nothing names any more stay packed until they are removed.
            ("cruftPacks", "true"),
        ],
    ),
    ("maintenance", &[("autoDetach", "false")]),
];

/// Memory in mebibytes from which git uses a thread for each processor and the full amount of memory.
const ENOUGH: u64 = 1024;

const PREFACE: &str =
    "# Written by piku at each push; changes are lost. Put your own settings into git config --global.\n";
/// Hooks that must exist in the directory of the scripts. Without the first, a push would not be checked.
const HOOKS: [&str; 2] = ["pre-receive", "post-receive"];

/// Fails if the directory of the scripts lacks a hook. A new app has no directory before that.
pub(crate) fn check_hooks(scripts: &Path) -> anyhow::Result<()> {
    for hook in HOOKS.map(|hook| scripts.join(hook)) {
        if !hook.is_file() {
            let failure = UserError::new(format!("cannot find the hook '{}'", hook.display()));
            return Err(failure
                .hint("reinstall piku, or name the directory of the scripts with --scripts")
                .into());
        }
    }
    Ok(())
}

/// Creates the repository, or repairs its configuration. The caller holds the app's lock.
pub(crate) fn ensure_repository(app: &AppDir, scripts: &Path) -> anyhow::Result<()> {
    check_hooks(scripts)?;
    let repo = app.repo();
    if !repo.exists() {
        let aside = app.path().join("repo.git.new");
        return create_repository(&aside, &repo, scripts)
            .inspect_err(|_| {
                // Nothing half made remains, such as on a full disk.
                let _ = remove_all(&aside);
            })
            .with_context(|| format!("cannot make the repository '{}'", repo.display()));
    }
    write_config(&repo, scripts)?;
    repository::open(&repo)
        .hint(format!(
            "if it is broken: mv '{0}' '{0}.broken' on the server, then push again; the app keeps running",
            repo.display()
        ))
        .map(drop)
}

/// Writes the configuration if it differs: git obeys it, and some settings name programs.
///
/// Needs no lock: the file is replaced as a whole, always with the same text.
pub(crate) fn write_config(repo: &Path, scripts: &Path) -> anyhow::Result<()> {
    let memory = total_memory(piku_procfs::meminfo().as_ref());
    let (path, text) = (repo.join("config"), render_config(scripts, memory));
    if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    atomic_file::write(&path, text.as_bytes(), 0o644)
        .with_context(|| format!("cannot write '{}'", path.display()))
}

/// Returns the machine's memory in mebibytes; [`ENOUGH`] if the kernel does not report it.
fn total_memory(meminfo: Option<&ProcFields>) -> u64 {
    meminfo.and_then(|meminfo| meminfo.bytes("MemTotal")).map_or(ENOUGH, |bytes| bytes >> 20)
}

/// Returns the memory settings of git for `total` mebibytes: a sixteenth for delta bases, and another for
/// each thread that searches for deltas.
fn memory_settings(total: u64) -> String {
    let share = |most: u64| (total / 16).clamp(4, most);
    let threads = if total < ENOUGH { "\tthreads = 1\n" } else { "" };
    format!(
        "[core]\n\tdeltaBaseCacheLimit = {}m\n[pack]\n\twindowMemory = {}m\n{threads}",
        share(32),
        share(64)
    )
}

fn render_config(scripts: &Path, total: u64) -> String {
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
    // "warn" would print a line for each such commit.
    text.push_str("[receive \"fsck\"]\n");
    for name in TOLERATED_ERRORS {
        let _ = writeln!(text, "\t{name} = ignore");
    }
    text + &memory_settings(total)
}

/// Returns options in front of git's subcommand that take hooks from the directory of the scripts, whatever
/// the repository's configuration says.
pub(crate) fn hooks_option(scripts: &Path) -> [std::ffi::OsString; 2] {
    let mut hooks = std::ffi::OsString::from("core.hooksPath=");
    hooks.push(scripts);
    ["-c".into(), hooks]
}

fn create_repository(aside: &Path, repo: &Path, scripts: &Path) -> anyhow::Result<()> {
    // Left by a process that was killed.
    remove_all(aside)?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).no_reinit(true).external_template(false).initial_head("main");
    Repository::init_opts(aside, &options).map(drop).map_err(repository::plain_error)?;
    write_config(aside, scripts)?;
    // Synced before the refs, which git syncs itself.
    TreeHandle::open(aside)?.write_out(None)?;
    fs::rename(aside, repo)?;
    atomic_file::order_parent(repo)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

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
    fn an_incomplete_repository_is_created_again_and_its_configuration_repaired() {
        let (_dir, app, scripts) = place();
        fs::create_dir_all(app.path().join("repo.git.new/objects/half")).unwrap();
        ensure_repository(&app, &scripts).unwrap();
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
        ensure_repository(&app, &scripts).unwrap();
        assert_eq!(value("gc.autoDetach").unwrap(), "false");
        assert_eq!(value("core.hooksPath").unwrap(), scripts.to_str().unwrap());
        assert!(value("core.alternateRefsCommand").is_err());
    }

    #[test]
    fn git_uses_less_memory_on_a_small_machine() {
        let values = |meminfo: &str| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("config");
            fs::write(&path, render_config(Path::new("/scripts"), total_memory(Some(&meminfo.into()))))
                .unwrap();
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
    fn no_repository_is_created_without_the_hooks() {
        for hook in HOOKS {
            let (_dir, app, scripts) = place();
            fs::remove_file(scripts.join(hook)).unwrap();
            assert!(
                ensure_repository(&app, &scripts).unwrap_err().to_string().contains("cannot find the hook")
            );
            assert!(!app.repo().exists());
        }
    }
}
