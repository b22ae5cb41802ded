//! Symlinks on the way to a granted path, such as `/dev/serial0`. They are followed only where root alone
//! could have made them: an app that may write to the directory of one could point it anywhere.

#![expect(
    clippy::disallowed_methods,
    reason = "paths of the host; each part is looked at before it is followed"
)]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::GrantProblem;

/// Largest number of symlinks on a path, as in the kernel.
const MOST_LINKS: usize = 40;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Returns the path without symlinks.
///
/// # Errors
/// Fails if nothing lies there, or a symlink is in a directory that other users than root can write to.
pub(super) fn follow_symlinks(path: &Path) -> Result<PathBuf, GrantProblem> {
    let mut rest: VecDeque<OsString> =
        path.components().skip(1).map(|part| part.as_os_str().to_owned()).collect();
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == Component::ParentDir.as_os_str() {
            real.pop();
            continue;
        }
        let next = real.join(&part);
        let stat = fs::symlink_metadata(&next).map_err(|err| explain(&next, &err))?;
        if !stat.is_symlink() {
            real = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS || !is_roots_alone(&real).map_err(|err| explain(&real, &err))? {
            let why =
                format!("is reached by the symlink '{}', which others than root can change", next.display());
            return Err(GrantProblem::Refused {
                why,
                hint: Some("grant the path that it leads to".to_owned()),
            });
        }
        let target = fs::read_link(&next).map_err(|err| explain(&next, &err))?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        let parts =
            target.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
        for part in parts.rev() {
            rest.push_front(part.as_os_str().to_owned());
        }
    }
    Ok(real)
}

/// Returns whether only root can change the entries of a directory.
fn is_roots_alone(folder: &Path) -> io::Result<bool> {
    let stat = fs::symlink_metadata(folder)?;
    Ok(stat.uid() == 0 && stat.mode() & WRITABLE_BY_OTHERS == 0)
}

fn explain(path: &Path, err: &io::Error) -> GrantProblem {
    match err.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => GrantProblem::Missing,
        _ => GrantProblem::Refused {
            why: format!("cannot be looked at: '{}': {err}", path.display()),
            hint: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_others_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(dir.path()).unwrap().join(name);
        fs::create_dir(at("real")).unwrap();
        symlink("real", at("link")).unwrap();
        assert_eq!(follow_symlinks(&at("real")), Ok(at("real")));
        assert_eq!(follow_symlinks(&at("none")), Err(GrantProblem::Missing));
        // For any user of this test, the directory of the link is opened to others.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        for link in ["link", "link/x"] {
            let problem = follow_symlinks(&at(link)).unwrap_err().to_string();
            assert!(problem.contains("/link', which others than root can change"), "{problem}");
        }
        // The host's own links are root's, here /proc/self and, on most hosts, /bin.
        assert!(follow_symlinks(Path::new("/bin/sh")).unwrap().is_file());
    }
}
