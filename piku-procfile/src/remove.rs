//! Removing what there is at a path, whatever it is.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a file, a link (not what it points to) or a whole folder; nothing there is no error. Folders that cannot be
/// written, as Go's module cache makes them, are opened first.
///
/// # Errors
/// When something stays that this process may not remove.
pub fn all(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => folder(path),
        Ok(_) => fs::remove_file(path),
        Err(err) => Err(err),
    };
    match removed {
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(err) if err.kind() == ErrorKind::PermissionDenied => {
            open(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

fn open(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        fs::create_dir_all(at("folder/closed/deep")).unwrap();
        fs::write(at("folder/closed/deep/file"), "x").unwrap();
        for closed in ["folder/closed/deep", "folder/closed"] {
            fs::set_permissions(at(closed), Permissions::from_mode(0o555)).unwrap();
        }
        fs::create_dir(at("kept")).unwrap();
        std::os::unix::fs::symlink("kept", at("link")).unwrap();
        for name in ["file", "folder", "link", "nothing"] {
            all(&at(name)).unwrap();
            assert!(fs::symlink_metadata(at(name)).is_err(), "{name}");
        }
        assert!(at("kept").is_dir());
    }
}
