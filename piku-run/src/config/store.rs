//! The operator's configuration of an app, as `config` shows it: `config.json` in the app's folder.
//!
//! A release that was made with a changed configuration names the change beside its own copy. Once the release is live the
//! store takes the change in, and the note goes; whoever is killed in between leaves the note to the next one. A release
//! that fails takes its note with it, so that the store never holds what did not work.

#![expect(
    clippy::disallowed_methods,
    reason = "the configuration and its notes beside releases, which only piku writes"
)]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::paths::AppDir;
use piku_release::manifest::CONFIG;
use rustix::fs::{FlockOperation, flock};

use super::{ConfigChange, ConfigValues};
use crate::releases::current;

/// The note in a release's folder.
const NOTE: &str = "config-change.json";

/// The store's content. What the live release still has to give it is in it.
pub(crate) fn read(app: &AppDir) -> anyhow::Result<ConfigValues> {
    follow(app)?;
    ConfigValues::read(&app.config())
}

/// Takes a change in.
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

/// Writes what a release in the making will run with, and what the store takes in when it goes live.
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

/// Lets the store take in what the live release notes, if it does.
pub(crate) fn follow(app: &AppDir) -> anyhow::Result<()> {
    let Some(number) = app.current_number() else { return Ok(()) };
    let note = app.release(number).join(NOTE);
    if !note.exists() {
        return Ok(());
    }
    // From the look to the removal: taken in a second time it would undo what was stored in between.
    let _locked = lock(app.path())?;
    let text = match fs::read(&note) {
        Ok(text) => text,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", note.display())),
    };
    let change: ConfigChange =
        serde_json::from_slice(&text).with_context(|| format!("bad change in '{}'", note.display()))?;
    take_in(app, &change)?;
    current::remove(&note)?;
    atomic_file::sync_parent(&note).with_context(|| format!("cannot sync the folder of '{}'", note.display()))
}

/// The configuration of a release; nothing for one that an older piku has made, which runs with the store's.
pub(crate) fn of_release(app: &AppDir, number: u64) -> anyhow::Result<Option<ConfigValues>> {
    ConfigValues::find(&app.release(number).join(CONFIG))
}

/// One change at a time. The folder is locked, as the file itself is replaced by each change; the kernel unlocks it with
/// the descriptor.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let locked = File::open(folder).with_context(|| format!("cannot open '{}'", folder.display()))?;
    flock(&locked, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock '{}'", folder.display()))?;
    Ok(locked)
}
