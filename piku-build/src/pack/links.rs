//! Checks the targets of a release's links: they stay in the release or lead to directories that every jail
//! shows. Other links could lead anyone outside the jail, such as a web server, to other files.

use std::path::{Component, Path};

use piku_layout::jail::{APP, DATA, LAYERS};

/// Directories of the jail and those of the host that it shows.
const SHOWN: [&str; 17] = [
    APP,
    LAYERS,
    DATA,
    "/tmp",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ssl",
    "/dev/null",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
];

/// Returns whether a link at `path`, relative to the top of its tree or layer, may have this target.
///
/// `..` counts only in front: the folders above a link are real ones, so what it says there is exact; behind
/// a name it would depend on where that leads.
pub(super) fn may_lead(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    let mut names = 0_usize;
    for part in target.components() {
        match part {
            Component::ParentDir if names == 0 && depth > 0 && !target.is_absolute() => depth -= 1,
            Component::ParentDir | Component::Prefix(_) => return false,
            Component::Normal(_) => names += 1,
            Component::CurDir | Component::RootDir => {}
        }
    }
    !target.as_os_str().is_empty()
        && (!target.is_absolute() || SHOWN.iter().any(|shown| target.starts_with(shown)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_and_to_what_is_shown() {
        for (path, target, may) in [
            ("bin/python", "python3", true),
            ("bin/python3", "/usr/bin/python3.13", true),
            ("node_modules/.bin/x", "../x/bin/x.js", true),
            ("a", "../b", false),
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("a/b", "x/../../../../etc/passwd", false),
            ("a", "/etc/passwd", false),
            ("a", "/home/piku/.ssh", false),
            ("a", "/usr/../home/piku", false),
            ("a", "/usrlocal", false),
            ("a", "/data/uploads", true),
            ("a", "/dev/mem", false),
            ("a", "", false),
            ("a", ".", true),
        ] {
            assert_eq!(may_lead(Path::new(path), Path::new(target)), may, "{path} -> {target}");
        }
    }
}
