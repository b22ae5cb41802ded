//! Removals in two steps. A directory is renamed to `.NAME.gone`, which takes no time and hides it from every
//! reader; later its content is removed, without a lock. A killed removal is finished by the next one, and
//! several may work on the same directory.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use piku_files::free_space::{self, SpaceNeeded};
use piku_files::{TreeError, TreeHandle};
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, GONE_SUFFIX, PikuRoot};

use crate::layers::TOOLS;
use crate::spare_tree;

/// Number of directories of the same name that can be withdrawn before the first is removed.
const MAX_SAME: u32 = 1000;

/// Returns true if an entry of this name waits for its removal.
#[must_use]
pub fn is_withdrawn(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(GONE_SUFFIX.as_bytes())
}

/// Returns true if entries that are withdrawn in this directory of an app are found and removed later.
#[must_use]
pub fn can_withdraw_in(app: &AppDir, folder: &Path) -> bool {
    folder == app.cache().join(TOOLS) || own_folders(app).iter().any(|own| own == folder)
}

/// Renames the entry `path` of one of piku's own directories, and returns its new path, which is to be removed. A symlink
/// is not followed.
///
/// # Errors
/// Fails if it cannot be renamed.
pub fn withdraw(path: &Path) -> Result<PathBuf, TreeError> {
    let folder = TreeHandle::open_following(path.parent().unwrap_or(path))?;
    let name = path.file_name().unwrap_or_default();
    let mut number = 0;
    loop {
        let mut gone = OsString::from(".");
        gone.push(name);
        if number > 0 {
            gone.push(format!(".{number}"));
        }
        gone.push(GONE_SUFFIX);
        match folder.rename(name, &folder, &gone) {
            // An earlier one is still being removed.
            Err(err) if is_taken(&err) && number < MAX_SAME => number += 1,
            renamed => return renamed.map(|()| path.with_file_name(gone)),
        }
    }
}

fn is_taken(err: &TreeError) -> bool {
    // A symlink or a file may have the name too.
    matches!(
        err.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}

/// Lists the withdrawn entries of an app. Directories that cannot be read have none.
#[must_use]
pub fn list_withdrawn(app: &AppDir) -> Vec<PathBuf> {
    let listed = folders(app).into_iter().flat_map(|folder| {
        let names = withdrawn_names(&folder);
        names.into_iter().map(move |name| folder.path().join(name))
    });
    listed.collect()
}

/// Removes the withdrawn entries of an app. Returns whether there were any.
///
/// # Errors
/// Fails if one cannot be removed, after trying the others.
pub fn finish_removals(app: &AppDir) -> Result<bool, TreeError> {
    remove_withdrawn(app, |_| false)
}

/// Removes the withdrawn entries of an app, except for a release whose tree the next build can take.
///
/// # Errors
/// As [`finish_removals`].
pub fn finish_removals_but_spare(app: &AppDir) -> Result<(), TreeError> {
    let releases = TreeHandle::open_following(&app.releases());
    let spare = releases.ok().and_then(|releases| spare_tree::find(&releases).pop());
    remove_withdrawn(app, |path| spare.as_ref().is_some_and(|spare| *path == app.releases().join(spare)))
        .map(drop)
}

fn remove_withdrawn(app: &AppDir, stays: impl Fn(&PathBuf) -> bool) -> Result<bool, TreeError> {
    let mut has_any = false;
    let mut result = Ok(());
    // The handles lead to the directories even if the app is renamed meanwhile.
    for folder in folders(app) {
        for name in withdrawn_names(&folder) {
            if stays(&folder.path().join(&name)) {
                continue;
            }
            has_any = true;
            let _lock = spare_tree::lock_removal(&folder, &name);
            result = result.and(folder.remove_all(name));
        }
    }
    result.map(|()| has_any)
}

/// Checks the free space as [`free_space::check_keeping`] does. If space is missing, first finishes the removals of all
/// apps of the root that `dir` is in.
///
/// # Errors
/// As [`free_space::check`].
pub fn check_space_keeping(dir: &Path, need: SpaceNeeded, reserve: u64, what: &str) -> anyhow::Result<()> {
    let checked = free_space::check_keeping(dir, need, reserve, what);
    if checked.is_ok() || !finish_beside(dir) {
        return checked;
    }
    free_space::check_keeping(dir, need, reserve, what)
}

/// Checks as [`check_space_keeping`] does, for a directory that need not be an app's.
///
/// # Errors
/// As [`free_space::check`].
pub fn check_space_of(
    root: &PikuRoot,
    dir: &Path,
    need: SpaceNeeded,
    reserve: u64,
    what: &str,
) -> anyhow::Result<()> {
    let checked = free_space::check_keeping(dir, need, reserve, what);
    if checked.is_ok() || !finish_all(root) {
        return checked;
    }
    free_space::check_keeping(dir, need, reserve, what)
}

/// Checks as [`check_space_keeping`] does, without a further reserve.
///
/// # Errors
/// As [`free_space::check`].
pub fn check_space(dir: &Path, need: SpaceNeeded, what: &str) -> anyhow::Result<()> {
    check_space_keeping(dir, need, 0, what)
}

/// Finishes the removals of all apps beside that of `dir`, a path in its directory. Returns whether there were any.
#[must_use]
pub fn finish_beside(dir: &Path) -> bool {
    root_of(dir).is_some_and(|root| finish_all(&root))
}

fn finish_all(root: &PikuRoot) -> bool {
    let apps = root.supervised().unwrap_or_default();
    // One that cannot be removed does not keep the space of the others.
    let finished: Vec<bool> =
        apps.iter().map(|app| finish_removals(&root.app(app)).unwrap_or(true)).collect();
    finished.contains(&true)
}

/// Returns the root of the app in whose directory `dir` is.
fn root_of(dir: &Path) -> Option<PikuRoot> {
    let dir = std::path::absolute(dir).ok()?;
    let found = dir.ancestors().filter(|at| {
        let name = at.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<AppName>().ok());
        let parent = at.parent().and_then(Path::file_name);
        name.is_some() && parent == Some(OsStr::new("apps")) && is_app(at)
    });
    // The outermost one: what is further down may be of the app's own making.
    let app = found.last()?;
    PikuRoot::new(Some(app.parent()?.parent()?.to_owned())).ok()
}

/// Returns true for the directory of an app, which has no releases before its first deploy.
fn is_app(dir: &Path) -> bool {
    let Ok(dir) = TreeHandle::open_following(dir) else { return false };
    ["releases", "repo.git"].iter().any(|name| dir.symlink_metadata(name).is_ok_and(|stat| stat.is_dir()))
}

fn own_folders(app: &AppDir) -> [PathBuf; 4] {
    [app.path().to_owned(), app.releases(), app.layers(), app.cache()]
}

/// Opens the directories of an app in which entries are withdrawn.
fn folders(app: &AppDir) -> Vec<TreeHandle> {
    let own = own_folders(app);
    let tools = || {
        // Builds may write to the cache, and replace the directory by a symlink.
        TreeHandle::open_following(&app.cache()).and_then(|cache| cache.subtree(TOOLS))
    };
    let opened = own.iter().map(|folder| TreeHandle::open_following(folder)).chain([tools()]);
    opened.filter_map(Result::ok).collect()
}

pub(crate) fn withdrawn_names(folder: &TreeHandle) -> Vec<OsString> {
    let entries = folder.read_dir("").unwrap_or_default().into_iter();
    entries.map(|entry| entry.name).filter(|name| is_withdrawn(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn app() -> (tempfile::TempDir, AppDir) {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        for folder in [app.releases(), app.layers(), app.cache()] {
            fs::create_dir_all(folder).unwrap();
        }
        (dir, app)
    }

    #[test]
    fn a_withdrawn_directory_is_removed_later() {
        let (dir, app) = app();
        let victim = dir.path().join("victim");
        fs::create_dir_all(victim.join(".x.gone")).unwrap();
        // The cache is used again before the removal; the second is withdrawn beside a symlink.
        symlink(&victim, app.cache().join(".pip.1.gone")).unwrap();
        for gone in [".pip.gone", ".pip.2.gone"] {
            fs::create_dir_all(app.cache().join("pip/deep")).unwrap();
            fs::set_permissions(app.cache().join("pip/deep"), Permissions::from_mode(0o000)).unwrap();
            assert_eq!(withdraw(&app.cache().join("pip")).unwrap(), app.cache().join(gone));
        }
        symlink(&victim, app.cache().join(TOOLS)).unwrap();
        fs::create_dir_all(app.release(1)).unwrap();
        withdraw(&app.release(1)).unwrap();
        assert_eq!(app.release_numbers().unwrap(), [0; 0]);
        assert_eq!(list_withdrawn(&app).len(), 4);
        assert!(finish_removals(&app).unwrap() && !finish_removals(&app).unwrap());
        assert_eq!(list_withdrawn(&app), [""; 0].map(PathBuf::from));
        assert!(victim.join(".x.gone").is_dir());
    }

    #[test]
    fn several_removals_work_on_one_directory() {
        let (_dir, app) = app();
        for number in 0..300 {
            fs::create_dir_all(app.release(1).join(format!("{}/{number}", number % 7))).unwrap();
        }
        withdraw(&app.release(1)).unwrap();
        std::thread::scope(|scope| {
            let removals: Vec<_> = (0..4).map(|_| scope.spawn(|| finish_removals(&app).unwrap())).collect();
            assert!(removals.into_iter().any(|one| one.join().unwrap()));
        });
        assert!(fs::read_dir(app.releases()).unwrap().next().is_none());
    }

    #[test]
    fn missing_space_finishes_removals() {
        let (dir, app) = app();
        let other = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"shop".parse().unwrap());
        let inner = app.release(2).join("app/apps/inner");
        for release in [other.release(1), app.release(1), inner.join("releases/1")] {
            fs::create_dir_all(&release).unwrap();
            withdraw(&release).unwrap();
        }
        check_space(&inner, SpaceNeeded { bytes: 1, files: 1 }, "the app").unwrap();
        assert_eq!(list_withdrawn(&app).len(), 1, "nothing is missing");
        assert!(can_withdraw_in(&app, &app.releases()) && !can_withdraw_in(&app, &app.release(2)));
        let need = SpaceNeeded { bytes: u64::MAX, files: 0 };
        assert!(check_space(&inner, need, "the app").is_err());
        assert!(list_withdrawn(&app).is_empty() && list_withdrawn(&other).is_empty());
        assert!(inner.join("releases/.1.gone").is_dir(), "it is of the app's own making");
        // Neither the root nor an app before its first release is in a directory with releases.
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let first = root.app(&"first".parse().unwrap());
        fs::create_dir_all(first.repo()).unwrap();
        for at in [root.path(), first.path()] {
            fs::create_dir_all(other.release(2)).unwrap();
            withdraw(&other.release(2)).unwrap();
            assert!(check_space_of(&root, at, need, 0, "the app").is_err());
            assert!(list_withdrawn(&other).is_empty());
            assert!(!finish_beside(at));
        }
        fs::create_dir_all(other.release(2)).unwrap();
        withdraw(&other.release(2)).unwrap();
        assert!(finish_beside(first.path()) && list_withdrawn(&other).is_empty());
    }
}
