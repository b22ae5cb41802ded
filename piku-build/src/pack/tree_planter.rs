//! Unpacks the entries of a stream into a new tree. All files and directories are created, so an entry never
//! follows a link of an earlier one or replaces it.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use piku_files::TreeHandle;

use super::content_hash::EntryKind;
use super::read::PackItem;

/// Tree that is being unpacked.
pub(super) struct TreePlanter {
    top: TreeHandle,
    /// Directories with the mode and time that they get when they are complete.
    folders: HashMap<PathBuf, (u32, u64)>,
}

impl TreePlanter {
    /// Creates a tree that grows in this empty folder.
    pub(super) fn new(top: TreeHandle) -> Self {
        Self { top, folders: HashMap::new() }
    }

    /// Adds an entry at `below`, a path relative to the top, empty for the top itself.
    pub(super) fn write_entry(
        &mut self,
        below: &Path,
        item: &PackItem<'_>,
        content: &mut dyn Read,
    ) -> anyhow::Result<()> {
        let parent = below.parent();
        ensure!(
            parent.is_none_or(|parent| self.folders.contains_key(parent)),
            "its folder is missing before it"
        );
        ensure!(parent.is_some() || item.kind == EntryKind::Folder, "it is not a folder");
        match item.kind {
            EntryKind::Folder => {
                ensure!(!self.folders.contains_key(below), "it is there twice");
                if parent.is_some() {
                    self.top.create_dir(below)?;
                }
                self.folders.insert(below.to_owned(), (item.mode | 0o700, item.time));
            }
            EntryKind::File(_) => {
                let mut file = self.top.create_file(below, 0o600)?;
                io::copy(content, &mut file)?;
                file.set_permissions(Permissions::from_mode(item.mode | 0o400))?;
                file.set_modified(time(item.time)?)?;
            }
            EntryKind::Link(target) => self.top.symlink(target, below)?,
        }
        Ok(())
    }

    /// Gives the folders their modes and times.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let shown = self.top.path().display();
        ensure!(!self.folders.is_empty(), "'{shown}' is not in the stream");
        for (below, (mode, modified)) in &self.folders {
            let modified = time(*modified)?;
            if below.as_os_str().is_empty() {
                let top = self.top.as_fd().try_clone_to_owned().map(File::from);
                top.and_then(|top| top.set_modified(modified))
                    .with_context(|| format!("cannot finish '{shown}'"))?;
            } else {
                self.top.set_modified(below, modified)?;
            }
            self.top.set_mode(below, *mode)?;
        }
        Ok(())
    }
}

/// Returns a point in time that the system can represent.
fn time(seconds: u64) -> io::Result<SystemTime> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or_else(|| io::Error::other("a time that no clock shows"))
}
