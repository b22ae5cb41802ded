//! Files of an app's tree by their paths in it, with errors that its author understands: a link that leads
//! out, a named pipe where a file should be, a text without an end.

use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use nix::errno::Errno;
use piku_files::{FileStat, FolderEntry, TreeHandle};

use crate::app::app_source::normalize_path;
use crate::errors;

/// The longest file of an app that is read into memory.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// Reads a file; `None` if it does not exist.
///
/// # Errors
/// Fails if it is not a file, is a link that leads out of the tree, is huge, or cannot be read.
pub(crate) fn read_bytes(tree: &TreeHandle, name: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(stat) = find_file(tree, name)? else { return Ok(None) };
    if !stat.is_file() {
        return Err(errors::not_a_file(name, stat.kind).into());
    }
    match tree.read_bounded(resolve_path(tree, name)?, MAX_FILE) {
        Err(err) if err.kind() == io::ErrorKind::FileTooLarge => {
            Err(errors::huge_file(name, stat.len, MAX_FILE).into())
        }
        text => text.map(Some).with_context(|| format!("cannot read '{}'", name.display())),
    }
}

/// Returns what a path leads to after its links are resolved; `None` if nothing exists there.
///
/// # Errors
/// Fails if it leads out of the tree, or is a broken or circular link.
pub(crate) fn find_file(tree: &TreeHandle, name: &Path) -> anyhow::Result<Option<FileStat>> {
    let below = resolve_path(tree, name)?;
    match tree.metadata(&below) {
        Ok(stat) => Ok(Some(stat)),
        Err(err) if err.leads_out() => Err(errors::leads_out(name).into()),
        // No file can have such a name.
        Err(err) if err.raw_os_error() == Some(Errno::ENAMETOOLONG as i32) => Ok(None),
        Err(err) if err.is_missing() => match tree.find(&below) {
            Ok(Some(stat)) if stat.is_symlink() => Err(errors::dangling(name).into()),
            _ => Ok(None),
        },
        Err(err) if tree.find(&below).is_ok_and(|found| found.is_some_and(|stat| stat.is_symlink())) => {
            Err(errors::link_in_circle(name, &err).into())
        }
        Err(err) => Err(err.into()),
    }
}

/// Lists a directory, sorted by name.
///
/// # Errors
/// Fails if it cannot be read, or leads out of the tree.
pub(crate) fn list_folder(tree: &TreeHandle, name: &Path) -> anyhow::Result<Vec<FolderEntry>> {
    tree.read_dir(resolve_path(tree, name)?)
        .map_err(|err| if err.leads_out() { errors::leads_out(name).into() } else { err.into() })
}

/// Creates the directory `path` and its parents if they are missing.
///
/// # Errors
/// Fails if a step has left a link there that leads out of the tree, or something else than a directory.
pub(crate) fn make_folder(tree: &TreeHandle, path: &Path) -> anyhow::Result<()> {
    let Err(err) = tree.create_dir_all(path) else { return Ok(()) };
    let mut way: Vec<&Path> = path.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    way.reverse();
    for part in way {
        match tree.metadata(part) {
            Ok(stat) if stat.is_dir() => {}
            Ok(stat) => return Err(errors::not_a_folder(part, stat.kind).into()),
            Err(why) if why.leads_out() => return Err(errors::placed_outside(part).into()),
            Err(_) => break,
        }
    }
    Err(err.into())
}

/// Returns the path without `.` and `..`, by its text alone.
fn resolve_path(tree: &TreeHandle, name: &Path) -> anyhow::Result<PathBuf> {
    let tidied = normalize_path(name);
    let below = tidied.strip_prefix(tree.path()).unwrap_or(&tidied);
    if below.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(below.to_owned());
    }
    Err(errors::leads_out(name).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    #[test]
    fn only_texts_inside_the_tree_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        fs::create_dir_all(app.join("sub")).unwrap();
        fs::write(dir.path().join("secret"), "hunter2").unwrap();
        fs::write(app.join("real.txt"), "six\n").unwrap();
        let odd = OsStr::from_bytes(b"\xff\xfe");
        fs::write(app.join(odd), "odd\n").unwrap();
        mkfifo(&app.join("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(app.join("socket")).unwrap();
        File::create(app.join("sparse")).unwrap().set_len(10 << 30).unwrap();
        for (target, link) in [
            ("real.txt", "good"),
            ("../good", "sub/chain"),
            ("../secret", "out"),
            ("sub/../../secret", "around"),
            ("hop/secret", "chain-out"),
            ("..", "hop"),
            ("/dev/zero", "endless"),
            ("/proc/self/fd/0", "magic"),
            ("/app/real.txt", "absolute"),
            ("nowhere", "gone"),
            ("circle", "circle"),
            ("pipe", "to-pipe"),
        ] {
            symlink(target, app.join(link)).unwrap();
        }
        let tree = TreeHandle::open(&app).unwrap();
        let text = |name: &str| read_bytes(&tree, Path::new(name));
        for name in ["real.txt", "good", "sub/chain", "./sub/../good"] {
            assert_eq!(text(name).unwrap().unwrap(), b"six\n", "{name}");
        }
        assert_eq!(super::read_bytes(&tree, Path::new(odd)).unwrap().unwrap(), b"odd\n");
        let long = "n".repeat(256);
        for name in ["none.txt", "real.txt/x", "none/x", &long] {
            assert_eq!(text(name).unwrap(), None, "{name}");
        }
        for (names, why) in [
            (
                &["out", "around", "chain-out", "endless", "magic", "absolute", "../secret", "/etc/passwd"][..],
                "out of the app",
            ),
            (&["gone"], "a link to nothing"),
            (&["circle"], "cannot be followed"),
            (&["pipe", "to-pipe"], "it is a named pipe"),
            (&["socket"], "it is a socket"),
            (&["sub"], "it is a folder"),
            (&["sparse"], "more than"),
        ] {
            for name in names {
                let err = format!("{:#}", text(name).unwrap_err());
                assert!(err.contains(why) && !err.contains("hunter2"), "{name}: {err}");
            }
        }
        assert!(list_folder(&tree, Path::new("hop")).unwrap_err().to_string().contains("out of the app"));
    }
}
