//! Reads the files of an app with limits: diagnostics show lines of these files to the user who pushed, so
//! a symlink must not lead to the secrets of another app, and a device or an endless file must not block a
//! deploy.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use piku_files::{FileKind, TreeHandle};
use piku_report::user_error::UserError;

/// Far longer than any Procfile or ENV. Stops at an endless file such as `/dev/zero`.
const MAX_BYTES: u64 = 64 << 20;

/// Reads a regular file; `None` if it does not exist. A symlink must not lead out of the file's directory.
pub(crate) fn read_app_file(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let about = || format!("cannot read '{}'", path.display());
    // <(command) and /dev/stdin are not regular files, and not in an app tree.
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return match open_device(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            file => read_to_end(file.with_context(about)?).with_context(about).map(Some),
        };
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = Path::new(path.file_name().unwrap_or(OsStr::new(".")));
    let tree = match TreeHandle::open_following(parent) {
        Err(err) if err.is_missing() => return Ok(None),
        tree => tree?,
    };
    if tree.find(name)?.is_none() {
        return Ok(None);
    }
    let file = match tree.open_file(name) {
        Err(err) if err.leads_out() => {
            return Err(UserError::new(format!(
                "{}: it is a symlink that leads out of its directory",
                about()
            ))
            .hint("replace the symlink by the file")
            .into());
        }
        Err(err) if err.kind() == io::ErrorKind::IsADirectory => {
            return Err(UserError::new(format!("{}: it is a directory", about()))
                .hint("name the file in it")
                .into());
        }
        Err(err) if err.kind() == io::ErrorKind::InvalidInput => {
            return Err(UserError::new(format!("{}: it is not a regular file", about())).into());
        }
        file => file?,
    };
    read_to_end(file.file).with_context(about).map(Some)
}

/// Lists the files beside a path; none if their folder cannot be read.
pub(crate) fn list_siblings(path: &Path) -> Vec<String> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = TreeHandle::open_following(parent).and_then(|tree| tree.read_dir("")).unwrap_or_default();
    let files = entries.into_iter().filter(|entry| entry.kind != FileKind::Folder);
    files.filter_map(|entry| entry.name.into_string().ok()).collect()
}

#[expect(clippy::disallowed_methods, reason = "a file of the kernel, not in an app tree")]
fn open_device(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Reads a regular file of the tree `root`; `None` if it does not exist. A symlink must not lead out of
/// the tree.
pub(crate) fn read_tree_file(root: &Path, below: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let about = || format!("cannot read '{}'", below.display());
    let file = match TreeHandle::open_following(root)?.open_file(below) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) if err.leads_out() => {
            return Err(UserError::new(format!("{}: a symlink leads out of the app tree", about())).into());
        }
        Err(err) if matches!(err.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory) => {
            return Err(UserError::new(format!("{}: it is not a regular file", about())).into());
        }
        file => file.with_context(about)?,
    };
    read_to_end(file.file).with_context(about).map(Some)
}

/// Reads all of `input`, up to the limit.
pub(crate) fn read_to_end(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("longer than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}

/// Returns the file name for diagnostics.
pub(crate) fn label(path: &Path, default: &str) -> String {
    path.file_name().map_or_else(|| default.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_of_the_folder_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("app"), dir.path().join("outside"));
        fs::create_dir(&tree).unwrap();
        fs::write(&outside, "SECRET=1\n").unwrap();
        fs::write(tree.join("real"), "A=1\n").unwrap();
        symlink("real", tree.join("inside")).unwrap();
        symlink("../outside", tree.join("out")).unwrap();
        symlink(&outside, tree.join("absolute")).unwrap();
        symlink("/proc/self/root/etc/passwd", tree.join("magic")).unwrap();
        symlink("loop", tree.join("loop")).unwrap();
        symlink("nowhere", tree.join("dangling")).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(tree.join("fifo")).status();
        assert!(fifo.unwrap().success());
        assert_eq!(read_app_file(&tree.join("nothing")).unwrap(), None);
        for name in ["real", "inside"] {
            assert_eq!(
                read_app_file(&tree.join(name)).unwrap().as_deref(),
                Some(b"A=1\n".as_slice()),
                "{name}"
            );
            assert!(read_tree_file(&tree, Path::new(name)).unwrap().is_some(), "{name}");
        }
        assert_eq!(read_tree_file(&tree, Path::new("dangling")).unwrap(), None);
        assert!(read_app_file(&tree.join("dangling")).is_err());
        for name in ["out", "absolute", "magic", "loop", "fifo", "."] {
            for result in [read_app_file(&tree.join(name)), read_tree_file(&tree, Path::new(name))] {
                let message = format!("{:#}", result.unwrap_err());
                assert!(!message.contains("SECRET"), "{message}");
            }
        }
    }
}
