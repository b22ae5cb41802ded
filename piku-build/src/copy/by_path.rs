//! The same by paths, for the runtimes that do not hold their trees yet.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Leave;
use crate::{interrupt, work};

impl Leave {
    fn out_by_path(&self, path: &Path, meta: &fs::Metadata) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == ".git"
            || name.starts_with(work::PREFIX)
            || meta.is_dir() && self.places.contains(&(meta.dev(), meta.ino()))
    }
}

/// Copies the tree `from` to the new folder `to`. Returns what was left out since it is no file, folder or link.
pub(crate) fn copy(from: &Path, to: &Path, leave: &Leave) -> anyhow::Result<Vec<PathBuf>> {
    let mut odd = Vec::new();
    let mut folders = Vec::new();
    walk(from, leave, &mut |path, meta| {
        let below = path.strip_prefix(from).unwrap_or(path);
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        let cannot = || format!("cannot copy '{}' to '{}'", path.display(), target.display());
        if meta.is_dir() {
            fs::create_dir(&target).with_context(cannot)?;
            folders.push((target, meta.permissions()));
        } else if meta.is_symlink() {
            fs::read_link(path).and_then(|link| symlink(link, &target)).with_context(cannot)?;
        } else if meta.is_file() {
            copy_file(path, meta, &target).with_context(cannot)?;
        } else {
            odd.push(below.to_owned());
        }
        Ok(())
    })?;
    // A folder without the right to write is filled first.
    for (folder, permissions) in folders.into_iter().rev() {
        fs::set_permissions(&folder, plain(&permissions, 0o700))
            .with_context(|| format!("cannot set the mode of '{}'", folder.display()))?;
    }
    Ok(odd)
}

/// The content (shared by reflink where the file system can), the mode and the time.
fn copy_file(from: &Path, meta: &fs::Metadata, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::set_permissions(to, plain(&meta.permissions(), 0o400))?;
    // A file's owner may set its times through a descriptor that only reads.
    File::open(to)?.set_modified(meta.modified()?)
}

/// The mode without set-uid, set-gid and sticky, and with what its owner needs.
fn plain(permissions: &Permissions, owner: u32) -> Permissions {
    Permissions::from_mode(permissions.mode() & 0o777 | owner)
}

/// Calls `visit` for `dir` and all below it, a folder before what is in it; follows no link.
pub(crate) fn walk(
    dir: &Path,
    leave: &Leave,
    visit: &mut dyn FnMut(&Path, &fs::Metadata) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    interrupt::check()?;
    let cannot = |path: &Path| format!("cannot read '{}'", path.display());
    visit(dir, &fs::symlink_metadata(dir).with_context(|| cannot(dir))?)?;
    for entry in fs::read_dir(dir).with_context(|| cannot(dir))? {
        let entry = entry.with_context(|| cannot(dir))?;
        let path = entry.path();
        let meta = entry.metadata().with_context(|| cannot(&path))?;
        if leave.out_by_path(&path, &meta) {
            continue;
        }
        if meta.is_dir() {
            walk(&path, leave, visit)?;
        } else {
            visit(&path, &meta)?;
        }
    }
    Ok(())
}
