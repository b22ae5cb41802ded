//! `--keep`: paths of the app tree that are kept in the data, below [`KEPT_IN_DATA`].
//!
//! A directory of the data is mounted at its place. A file is a symlink there: a program that writes beside a
//! file, such as sqlite, follows the symlink first, and so its journal is kept too, which a mount of the file
//! would leave in /app. A program that replaces a file by a rename replaces the symlink; the end of the jail
//! moves that file to the data.
//!
//! Both trees are hostile: they are only reached through tree handles, and mounts follow no symlink.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::wait::{WaitStatus, waitpid};
use piku_files::{CopyLimit, FileKind, TreeError, TreeHandle, WalkStep};
use piku_layout::jail::KEPT_IN_DATA;
use piku_layout::writable_path::WritablePath;
use piku_report::user_error::UserError;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, openat2};

use super::{describe_path, source_of};
use crate::confinement::capabilities;
use crate::errors::{SETUP_FAILED, print_error, quoted};
use crate::ids::JailIds;
use crate::ids::caller::CallerIdentity;
use crate::plan::{APP, DATA, JailMount, JailPlan};
use crate::root::tree::{self, HostTree, WRITABLE};
use crate::sys::{self, Namespaces};

/// Name of an unfinished copy in the data.
const UNFINISHED: &str = ".unfinished";

/// Copies each path from the release to the data, unless the data has it.
pub(super) fn copy_to_data(plan: &JailPlan, ids: JailIds) -> Result<()> {
    let Some(data) = plan.data_source() else { return Ok(()) };
    let data = TreeHandle::open(data)?;
    let mut missing = Vec::new();
    for kept in &plan.keep {
        if data.find(in_data(kept))?.is_none() {
            missing.push((kept, open_release(plan, kept)?));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let copy = || {
        missing.iter().try_for_each(|(kept, release)| {
            copy_path(release.as_ref(), &data, kept).with_context(|| describe_path(kept.path()))
        })
    };
    if ids.own.is_none() {
        return copy();
    }
    // As the command's user, who owns the data.
    let pid = sys::spawn(Namespaces::empty(), || {
        let done = ids.become_command().and_then(|_| capabilities::drop_all()).and_then(|()| copy());
        done.map_or_else(|err| print_error(&err), |()| 0)
    })?;
    match waitpid(pid, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        _ => bail!("the paths cannot be copied to the data"),
    }
}

/// A kept path in the release: the tree that contains it, and its path there.
type ReleasePath = (TreeHandle, PathBuf);

/// Opens the tree that has a kept path, unless the release does not have it.
fn open_release(plan: &JailPlan, kept: &WritablePath) -> Result<Option<ReleasePath>> {
    let Some((mount, below)) = find_mount(plan, kept) else { return Ok(None) };
    let Some(src) = source_of(mount) else { return Ok(None) };
    let tree = TreeHandle::open(src)?;
    check_kept_path(&tree, &below)?;
    Ok(tree.find(&below)?.map(|_| (tree, below)))
}

/// Returns the innermost overlaid mount that contains a kept path, and the path in it.
fn find_mount<'a>(plan: &'a JailPlan, kept: &WritablePath) -> Option<(&'a JailMount, PathBuf)> {
    let place = in_jail(kept);
    let around = plan.mounts.iter().filter(|mount| plan.is_overlaid(mount) && place.starts_with(&mount.dst));
    let mount = around.max_by_key(|mount| mount.dst.components().count())?;
    Some((mount, place.strip_prefix(&mount.dst).ok()?.to_owned()))
}

/// Checks that a path of the app tree can be kept.
///
/// # Errors
/// Fails if the path leads through a symlink or a file, or is a symlink itself.
pub fn check_kept_path(tree: &TreeHandle, path: &Path) -> Result<()> {
    ensure!(!path.as_os_str().is_empty(), "{} is a folder of dependencies", quoted(tree.path()));
    let mut part = PathBuf::new();
    for name in path {
        part.push(name);
        let Some(stat) = tree.find(&part)? else { return Ok(()) };
        if stat.is_symlink() {
            let what = format!("{} is a symlink in the release", quoted(&part));
            let hint = "name the file or folder that it points to";
            return Err(UserError::new(what).hint(hint).code(SETUP_FAILED).into());
        }
        ensure!(stat.is_dir() || part == path, "{} is a file in the release", quoted(&part));
    }
    Ok(())
}

/// Copies one path. It appears in the data when it is complete.
fn copy_path(release: Option<&ReleasePath>, data: &TreeHandle, kept: &WritablePath) -> Result<()> {
    let place = in_data(kept);
    data.create_dir_all(place.parent().unwrap_or(Path::new("")))?;
    let Some((tree, path)) = release else {
        return if kept.is_folder() { Ok(data.create_dir_all(&place)?) } else { Ok(()) };
    };
    let unfinished = Path::new(KEPT_IN_DATA).join(UNFINISHED);
    data.remove_all(&unfinished)?;
    match tree.symlink_metadata(path)?.kind {
        FileKind::Folder => {
            let from = tree.subtree(path)?;
            from.copy_tree(data, &unfinished, CopyLimit::NONE, |_| Ok::<_, TreeError>(true))?;
        }
        FileKind::Regular => tree.copy_file(path, data, &unfinished, u64::MAX)?,
        kind => bail!("it is {} in the release, neither a file nor a folder", kind.name()),
    }
    Ok(data.rename(&unfinished, data, &place)?)
}

/// Makes the places of the kept paths in the upper directory of one overlay: directories to be mounted on,
/// and symlinks to the data.
pub(super) fn make_places(
    plan: &JailPlan,
    mount: &JailMount,
    src: &Path,
    upper: &Path,
    ids: JailIds,
) -> Result<()> {
    let here = |kept: &WritablePath| find_mount(plan, kept).filter(|(found, _)| found.dst == mount.dst);
    let places: Vec<_> = plan.keep.iter().filter_map(|kept| Some((kept, here(kept)?.1))).collect();
    let Some(data) = plan.data_source().filter(|_| !places.is_empty()) else { return Ok(()) };
    let (lower, upper, data) = (TreeHandle::open(src)?, TreeHandle::open(upper)?, TreeHandle::open(data)?);
    for (kept, below) in places {
        check_kept_path(&lower, &below)?;
        let is_folder = is_folder_in(&data, kept)?;
        let folders = if is_folder { below.as_path() } else { below.parent().unwrap_or(Path::new("")) };
        let mut folder = PathBuf::new();
        for name in folders {
            folder.push(name);
            if upper.find(&folder)?.is_none() {
                // Seen together with the lower directory, whose attributes it hides.
                upper.create_dir(&folder)?;
                let mode = lower.find(&folder)?.map_or(0o755, |stat| stat.mode);
                upper.set_mode(&folder, mode | 0o700)?;
                set_owner(&upper.subtree(&folder)?, ids.command())?;
            }
        }
        if !is_folder {
            upper.symlink(Path::new(DATA).join(in_data(kept)), &below)?;
        }
    }
    Ok(())
}

/// Returns whether the data has a directory at a kept path.
fn is_folder_in(data: &TreeHandle, kept: &WritablePath) -> Result<bool> {
    Ok(data.find(in_data(kept))?.is_some_and(|stat| !stat.is_file()))
}

fn set_owner(folder: &TreeHandle, owner: CallerIdentity) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid.as_raw()), Gid::from_raw(owner.gid.as_raw()));
    chownat(folder, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot set the owner of {}", quoted(folder.path())))
}

/// Opens the kept directories in the data, to be mounted at their places. On a machine without overlays,
/// which cannot make places, the files too.
pub(super) fn open_in_data(plan: &JailPlan, has_overlays: bool) -> Result<Vec<(PathBuf, HostTree)>> {
    let Some(data) = plan.data_source().filter(|_| !plan.keep.is_empty()) else { return Ok(Vec::new()) };
    let (top, tree) = (tree::open_source(data)?, TreeHandle::open(data)?);
    let mut binds = Vec::new();
    for kept in &plan.keep {
        if has_overlays && !is_folder_in(&tree, kept)? {
            continue;
        }
        if !has_overlays && open_release(plan, kept)?.is_none() {
            let what = format!(
                "this machine cannot mount overlays, and the release has no {} to mount the data at",
                quoted(kept.path())
            );
            let hint = "add it to the repository, a folder with a file in it; piku-chroot --check says why";
            return Err(UserError::new(what).hint(hint).code(SETUP_FAILED).into());
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = openat2(&top, in_data(kept), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
            .map_err(io::Error::from)
            .with_context(|| describe_path(kept.path()))?;
        let is_folder = tree::is_folder(&fd)?;
        binds.push((in_jail(kept), HostTree::copy(fd, is_folder, WRITABLE)?));
    }
    Ok(binds)
}

/// Moves files that the command has put in the place of a symlink to the data, unless the data has a newer
/// one.
pub(super) fn take_replaced(keep: &[WritablePath], upper: &Path, data: &Path) -> Result<()> {
    let (upper, data) = match TreeHandle::open(upper) {
        Ok(upper) => (upper, TreeHandle::open(data)?),
        // The jail was not made.
        Err(_) => return Ok(()),
    };
    for kept in keep {
        let Some(stat) = upper.find(kept.path())?.filter(piku_files::FileStat::is_file) else { continue };
        let place = in_data(kept);
        if data.find(&place)?.is_none_or(|old| old.is_file() && old.modified <= stat.modified) {
            data.create_dir_all(place.parent().unwrap_or(Path::new("")))?;
            upper.rename(kept.path(), &data, &place)?;
        }
    }
    Ok(())
}

/// Lets the command's group write in a tree of the caller's, as the caller may. The tree is mounted below an
/// overlay: the rights count there, and nothing is written to the tree. A command that runs as the caller
/// gets the tree back from a group that its namespace does not know, whose files no overlay could copy.
///
/// Done once for a tree; its top directory comes last. With `gives_back`, done in any case: a new release has
/// its own top directory, and links to files that older ones share with the group of the own user.
pub(super) fn share_with_group(tree: &Path, ids: JailIds, gives_back: bool) -> Result<()> {
    let tree = TreeHandle::open(tree)?;
    let (stat, gid) = (tree.metadata("")?, ids.command().gid.as_raw());
    if (gives_back || stat.gid != gid) && stat.uid == ids.caller.uid.as_raw() {
        tree.walk::<TreeError>(|entry| entry.share_with_group(gid).map(|()| WalkStep::Into))?;
        tree.share_with_group(gid)?;
    }
    Ok(())
}

/// Returns the place of a kept path in the jail.
fn in_jail(kept: &WritablePath) -> PathBuf {
    Path::new(APP).join(kept.path())
}

/// Returns the path of a kept path in the data.
fn in_data(kept: &WritablePath) -> PathBuf {
    Path::new(KEPT_IN_DATA).join(kept.path())
}
