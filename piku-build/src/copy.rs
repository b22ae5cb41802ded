//! Trees of files: a copy that follows no link, keeps modes and links, and shares no file with the original; and the
//! removal of a tree whatever modes a build has left in it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::disk::Need;
use crate::{interrupt, work};

/// What is left out of a copy of an app's folder: git's own, builds under way, and the given folders (a cache or an
/// output that its user keeps inside).
pub(crate) struct Leave {
    places: Vec<(u64, u64)>,
}

impl Leave {
    /// Leaves out these folders, where they are there.
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let place = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        Self { places: paths.into_iter().filter_map(place).collect() }
    }

    fn out(&self, path: &Path, meta: &fs::Metadata) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == ".git"
            || name.starts_with(work::PREFIX)
            || meta.is_dir() && self.places.contains(&(meta.dev(), meta.ino()))
    }
}

/// What a copy will take.
pub(crate) fn measure(dir: &Path, leave: &Leave) -> anyhow::Result<Need> {
    let mut need = Need::default();
    walk(dir, leave, &mut |_, meta| {
        need += Need { bytes: meta.len().next_multiple_of(4096), files: 1 };
        Ok(())
    })?;
    Ok(need)
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
        if leave.out(&path, &meta) {
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

/// Gives the owner of the tree `dir` back what a step has taken from him, and all else the modes that a copy of it would have.
pub(crate) fn settle_modes(dir: &Path) -> anyhow::Result<()> {
    let settle = |path: &Path| -> io::Result<bool> {
        let meta = fs::symlink_metadata(path)?;
        let owner = if meta.is_dir() { 0o700 } else { 0o400 };
        let mode = plain(&meta.permissions(), owner);
        if !meta.is_symlink() && mode.mode() != meta.mode() & 0o7777 {
            fs::set_permissions(path, mode)?;
        }
        Ok(meta.is_dir())
    };
    let cannot = || format!("cannot read '{}'", brief(dir));
    if settle(dir).with_context(cannot)? {
        interrupt::check()?;
        for entry in fs::read_dir(dir).with_context(cannot)? {
            settle_modes(&entry.with_context(cannot)?.path())?;
        }
    }
    Ok(())
}

/// A path that people read: of one as long as the kernel lets it be, the beginning.
fn brief(path: &Path) -> String {
    const MOST: usize = 300;
    let text = path.to_string_lossy();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        fs::create_dir_all(app.join("closed/deep")).unwrap();
        fs::create_dir_all(app.join(".git")).unwrap();
        fs::create_dir_all(app.join("cache")).unwrap();
        fs::write(app.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(app.join("run.sh"), Permissions::from_mode(0o4755)).unwrap();
        fs::write(app.join("closed/deep/x"), "x").unwrap();
        symlink("/etc/passwd", app.join("out")).unwrap();
        symlink("/etc", app.join("closed/etc")).unwrap();
        fs::set_permissions(app.join("closed"), Permissions::from_mode(0o555)).unwrap();
        dir
    }

    #[test]
    fn what_a_step_has_closed_is_opened() {
        let dir = tree();
        let app = dir.path().join("app");
        let mode = |path: &str| fs::symlink_metadata(app.join(path)).unwrap().mode() & 0o7777;
        for (path, closed) in [("closed/deep/x", 0o000), ("closed/deep", 0o000), ("cache", 0o2775)] {
            fs::set_permissions(app.join(path), Permissions::from_mode(closed)).unwrap();
        }
        settle_modes(&app).unwrap();
        assert_eq!([mode("closed/deep/x"), mode("closed/deep"), mode("closed")], [0o400, 0o700, 0o755]);
        assert_eq!([mode("cache"), mode("run.sh")], [0o775, 0o755]);
        assert!(app.join("out").is_symlink());
        assert_eq!(brief(Path::new(&"é".repeat(4000))), format!("{}…", "é".repeat(300)));
    }

    #[test]
    fn keeps_modes_and_links_and_follows_none() {
        let dir = tree();
        let (app, to) = (dir.path().join("app"), dir.path().join("to"));
        let leave = Leave::new([app.join("cache").as_path()]);
        assert!(measure(&app, &leave).unwrap().files >= 6);
        assert!(copy(&app, &to, &leave).unwrap().is_empty());
        assert!(!to.join(".git").exists() && !to.join("cache").exists());
        assert_eq!(fs::read_link(to.join("out")).unwrap(), Path::new("/etc/passwd"));
        assert!(fs::symlink_metadata(to.join("closed/etc")).unwrap().is_symlink());
        assert_eq!(fs::metadata(to.join("run.sh")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::metadata(to.join("closed")).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::read(to.join("closed/deep/x")).unwrap(), b"x");
        assert_ne!(
            fs::metadata(to.join("run.sh")).unwrap().ino(),
            fs::metadata(app.join("run.sh")).unwrap().ino()
        );
    }
}
