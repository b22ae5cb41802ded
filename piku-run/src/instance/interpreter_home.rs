//! Interpreter homes: directories of the host that a jail shows in addition to the usual ones. Older
//! versions trusted the homes that a received release named, and such releases can still start.

#![expect(
    clippy::disallowed_methods,
    reason = "folders of the host are followed to where they really lie before they are judged; no file in them is opened"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use piku_report::user_error::UserError;

/// Fails if the directory is not an interpreter's home, or overlaps the root directory of piku.
///
/// # Errors
/// Also if the directory does not exist.
pub(crate) fn check(home: &Path, root: &Path) -> anyhow::Result<()> {
    let real = |path: &Path| {
        fs::canonicalize(path)
            .with_context(|| format!("cannot look at '{}', which the release needs", path.display()))
    };
    let (folder, root) = (real(home)?, real(root)?);
    if folder.starts_with(&root) || root.starts_with(&folder) || !has_interpreter(&folder) {
        let what = format!("the release names '{}', which is not the home of an interpreter", home.display());
        return Err(UserError::new(what).hint("push again to build a new release").into());
    }
    Ok(())
}

/// Returns whether the directory contains an interpreter that is not a link to another home.
fn has_interpreter(folder: &Path) -> bool {
    fs::read_dir(folder.join("bin")).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let is_named = ["python", "pypy", "ruby"].iter().any(|kind| name.to_string_lossy().starts_with(kind));
        // Metadata of the entry itself; links are not followed.
        is_named && entry.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_homes_of_interpreters_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let install = |home: &str, name: &str| {
            fs::create_dir_all(at(home).join("bin")).unwrap();
            fs::write(at(home).join("bin").join(name), "").unwrap();
            fs::set_permissions(at(home).join("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        fs::create_dir_all(at("user/.piku")).unwrap();
        install("user/.pyenv/versions/3.12.1", "python3.12");
        install("rbenv/versions/3.2.2", "ruby");
        install("user/.piku/apps/evil/data", "python3");
        install("user", "python3");
        install("local", "tool");
        symlink("/usr/bin/python3", at("local/bin/python3")).unwrap();
        fs::create_dir_all(at("user/.ssh")).unwrap();
        symlink("user/.piku/apps/evil/data", at("alias")).unwrap();
        let check = |path: &str| check(&at(path), &at("user/.piku"));
        for good in ["user/.pyenv/versions/3.12.1", "rbenv/versions/3.2.2"] {
            check(good).unwrap();
        }
        for bad in
            ["user", "user/.ssh", "user/.piku", "user/.piku/apps/evil/data", "alias", "local", "gone", "/"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
