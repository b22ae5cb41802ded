//! Reads what an app ships, and only that: a file that is not one, that has no end, or that is a link to somebody else's
//! secrets is not read. The text of a bad line is shown to whoever pushed it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use piku_files::TreeHandle;
use piku_report::user_error::UserError;

/// No Procfile or ENV is as long as this; an endless one (`/dev/zero`) must end somewhere.
const MAX_BYTES: u64 = 64 << 20;

/// The file's bytes; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let about = || format!("cannot read '{}'", path.display());
    // A shell's <(command), /dev/stdin: not from an app's tree, and not regular files.
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return match open_of_system(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            file => read_from(file.with_context(about)?).with_context(about).map(Some),
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
            return Err(UserError::new(format!("{}: it is a link that leads out of its folder", about()))
                .hint("put the file itself there")
                .into());
        }
        Err(err) if err.kind() == io::ErrorKind::IsADirectory => {
            return Err(UserError::new(format!("{}: it is a folder", about()))
                .hint("name the file in it")
                .into());
        }
        Err(err) if err.kind() == io::ErrorKind::InvalidInput => {
            return Err(UserError::new(format!("{}: it is not a regular file", about())).into());
        }
        file => file?,
    };
    read_from(file.file).with_context(about).map(Some)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the caller's shell or the kernel holds, not an app's tree"
)]
fn open_of_system(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The bytes of a file below `root`, also when a link inside leads elsewhere inside; `None` when there is no such file.
pub(crate) fn read_below(root: &Path, below: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let about = || format!("cannot read '{}'", below.display());
    let file = match TreeHandle::open_following(root)?.open_file(below) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) if err.leads_out() => {
            return Err(UserError::new(format!("{}: a link leads out of the app's folder", about())).into());
        }
        Err(err) if matches!(err.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory) => {
            return Err(UserError::new(format!("{}: it is not a regular file", about())).into());
        }
        file => file.with_context(about)?,
    };
    read_from(file.file).with_context(about).map(Some)
}

/// All that comes from `input`.
pub(crate) fn read_from(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("longer than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}

/// The name that diagnostics give the file.
pub(crate) fn label(path: &Path, otherwise: &str) -> String {
    path.file_name().map_or_else(|| otherwise.to_owned(), |name| name.to_string_lossy().into_owned())
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
        assert_eq!(read(&tree.join("nothing")).unwrap(), None);
        for name in ["real", "inside"] {
            assert_eq!(read(&tree.join(name)).unwrap().as_deref(), Some(b"A=1\n".as_slice()), "{name}");
            assert!(read_below(&tree, Path::new(name)).unwrap().is_some(), "{name}");
        }
        assert_eq!(read_below(&tree, Path::new("dangling")).unwrap(), None);
        assert!(read(&tree.join("dangling")).is_err());
        for name in ["out", "absolute", "magic", "loop", "fifo", "."] {
            for told in [read(&tree.join(name)), read_below(&tree, Path::new(name))] {
                let told = told.unwrap_err();
                assert!(!format!("{told:#}").contains("SECRET"), "{told:#}");
            }
        }
    }
}
