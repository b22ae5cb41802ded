//! A tree that bytes describe, made by somebody hostile, beside a folder that is nobody's business; and what
//! bytes tell a handle to do with it. Neither a property's test nor a fuzzer may find the bytes that make it
//! read or write beside the tree.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use piku_files::{CopyLimit, FolderCursor, TreeEntry, TreeError, TreeHandle, WalkStep};
use rustix::fs::{CWD, Mode, mkfifoat};

/// The content that only files in the folder outside have.
const MARKER: &[u8] = b"only outside of the tree";
/// The most of a file that is read.
const LIMIT: u64 = 1 << 16;

/// Bytes that are used up one by one; once they are, all are zero.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn name(&mut self) -> OsString {
        match self.next() % 8 {
            0 => "a".into(),
            1 => "b".into(),
            2 => "c".into(),
            3 => OsString::from_vec(vec![b'x'; 255]),
            4 => OsString::from_vec(vec![0xff, 0xfe]),
            5 => "new\nline".into(),
            6 => ".piku-new-0".into(),
            _ => "d".into(),
        }
    }

    /// A path of names alone.
    fn inside(&mut self) -> PathBuf {
        (0..=self.next() % 3).map(|_| self.name()).collect()
    }

    /// A path of any kind.
    fn path(&mut self, outside: &Path) -> PathBuf {
        match self.next() % 8 {
            0 => Path::new("..").join(self.inside()),
            1 => self.inside().join("..").join("..").join("outside/marker"),
            2 => outside.join("marker"),
            3 => PathBuf::from(OsStr::from_bytes(b"./")).join(self.inside()),
            _ => self.inside(),
        }
    }

    fn target(&mut self, outside: &Path) -> PathBuf {
        match self.next() % 10 {
            0 => "../outside".into(),
            1 => "../outside/marker".into(),
            2 => "../../outside".into(),
            3 => outside.to_owned(),
            4 => Path::new("/proc/self/root").join(outside.strip_prefix("/").unwrap_or(outside)),
            5 => "/dev/zero".into(),
            6 => "..".into(),
            7 => ".".into(),
            _ => self.inside(),
        }
    }
}

/// Returns the state of the folder outside, as far as it can be seen.
fn look(outside: &Path) -> Vec<(OsString, u64, u32, u64, i64)> {
    let mut found = Vec::new();
    for path in
        [outside.to_owned(), outside.join("marker"), outside.join("folder"), outside.join("folder/marker")]
    {
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let content = if meta.is_file() { fs::read(&path).expect("it can be read") } else { Vec::new() };
        assert!(content.is_empty() || content == MARKER);
        found.push((path.into(), meta.ino(), meta.mode(), meta.nlink(), meta.mtime_nsec()));
    }
    assert_eq!(fs::read_dir(outside).expect("it is there").count(), 2);
    found
}

/// Makes one more change, as a step does, in the tree, where it cannot leave it.
fn spoil(tree: &Path, outside: &Path, choices: &mut Choices<'_>) {
    let path = tree.join(choices.inside());
    let parent = path.parent().unwrap_or(tree);
    // A jail would keep it inside; here it is kept by not following what it has made itself.
    if !fs::canonicalize(parent).is_ok_and(|real| real.starts_with(tree)) {
        return;
    }
    // What is there already stays, and then nothing is made.
    let _ = match choices.next() % 8 {
        0 | 1 => fs::create_dir_all(&path),
        2 => fs::File::create_new(&path).and_then(|mut file| file.write_all(b"content")),
        3 | 4 => symlink(choices.target(outside), &path),
        5 => mkfifoat(CWD, &path, Mode::RWXU).map_err(Into::into),
        6 => UnixListener::bind(&path).map(drop),
        _ if path.is_symlink() || !path.exists() => Ok(()),
        _ => {
            fs::set_permissions(&path, Permissions::from_mode([0, 0o400, 0o4755, 0o2700][choices.next() % 4]))
        }
    };
}

fn harmless(content: &[u8]) {
    assert!(!content.windows(MARKER.len()).any(|part| part == MARKER), "it read what is outside");
}

/// Does one thing through the handle. Any answer is right; what it must not do is checked afterwards.
fn act(tree: &TreeHandle, other: &TreeHandle, outside: &Path, choices: &mut Choices<'_>) {
    let (what, path, second) = (choices.next(), choices.path(outside), choices.path(outside));
    let to = if choices.next() % 2 == 0 { tree } else { other };
    let limit = CopyLimit { bytes: LIMIT, entries: 100 };
    let takes = |_: &TreeEntry<'_>| Ok::<_, TreeError>(true);
    match what % 20 {
        0 => drop(tree.read_bounded(&path, LIMIT).map(|content| harmless(&content))),
        1 => drop(
            tree.open_file_nofollow(&path)
                .map(|mut file| harmless(&file.read_bounded(LIMIT).unwrap_or_default())),
        ),
        2 => drop(tree.write(&path, "new", 0o6755)),
        3 => drop(tree.create_file(&path, 0o644)),
        4 => drop(tree.create_dir(&path)),
        5 => drop(tree.create_dir_all(&path)),
        6 => drop(tree.symlink(&second, &path)),
        7 => drop(tree.rename(&path, to, &second)),
        8 => drop(tree.open_file(&path).and_then(|file| to.link_file(&file, &second))),
        9 => drop(tree.open_file(&path).and_then(|file| to.replace_by_link(&second, &file))),
        10 => drop(tree.remove_file(&path)),
        11 => drop(tree.remove_dir(&path)),
        12 => drop(tree.remove_all(&path)),
        13 => drop(tree.set_mode(&path, 0o4700)),
        14 => drop(tree.set_modified(&path, std::time::SystemTime::UNIX_EPOCH)),
        15 => drop(tree.copy_file(&path, to, &second, LIMIT)),
        16 => drop(tree.subtree(&path).and_then(|below| below.copy_tree(to, &second, limit, takes))),
        17 => drop(tree.read_dir(&path).map(|entries| {
            assert!(!entries.iter().any(|entry| entry.name == "marker"), "it listed what is outside");
        })),
        18 => drop(tree.subtree(&path).and_then(|below| below.remove_all(""))),
        _ => {
            let mut cursor = FolderCursor::new(tree);
            if let Ok(Some(mut file)) = cursor.open_file(&path) {
                harmless(&file.read_bounded(LIMIT).unwrap_or_default());
            }
            drop(tree.metadata(&path));
        }
    }
}

/// Plays what the bytes say.
pub(crate) fn play(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let top = fs::canonicalize(dir.path()).expect("its path");
    let outside = top.join("outside");
    fs::create_dir_all(outside.join("folder")).expect("a folder");
    for marker in ["marker", "folder/marker"] {
        fs::write(outside.join(marker), MARKER).expect("a marker");
    }
    let tree = TreeHandle::create(&top.join("tree")).expect("a tree");
    let other = TreeHandle::create(&top.join("other")).expect("a tree");
    let before = look(&outside);
    let mut choices = Choices(bytes);
    while !choices.0.is_empty() {
        if choices.next() % 3 == 0 {
            act(&tree, &other, &outside, &mut choices);
        } else {
            spoil(tree.path(), &outside, &mut choices);
        }
    }
    for tree in [&tree, &other] {
        // A file that a walk can open is not a copy of one outside.
        let walked = tree.walk(|entry| {
            if entry.stat().is_file() {
                harmless(
                    &entry
                        .open_file()
                        .map(|mut file| file.read_bounded(LIMIT).unwrap_or_default())
                        .unwrap_or_default(),
                );
            }
            Ok::<_, TreeError>(WalkStep::Into)
        });
        assert!(walked.is_ok() || !rustix::process::geteuid().is_root(), "{walked:?}");
        tree.remove_all("").expect("all of it can be removed");
        assert!(tree.is_empty().expect("its top can be read"));
    }
    assert_eq!(look(&outside), before);
}
