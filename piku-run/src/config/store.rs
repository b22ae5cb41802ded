//! The stored config of an app, `config.json`, which `config` prints.
//!
//! A release made with a changed config carries a note of the change. Once the release is live, the store
//! applies the change and the note is removed; if that is interrupted, the next reader completes it. A
//! release that fails takes its note with it, so the store never holds a config that did not work.

#![expect(
    clippy::disallowed_methods,
    reason = "the configuration and its notes beside releases, which only piku writes"
)]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use piku_files::{FileLock, atomic_file};
use piku_layout::paths::AppDir;
use piku_release::manifest::CONFIG;

use super::{ConfigChange, ConfigValues};
use crate::releases::current;

/// File name of the note in a release.
const NOTE: &str = "config-change.json";

/// Reads the store, after applying the note of the live release.
pub(crate) fn read(app: &AppDir) -> anyhow::Result<ConfigValues> {
    follow(app)?;
    ConfigValues::read(&app.config())
}

/// Reads as [`read`] does, and keeps the store as it is until the lock is dropped.
pub(crate) fn read_locked(app: &AppDir) -> anyhow::Result<(ConfigValues, FileLock)> {
    follow(app)?;
    let locked = lock(app.path())?;
    Ok((ConfigValues::read(&app.config())?, locked))
}

/// Edits the store; repeats `edit` if another session has changed the store meanwhile. Returns the difference.
pub(crate) fn edit(
    app: &AppDir,
    edit: impl Fn(&ConfigValues) -> anyhow::Result<ConfigValues>,
) -> anyhow::Result<ConfigChange> {
    loop {
        let config = read(app)?;
        let edited = edit(&config)?;
        let change = ConfigChange::between(&config, &edited);
        let _locked = lock(app.path())?;
        if ConfigValues::read(&app.config())? == config {
            if !change.is_empty() {
                edited.write(&app.config())?;
            }
            return Ok(change);
        }
    }
}

/// Applies a change to the store.
pub(crate) fn apply(app: &AppDir, change: &ConfigChange) -> anyhow::Result<()> {
    let _locked = lock(app.path())?;
    take_in(app, change)
}

fn take_in(app: &AppDir, change: &ConfigChange) -> anyhow::Result<()> {
    let path = app.config();
    let mut config = ConfigValues::read(&path)?;
    let before = config.clone();
    change.apply(&mut config);
    if config == before { Ok(()) } else { config.write(&path) }
}

/// Writes the config of a new release, and the note of its change.
pub(crate) fn write_beside(
    release: &Path,
    config: &ConfigValues,
    change: &ConfigChange,
) -> anyhow::Result<()> {
    config.write_ordered(&release.join(CONFIG))?;
    if change.is_empty() {
        return Ok(());
    }
    let note = release.join(NOTE);
    let text = serde_json::to_vec(change).context("cannot make JSON of it")?;
    atomic_file::write_ordered(&note, &text, 0o600)
        .with_context(|| format!("cannot write '{}'", note.display()))
}

/// Applies the note of the live release to the store, if there is one.
pub(crate) fn follow(app: &AppDir) -> anyhow::Result<()> {
    let Some(number) = app.current_number() else { return Ok(()) };
    let note = app.release(number).join(NOTE);
    if !note.exists() {
        return Ok(());
    }
    // Locked until the note is removed: applying it twice would undo changes stored in between.
    let _locked = lock(app.path())?;
    let text = match fs::read(&note) {
        Ok(text) => text,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", note.display())),
    };
    let change: ConfigChange =
        serde_json::from_slice(&text).with_context(|| format!("bad change in '{}'", note.display()))?;
    take_in(app, &change)?;
    current::remove_dir(&note)?;
    atomic_file::sync_parent(&note).with_context(|| format!("cannot sync the folder of '{}'", note.display()))
}

/// Returns the config of a release; `None` for a release of an older version, which runs with the store's.
pub(crate) fn of_release(app: &AppDir, number: u64) -> anyhow::Result<Option<ConfigValues>> {
    ConfigValues::find(&app.release(number).join(CONFIG))
}

/// Locks the directory, since each change replaces the file itself. The kernel unlocks it with the
/// descriptor.
fn lock(folder: &Path) -> anyhow::Result<FileLock> {
    let opened = File::open(folder).with_context(|| format!("cannot open '{}'", folder.display()))?;
    FileLock::exclusive(opened).with_context(|| format!("cannot lock '{}'", folder.display()))
}
