//! The folder of a jail in the directory of `--scratch`. It has a lock that lasts as long as the jail: a
//! folder without one was left by a jail whose monitor was killed, and the next jail removes it.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use piku_files::FileLock;
use piku_layout::writable_path::WritablePath;

use super::overlay::UPPER;
use super::{APP_OVERLAY, discarded, kept};
use crate::errors::quoted;
use crate::ids::{self, JailIds};
use crate::plan::JailPlan;
use crate::sys;

/// Lock in the directory: held while folders are made and searched, and while `--keep` copies.
const COMMON_LOCK: &str = "lock";
const FOLDER_LOCK: &str = "lock";

/// The folder of one jail, which nothing but this jail uses.
#[derive(Debug)]
pub(crate) struct ScratchFolder {
    place: ScratchPlace,
    end: ScratchEnd,
    lock: FileLock,
}

/// The last steps with a folder, before it is removed.
#[derive(Debug)]
struct ScratchEnd {
    ids: JailIds,
    /// Kept paths, and the data that takes the files which have replaced them.
    keep: Vec<WritablePath>,
    data: Option<PathBuf>,
    /// Name of the setting to be told with what is lost.
    told: Option<String>,
}

/// Paths of a folder and of the directory that contains it.
#[derive(Clone, Debug)]
pub(crate) struct ScratchPlace {
    pub(crate) folder: PathBuf,
    parent: PathBuf,
}

impl ScratchPlace {
    /// Takes the lock that keeps other jails of this directory from preparing.
    pub(crate) fn lock_common(&self) -> Result<FileLock> {
        lock_directory(&self.parent)
    }
}

impl ScratchFolder {
    /// Makes a folder in the directory of `--scratch`, after removing those of jails that have ended.
    pub(crate) fn make(plan: &JailPlan, ids: JailIds) -> Result<Option<Self>> {
        let Some(parent) = &plan.scratch else { return Ok(None) };
        // Outside of the namespace, which does not know the numbers of all groups.
        if let Some(app) = plan.app_source().filter(|_| ids.own.is_none()) {
            kept::share_with_group(app, ids, plan.uid_range.is_some()).context("--app")?;
        }
        let end = ScratchEnd {
            ids,
            keep: plan.keep.clone(),
            data: plan.data_source().filter(|_| !plan.keep.is_empty()).map(Path::to_owned),
            told: plan.tell_discarded.clone(),
        };
        Self::prepare(parent, end).map(Some).with_context(|| format!("--scratch: {}", quoted(parent)))
    }

    fn prepare(parent: &Path, end: ScratchEnd) -> Result<Self> {
        match DirBuilder::new().mode(0o700).create(parent) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err.into()),
            _ => {}
        }
        let common = lock_directory(parent)?;
        let left = lock_abandoned(parent)?;
        let path = parent.join(format!("{:016x}", RandomState::new().hash_one(std::process::id())));
        DirBuilder::new().mode(0o700).create(&path).context("cannot make a folder in it")?;
        let lock = FileLock::try_exclusive(open_lock(&path.join(FOLDER_LOCK))?)?;
        let lock = lock.context("another process has locked the new folder")?;
        drop(common);
        for (folder, lock) in left {
            // The next jail tries again.
            let _ = end.take_and_remove(&folder, false);
            drop(lock);
        }
        Ok(Self { place: ScratchPlace { folder: path, parent: parent.to_owned() }, end, lock })
    }

    pub(crate) fn place(&self) -> &ScratchPlace {
        &self.place
    }

    /// Removes the folder, after the end of the jail. What cannot be removed is left for the next jail.
    ///
    /// On a busy disk the kernel waits for it at each removed directory. With `in_background` a process of its own
    /// does that, which keeps the folder's lock, unless the command has changed something and has its own user.
    /// `mounts` is the jail's mount namespace, which ends with that process, or before anything is moved.
    pub(crate) fn remove(self, in_background: bool, mounts: Option<OwnedFd>) {
        let folder = &self.place.folder;
        let is_unchanged = in_background && is_unchanged(folder);
        let mounts = mounts.filter(|_| is_unchanged);
        let is_taken = is_unchanged || in_background && self.end.take_for_removal(folder);
        if !is_taken || self.start_removal(mounts.as_ref()).is_err() {
            drop(mounts);
            let _ = self.end.take_and_remove(folder, true);
        }
    }

    fn start_removal(&self, mounts: Option<&OwnedFd>) -> io::Result<()> {
        let removal = sys::spawn(sys::Namespaces::empty(), || {
            // Locks and pipes of the caller, which would take the jail for alive.
            let kept: Vec<_> = mounts.map(AsFd::as_fd).into_iter().chain([self.lock.as_fd()]).collect();
            let _ = sys::close_others(&kept);
            // The successor of the command starts meanwhile.
            let _ = rustix::process::nice(19);
            u8::from(remove_with_lock(&self.place.folder).is_err())
        });
        removal.map(drop)
    }
}

impl ScratchEnd {
    /// Does all but the removal and returns true, if that needs no user namespace.
    fn take_for_removal(&self, folder: &Path) -> bool {
        !self.needs_namespace() && self.take(folder, true).is_ok()
    }

    /// Only in a user namespace may the caller move and remove what the command's user has made.
    fn needs_namespace(&self) -> bool {
        self.ids.own.is_some() && !Uid::effective().is_root()
    }

    /// Moves files that belong to the data there; with `tells`, prints which of the others are lost.
    fn take(&self, folder: &Path, tells: bool) -> Result<()> {
        if let Some(data) = &self.data {
            let taken = kept::take_replaced(&self.keep, &folder.join(APP_OVERLAY).join(UPPER), data);
            taken.context("--keep: cannot move a file to the data")?;
        }
        if let Some(setting) = self.told.as_deref().filter(|_| tells) {
            discarded::tell_discarded(&folder.join(APP_OVERLAY), setting);
        }
        Ok(())
    }

    /// Moves files that belong to the data there, and removes the folder with everything in it.
    fn take_and_remove(&self, folder: &Path, tells: bool) -> Result<()> {
        // Most commands change nothing, and then no helper has to map ids.
        if remove_unchanged(folder).is_ok() {
            return Ok(());
        }
        let end = || -> Result<()> {
            self.take(folder, tells)?;
            Ok(remove_with_lock(folder)?)
        };
        if !self.needs_namespace() {
            return end();
        }
        let code = ids::run_in_user_namespace(self.ids, &[], sys::Namespaces::empty(), end)?;
        ensure!(code == 0, "cannot remove {}", quoted(folder));
        Ok(())
    }
}

/// Returns whether nothing was written in the overlays of a folder, as far as the caller may see that.
fn is_unchanged(folder: &Path) -> bool {
    let is_empty = |path: PathBuf| match fs::read_dir(path.join(UPPER)) {
        Ok(mut entries) => entries.next().is_none(),
        Err(err) => is_missing(&err),
    };
    fs::read_dir(folder)
        .is_ok_and(|mut overlays| overlays.all(|entry| entry.is_ok_and(|entry| is_empty(entry.path()))))
}

/// Removes a folder in whose overlays nothing was written.
///
/// # Errors
/// Fails if something was written, and removes nothing of that.
fn remove_unchanged(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match fs::remove_dir(path.join(UPPER)) {
            Err(err) if !is_missing(&err) => return Err(err),
            _ => {}
        }
    }
    remove_with_lock(folder)
}

/// Removes a folder, its lock last: without that, the next jail would remove the folder itself.
fn remove_with_lock(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != FOLDER_LOCK {
            piku_files::remove_all(&entry.path())?;
        }
    }
    piku_files::remove_all(folder)
}

/// Returns whether a path has no such overlay, or is that of the lock.
fn is_missing(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Removes the folders of jails that have ended.
pub(crate) fn remove_abandoned(parent: &Path, ids: JailIds) -> Result<()> {
    if !parent.exists() {
        return Ok(());
    }
    let common = lock_directory(parent)?;
    let left = lock_abandoned(parent)?;
    drop(common);
    let end = ScratchEnd { ids, keep: Vec::new(), data: None, told: None };
    left.iter().try_for_each(|(folder, _)| end.take_and_remove(folder, false))
}

fn lock_directory(parent: &Path) -> Result<FileLock> {
    FileLock::exclusive(open_lock(&parent.join(COMMON_LOCK))?).context("cannot lock it")
}

/// Opens a lock, which no command of a jail can see.
fn open_lock(path: &Path) -> Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("cannot open {}", quoted(path)))
}

/// Returns the folders whose lock nobody holds, each with its lock.
fn lock_abandoned(parent: &Path) -> Result<Vec<(PathBuf, Option<FileLock>)>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(parent).context("cannot list it")? {
        let entry = entry.context("cannot list it")?;
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let lock = match File::options().write(true).open(path.join(FOLDER_LOCK)) {
            Ok(lock) => match FileLock::try_exclusive(lock)? {
                Some(lock) => Some(lock),
                None => continue,
            },
            // Its maker was killed before the lock, or while it removed the folder.
            Err(_) => None,
        };
        left.push((path, lock));
    }
    Ok(left)
}
