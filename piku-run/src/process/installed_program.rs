//! Programs that other packages install.

use std::path::PathBuf;

use nix::unistd::{AccessFlags, access};

/// System directories that may not be on a user's PATH.
const SYSTEM_DIRS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Finds a program on PATH or in the system directories.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&path).chain(SYSTEM_DIRS.map(PathBuf::from));
    all.map(|dir| dir.join(name)).find(|program| access(program, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some() && find_program("no-such-program").is_none());
    }
}
