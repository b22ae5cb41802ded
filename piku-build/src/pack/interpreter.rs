//! Interpreters that a release may require, by their usual names. A release learns nothing about other
//! programs of the machine.

use std::path::{Component, Path, PathBuf};

use super::jvm::JAVAS;
use crate::tree::root_view;

/// Directories in which systems install interpreters.
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/bin"];
/// Their names, with or without a version at the end.
const NAMES: [&str; 11] =
    ["python", "pypy", "ruby", "node", "nodejs", "java", "perl", "php", "bash", "dash", "sh"];

/// Returns whether a release may require this path. `homes` are directories of interpreters besides the
/// system's.
pub(super) fn is_interpreter(path: &Path, homes: &[PathBuf]) -> bool {
    let is_plain = path.is_absolute()
        && path.components().skip(1).all(|part| matches!(part, Component::Normal(_)))
        && path.components().collect::<PathBuf>().as_os_str() == path.as_os_str();
    if !is_plain {
        return false;
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_in = |folder: &Path| path.parent() == Some(folder);
    is_command(name)
        && (FOLDERS.iter().any(|folder| is_in(Path::new(folder)))
            || homes.iter().any(|home| is_in(&home.join("bin")))
            || path.starts_with(JAVAS) && path.components().count() <= 8)
}

/// Returns whether this is an interpreter's name.
pub(super) fn is_command(name: &str) -> bool {
    NAMES.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

/// Returns whether the path is in one of the system's directories.
pub(super) fn is_of_system(program: &Path) -> bool {
    FOLDERS.iter().any(|folder| program.parent() == Some(Path::new(folder)))
}

/// Returns whether the system has this command.
pub(super) fn has_command(name: &str) -> bool {
    FOLDERS.iter().any(|folder| root_view::is_executable(&Path::new(folder).join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_and_nothing_else() {
        let homes = [PathBuf::from("/home/piku/.rbenv/versions/3.2.2")];
        for good in [
            "/usr/bin/python3.11",
            "/usr/local/bin/python3",
            "/bin/sh",
            "/usr/bin/node",
            "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
            "/usr/lib/jvm/java-8/jre/bin/java",
            "/home/piku/.rbenv/versions/3.2.2/bin/ruby",
        ] {
            assert!(is_interpreter(Path::new(good), &homes), "{good}");
        }
        for bad in [
            "/home/piku/.ssh/id_ed25519",
            "/home/piku/.piku/apps/victim/current",
            "/home/piku/.piku/apps/victim/bin/python3",
            "/etc/alternatives/java",
            "/usr/bin/../../home/piku/python3",
            "/usr/bin/./python3",
            "/usr/bin//python3",
            "/usr/bin/python3/",
            "/usr/bin/passwd",
            "/usr/bin/python3-config",
            "/usr/lib/jvm/a/b/c/d/java",
            "/usr/lib/jvm/a/../../x/java",
            "usr/bin/python3",
            "python3",
            "/proc/self/root/usr/bin/python3",
            "/home/piku/.rbenv/versions/3.2.1/bin/ruby",
            "/home/piku/.rbenv/versions/3.2.2/lib/ruby",
            "",
            "/",
        ] {
            assert!(!is_interpreter(Path::new(bad), &homes), "{bad}");
        }
    }
}
