//! Names that a new app can have.

#![expect(clippy::disallowed_methods, reason = "looks for an app's own folder")]

use std::fs;
use std::io;
use std::path::Path;

use piku_files::atomic_file;
use piku_layout::former_names;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_report::user_error::UserError;
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Checks that no app has the name, and that a destroyed one has left nothing.
///
/// # Errors
/// Fails with who has it.
pub(super) fn check_free(root: &PikuRoot, name: &AppName) -> anyhow::Result<()> {
    let dir = root.app(name);
    remove_empty(&dir);
    if !dir.path().exists() {
        if let Some(new) = former_names::find_successor(root, name) {
            return Err(former_names::renamed_app(name, &new).into());
        }
        return Ok(());
    }
    let what = if dir.is_there() {
        format!("{name} exists already")
    } else {
        format!("a destroyed app named {name} has left its data")
    };
    let error = UserError::new(what);
    Err(if dir.is_there() {
        error.hint("choose another name")
    } else {
        error
            .hint(format!("bring it back: piku restore {name}"))
            .hint(format!("or remove it: piku data:remove {name} --confirm {name}"))
    }
    .into())
}

/// Removes the folder of an app with nothing but its lock, such as a refused push leaves.
fn remove_empty(dir: &AppDir) {
    let is_lock = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.path() == dir.lock());
    if fs::read_dir(dir.path()).is_ok_and(|mut entries| entries.all(is_lock)) {
        // Who waits for the lock notices that it is gone.
        let _ = fs::remove_file(dir.lock());
        let _ = fs::remove_dir(dir.path());
    }
}

/// Renames a folder to that of an app, which must not exist, and syncs it.
pub(super) fn move_app_dir(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that lacks the flag. A folder with content is not replaced by a rename.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(from, to)?,
        moved => moved?,
    }
    atomic_file::sync_parent(to)
}
