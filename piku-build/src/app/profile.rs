//! Files in `.profile.d`, which a shell reads before each command of a release.

use std::ffi::OsStr;
use std::path::Path;

use piku_files::{FileKind, TreeHandle};

use crate::errors;

/// Directory of the files that a shell reads before each command.
const FOLDER: &str = ".profile.d";

/// Returns whether a shell reads files of the tree before each command.
pub(crate) fn is_in(tree: &TreeHandle) -> bool {
    let entries = tree.read_dir(FOLDER).unwrap_or_default();
    entries.iter().any(|entry| Path::new(&entry.name).extension() == Some(OsStr::new("sh")))
}

/// Writes a file that is read before the app's own files, which may change its variables.
pub(crate) fn write_file(tree: &TreeHandle, name: &str, text: &str) -> anyhow::Result<()> {
    match tree.find(FOLDER)?.map(|stat| stat.kind) {
        None => tree.create_dir(FOLDER)?,
        Some(FileKind::Folder) => {}
        Some(kind) => return Err(errors::profile_is_no_folder(FOLDER, kind).into()),
    }
    Ok(tree.write(Path::new(FOLDER).join(format!("00-{name}")), text, 0o644)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    #[test]
    fn only_a_folder_of_the_tree_takes_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let top = TreeHandle::open(dir.path()).unwrap();
        let put_into = |name: &str| {
            top.create_dir_all(name).unwrap();
            let tree = top.subtree(name).unwrap();
            (write_file(&tree, "java.sh", "x").map_err(|err| err.to_string()), tree)
        };
        let (made, tree) = put_into("new");
        assert_eq!(made, Ok(()));
        assert!(is_in(&tree));
        assert_eq!(tree.read_text(".profile.d/00-java.sh", 10).unwrap(), "x");

        top.create_dir_all("outside").unwrap();
        for (name, target) in [("out", "../outside"), ("inside", "other")] {
            top.create_dir_all(name).unwrap();
            top.create_dir_all("inside/other").unwrap();
            top.symlink(target, Path::new(name).join(FOLDER)).unwrap();
            let (refused, tree) = put_into(name);
            assert!(refused.unwrap_err().contains("'.profile.d' is a link"), "{name}");
            assert!(!is_in(&tree));
        }
        assert!(top.read_dir("outside").unwrap().is_empty());

        top.create_dir_all("pipe").unwrap();
        mkfifo(&dir.path().join("pipe").join(FOLDER), Mode::S_IRWXU).unwrap();
        assert!(put_into("pipe").0.unwrap_err().contains("is a named pipe"));

        // What lies in the file's own place is replaced, not written through.
        top.create_dir_all("link/.profile.d").unwrap();
        top.symlink("/etc/passwd", "link/.profile.d/00-java.sh").unwrap();
        let (made, tree) = put_into("link");
        assert_eq!(made, Ok(()));
        assert!(tree.symlink_metadata(".profile.d/00-java.sh").unwrap().is_file());
    }
}
