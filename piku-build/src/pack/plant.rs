//! A tree that grows from a stream. Files are made anew and folders by us, so no entry goes through a link of an earlier
//! one, and none replaces another.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};

use super::read::Item;
use super::sum::Kind;

/// A tree under way.
pub(super) struct Plant {
    top: PathBuf,
    /// The folders made so far, with the mode and time they get when all is in them.
    folders: HashMap<PathBuf, (u32, u64)>,
}

impl Plant {
    /// One that will be at `top`; its parent is there.
    pub(super) fn new(top: &Path) -> Self {
        Self { top: top.to_owned(), folders: HashMap::new() }
    }

    /// Adds an entry at `below`, a path relative to the top, empty for the top itself.
    pub(super) fn take(
        &mut self,
        below: &Path,
        item: &Item<'_>,
        content: &mut dyn Read,
    ) -> anyhow::Result<()> {
        let parent = below.parent();
        ensure!(
            parent.is_none_or(|parent| self.folders.contains_key(parent)),
            "it is in no folder that came before it"
        );
        ensure!(parent.is_some() || item.kind == Kind::Folder, "it is no folder");
        let path = if parent.is_none() { self.top.clone() } else { self.top.join(below) };
        match item.kind {
            Kind::Folder => {
                ensure!(!self.folders.contains_key(below), "it is there twice");
                match DirBuilder::new().mode(0o700).create(&path) {
                    // A layer's own folder is there, empty, from the moment it is locked.
                    Err(err) if parent.is_none() && err.kind() == io::ErrorKind::AlreadyExists => {}
                    other => other?,
                }
                self.folders.insert(below.to_owned(), (item.mode | 0o700, item.time));
            }
            Kind::File(_) => {
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                io::copy(content, &mut file)?;
                file.set_permissions(Permissions::from_mode(item.mode | 0o400))?;
                file.set_modified(time(item.time)?)?;
            }
            Kind::Link(target) => symlink(target, &path)?,
        }
        Ok(())
    }

    /// Gives the folders their modes and times.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        ensure!(!self.folders.is_empty(), "'{}' is not in the stream", self.top.display());
        for (below, (mode, modified)) in self.folders {
            let path = if below.as_os_str().is_empty() { self.top.clone() } else { self.top.join(below) };
            File::open(&path)
                .and_then(|folder| folder.set_modified(time(modified)?))
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
                .with_context(|| format!("cannot finish '{}'", path.display()))?;
        }
        Ok(())
    }
}

/// A point in time that the system can count to.
fn time(seconds: u64) -> io::Result<SystemTime> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or_else(|| io::Error::other("a time that no clock shows"))
}
