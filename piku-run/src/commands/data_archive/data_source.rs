//! The folder whose files are read. A command that destroys the app waits for no reader.

#![expect(clippy::disallowed_methods, reason = "piku's own folder, of which nothing is read here")]

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use anyhow::Context;
use piku_layout::paths::AppDir;
use rustix::fs::{Mode, OFlags};

/// The data folder of an app.
#[derive(Debug)]
pub(super) struct DataSource {
    app: AppDir,
    folder: File,
    /// True if the app was there, or kept after its destruction. Data can be left of an app that is gone, and be read too.
    was_kept: bool,
}

impl DataSource {
    pub(super) fn open(app: AppDir) -> anyhow::Result<Self> {
        let path = app.data();
        // An app with a user of its own may have closed it to piku. OpenOptions drops O_PATH with musl.
        let folder = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let folder = folder.with_context(|| format!("cannot open '{}'", path.display()))?;
        let was_kept = is_kept(&app);
        Ok(Self { app, folder: folder.into(), was_kept })
    }

    /// Returns true if the folder is gone, or is being emptied. `destroy` leaves it as it is, unless it keeps nothing; a
    /// restore moves it.
    pub(super) fn is_removed(&self) -> bool {
        let is_gone = self.folder.metadata().is_ok_and(|stat| stat.nlink() == 0);
        is_gone || self.was_kept && !is_kept(&self.app)
    }
}

fn is_kept(app: &AppDir) -> bool {
    app.is_there() || app.destroyed().is_dir()
}
