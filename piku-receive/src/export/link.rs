//! Rules for symlinks of an app: the target must be in the app's tree, or below `/app` or `/data`, which
//! belong to the app inside the jail.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use piku_layout::jail::{APP, DATA};

/// Reason for refusing a symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkRefusal {
    /// The target is outside of the tree.
    Outside,
    /// The target goes down and up again, so that it depends on other links.
    UpAfterDown,
    /// The target is empty, contains a NUL or is too long.
    NoPath,
}

/// `PATH_MAX` without the NUL.
const LONGEST: usize = 4095;

/// Checks the target of a symlink `depth` directories below the top of the tree.
pub(super) fn check_link(target: &[u8], depth: usize) -> Result<(), LinkRefusal> {
    if target.is_empty() || target.contains(&0) || target.len() > LONGEST {
        return Err(LinkRefusal::NoPath);
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(target));
    let inside = [APP, DATA].iter().find_map(|own| path.strip_prefix(own).ok());
    let (path, mut above) = match inside {
        Some(below) => (below, 0),
        None if path.is_absolute() => return Err(LinkRefusal::Outside),
        None => (path, depth),
    };
    let mut down = false;
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => down = true,
            Component::ParentDir if down => return Err(LinkRefusal::UpAfterDown),
            Component::ParentDir => above = above.checked_sub(1).ok_or(LinkRefusal::Outside)?,
            Component::RootDir | Component::Prefix(_) => return Err(LinkRefusal::Outside),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_the_tree() {
        for (target, depth) in [
            ("page", 0),
            ("./page", 0),
            ("a/b/c", 0),
            ("../page", 1),
            ("../../a/b", 2),
            ("..", 1),
            (".", 0),
            ("a//b/", 0),
            ("/app", 0),
            ("/app/x", 0),
            ("/data/uploads", 5),
            ("//app/x", 0),
            ("...", 0),
        ] {
            assert_eq!(check_link(target.as_bytes(), depth), Ok(()), "{target} at {depth}");
        }
    }

    #[test]
    fn out_of_the_tree() {
        for (target, depth) in [
            ("..", 0),
            ("../x", 0),
            ("../../x", 1),
            ("/", 0),
            ("/etc/passwd", 3),
            ("/apple", 0),
            ("/app/..", 0),
            ("/app/../etc", 0),
            ("/data/..", 9),
            ("/proc/self/root", 0),
            ("./..", 0),
        ] {
            assert_eq!(
                check_link(target.as_bytes(), depth),
                Err(LinkRefusal::Outside),
                "{target} at {depth}"
            );
        }
        for target in ["a/..", "sub/../../..", "a/../b", "../a/../b", "/app/x/../../etc"] {
            assert_eq!(check_link(target.as_bytes(), 5), Err(LinkRefusal::UpAfterDown), "{target}");
        }
        for target in [&b""[..], b"a\0b", &[b'a'; 4096]] {
            assert_eq!(check_link(target, 0), Err(LinkRefusal::NoPath));
        }
    }
}
