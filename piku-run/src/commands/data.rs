//! `data APP export|import|remove`: the app's own files, whatever user they belong to, also after the app
//! was destroyed. A jail that contains only these files does the work, so that links made by the app are
//! never followed with more rights.

#![expect(
    clippy::disallowed_methods,
    reason = "looks for the data folder itself by its name in the app's folder; what is in it is handled inside a jail"
)]

use std::fs;
use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, anyhow, ensure};
use piku_files::FileLock;
use piku_layout::app_lock::remove_empty_dir;
use piku_layout::jail::DATA;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::unknown_app::unknown_app;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::data_archive::DataArchive;
use super::data_import;
use super::lifecycle::app_lock;
use crate::cli::DataAction;
use crate::commands::services;
use crate::instance::data_jail::jail_command;
use crate::known_apps;
use crate::kubernetes;
use crate::process::deadline::Deadline;
use crate::releases::current;

pub(super) fn run(root: &PikuRoot, app: &AppName, action: DataAction) -> anyhow::Result<ExitCode> {
    let dir = root.app(app);
    let data = dir.data();
    match action {
        DataAction::Export => {
            check_remains(root, app, data.is_dir())?;
            if stdout().is_terminal() {
                let what = "the archive does not go to a terminal";
                return Err(UserError::new(what)
                    .hint(format!("piku data:export {app} >{app}.tar"))
                    .code(USAGE)
                    .into());
            }
            kubernetes::warn_of_cluster_files(
                root,
                app,
                &format!(
                    "these are the files here; those there: piku run {app} 'tar -cC /data .' >{app}.tar"
                ),
            )?;
            export(root, app)
        }
        DataAction::Import { resume: true } => data_import::resume(root, app, &data),
        DataAction::Import { resume: false } => {
            known_apps::must_be_there(root, app)?;
            kubernetes::warn_of_cluster_files(
                root,
                app,
                &format!(
                    "the files go here, not there; to put them there: piku run {app} 'tar -xC /data' <{app}.tar"
                ),
            )?;
            data_import::import(root, app, &data)
        }
        DataAction::Remove { confirm } => {
            remove_data(root, app, &confirm, &dir)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Removes what a destroyed app has left.
fn remove_data(root: &PikuRoot, app: &AppName, confirm: &AppName, dir: &AppDir) -> anyhow::Result<()> {
    if app != confirm {
        let what = format!("'{confirm}' is not the name of the app whose data is to go, '{app}'");
        return Err(UserError::new(what).code(USAGE).into());
    }
    check_remains(root, app, !remains(dir)?.is_empty())?;
    // Another process may be restoring it, or creating another app of that name.
    let lock = app_lock::lock_idle_app(dir, app)?;
    if dir.is_there() {
        let what = format!("{app} is there, and uses its data");
        return Err(UserError::new(what).hint(format!("first: piku destroy {app} --confirm {app}")).into());
    }
    current::check_not_destroyed(dir)?;
    remove_kept(root, app, dir, lock)?;
    progress::step(&format!("the data of {app} is removed"));
    Ok(())
}

/// Fails unless `has_data` is true.
fn check_remains(root: &PikuRoot, app: &AppName, has_data: bool) -> anyhow::Result<()> {
    let dir = root.app(app);
    if !has_data && !dir.is_there() && !dir.destroyed().is_dir() {
        return Err(unknown_app(root, app).into());
    }
    ensure!(has_data, "{app} has no data");
    Ok(())
}

/// Returns what is in the directory of an app, except its lock.
fn remains(dir: &AppDir) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("cannot list '{}'", dir.path().display());
    let entries = match fs::read_dir(dir.path()) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().with_context(context)?;
    paths.retain(|path| *path != dir.lock());
    Ok(paths)
}

/// Removes the data and everything else that a destroyed app has left, its lock last.
pub(super) fn remove_kept(
    root: &PikuRoot,
    app: &AppName,
    dir: &AppDir,
    lock: Option<FileLock>,
) -> anyhow::Result<()> {
    services::remove_data_of(root, app).context("cannot remove its data in the services it was bound to")?;
    if dir.data().is_dir() {
        empty(root, app, &dir.data())?;
        fs::remove_dir(dir.data()).with_context(|| format!("cannot remove '{}'", dir.data().display()))?;
    }
    current::remove_dir(&dir.destroyed())?;
    current::remove_dir(&root.replaced(app))?;
    // One that had a first release only, which has failed, was not destroyed.
    if !dir.releases().is_dir() && !dir.log().is_dir() {
        for path in remains(dir)? {
            current::remove_dir(&path)?;
        }
    }
    if let Some(lock) = lock {
        remove_empty_dir(dir, lock);
    }
    Ok(())
}

/// Script that removes all files of the folder that is the first argument. An app may have closed directories for itself.
const EMPTY: &str = r#"find "$1" -xdev -mindepth 1 -delete 2>/dev/null && exit
find "$1" -xdev -type d ! -perm -700 -execdir chmod u+rwx -- {} \;
exec find "$1" -xdev -mindepth 1 -delete"#;

/// Removes all files of a data folder, as their owner.
pub(crate) fn empty(root: &PikuRoot, app: &AppName, data: &Path) -> anyhow::Result<()> {
    let argv = ["sh", "-c", EMPTY, "sh", DATA];
    let status =
        jail_command(root, app, data, &argv)?.stdin(Stdio::null()).status().context("cannot run 'find'")?;
    ensure!(status.success(), "cannot remove all of '{}'", data.display());
    Ok(())
}

/// Runs `reader`, a tar that writes an archive, into `writer`, which unpacks it. `names` goes to the reader's stdin.
/// Returns false if files changed or disappeared while they were read.
pub(crate) fn pipe_archive(
    reader: &mut Command,
    names: Option<&str>,
    mut writer: Command,
) -> anyhow::Result<bool> {
    let stdin = if names.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut reader = reader.stdin(stdin).stdout(Stdio::piped()).spawn().context("cannot run 'tar'")?;
    let archive = reader.stdout.take().context("tar has no output")?;
    // Before the names: a reader that fills the pipe reads no more of them.
    let started = writer.stdin(archive).spawn();
    // With the archive: a reader whose writer has failed would wait for ever.
    drop(writer);
    if let (Some(names), Some(mut stdin)) = (names, reader.stdin.take()) {
        // A tar that has ended is reported by its exit status.
        let _ = stdin.write_all(names.as_bytes());
    }
    let written = started.and_then(|mut writer| writer.wait());
    let read = reader.wait().context("cannot wait for 'tar'")?;
    ensure!(written.context("cannot run 'tar'")?.success(), "cannot unpack it");
    match read.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(anyhow!("cannot read it")),
    }
}

/// Writes the archive to stdout.
fn export(root: &PikuRoot, app: &AppName) -> anyhow::Result<ExitCode> {
    let archive = DataArchive::start(root, app, Stdio::inherit())?;
    let end =
        archive.finish(Deadline::default()).with_context(|| format!("cannot read the data of {app}"))?;
    if end.has_changed {
        progress::warning(&format!("some files of {app} changed while they were read"));
    }
    if end.left_out.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    progress::error(&format!("{app}: the archive lacks {}", end.left_out.describe_files()));
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_failed_first_release_outlives_the_removal_of_data() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let dir = root.app(&app);
        let remove = || remove_data(&root, &app, &app, &dir);
        fs::create_dir_all(dir.destroyed()).unwrap();
        fs::write(dir.usage_history(), "{}").unwrap();
        fs::write(dir.destroying(), "").unwrap();
        assert!(remove().unwrap_err().to_string().contains("has not come to its end"));
        fs::remove_file(dir.destroying()).unwrap();
        remove().unwrap();
        assert!(!dir.path().exists());
        assert_eq!(remove().unwrap_err().to_string(), "there is no app 'blog'");
        fs::create_dir_all(dir.path()).unwrap();
        fs::write(dir.usage_history(), "{}").unwrap();
        remove().unwrap();
        assert!(!dir.path().exists());
        fs::create_dir_all(dir.releases()).unwrap();
        fs::write(dir.config(), "{}").unwrap();
        remove().unwrap();
        assert!(dir.config().exists());
    }

    #[test]
    fn either_end_of_a_pipe_can_fail() {
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let pipe = |reader: &str, names, writer: &str| {
            pipe_archive(&mut sh(reader), names, sh(writer)).map_err(|err| err.to_string())
        };
        assert_eq!(pipe("cat", Some("one"), "test \"$(cat)\" = one"), Ok(true));
        assert_eq!(pipe("exit 1", None, "cat"), Ok(false), "a file has changed");
        let many = "a name\n".repeat(100_000);
        assert_eq!(pipe("cat", Some(&many), "test $(wc -c) = 700000"), Ok(true), "more than the pipes hold");
        assert_eq!(pipe("exit 2", Some("one"), "cat"), Err("cannot read it".to_owned()));
        assert_eq!(pipe("yes", None, "exit 1"), Err("cannot unpack it".to_owned()));
    }

    #[test]
    fn directories_that_the_app_has_closed_are_removed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let data = root.app(&app).data();
        let inner = data.join("closed/-rf a/inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        for closed in [inner.as_path(), &data.join("closed/-rf a"), &data.join("closed")] {
            fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).unwrap();
        }
        empty(&root, &app, &data).unwrap();
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    }
}
