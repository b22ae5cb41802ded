//! No path and no link leads out of a tree, and nothing but regular files is opened.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use piku_files::{CopyLimit, FileKind, FolderCursor, TreeEntry, TreeError, TreeHandle, WalkStep};
use rustix::fs::{CWD, Mode};

/// A tree beside a folder `outside` that nobody may read or write.
fn scene() -> (tempfile::TempDir, TreeHandle) {
    let dir = tempfile::tempdir().expect("scene");
    fs::create_dir(dir.path().join("outside")).expect("scene");
    fs::write(dir.path().join("outside/secret"), "secret").expect("scene");
    let tree = TreeHandle::create(&dir.path().join("tree")).expect("scene");
    tree.create_dir_all("sub/deep").expect("scene");
    tree.write("base.txt", "base", 0o644).expect("scene");
    tree.write("sub/file", "file", 0o755).expect("scene");
    tree.symlink("base.txt", "good").expect("scene");
    tree.symlink("../base.txt", "sub/up").expect("scene");
    tree.symlink("../outside", "out").expect("scene");
    tree.symlink("../outside/secret", "leak").expect("scene");
    tree.symlink("/etc/passwd", "absolute").expect("scene");
    tree.symlink("/proc/self/root/etc/passwd", "magic").expect("scene");
    tree.symlink("loop-b", "loop-a").expect("scene");
    tree.symlink("loop-a", "loop-b").expect("scene");
    (dir, tree)
}

fn untouched(dir: &Path) {
    let names: Vec<_> = fs::read_dir(dir.join("outside"))
        .expect("scene")
        .map(|entry| entry.expect("scene").file_name())
        .collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(fs::read_to_string(dir.join("outside/secret")).expect("scene"), "secret");
    assert_eq!(fs::metadata(dir.join("outside/secret")).expect("scene").nlink(), 1);
    assert_eq!(fs::metadata(dir.join("outside/secret")).expect("scene").mode() & 0o7777, 0o644);
}

#[expect(clippy::unnecessary_wraps, reason = "what a copy asks may fail")]
fn all(_: &TreeEntry<'_>) -> Result<bool, TreeError> {
    Ok(true)
}

#[test]
fn links_are_followed_as_long_as_they_stay() {
    let (dir, tree) = scene();
    assert_eq!(tree.read_text("good", 100).unwrap(), "base");
    assert_eq!(tree.read_text("sub/up", 100).unwrap(), "base");
    assert_eq!(tree.read_text("sub/../base.txt", 100).unwrap(), "base");
    for path in
        ["out/secret", "leak", "absolute", "magic", "../outside/secret", "/etc/passwd", "sub/../../outside"]
    {
        let err = tree.read_bounded(path, 100).unwrap_err();
        assert!(err.leads_out(), "{path}: {err:?}");
        assert!(tree.metadata(path).unwrap_err().leads_out(), "{path}");
        assert!(!tree.is_file(path) && !tree.is_dir(path));
    }
    assert!(tree.read_bounded("loop-a", 100).is_err());
    assert!(tree.read_dir("out").is_err());
    let names =
        |path: &str| -> Vec<_> { tree.read_dir(path).unwrap().into_iter().map(|entry| entry.name).collect() };
    assert_eq!(names("sub"), ["deep", "file", "up"]);
    assert_eq!(names("sub/deep/.."), ["deep", "file", "up"]);
    assert!(tree.subtree("out").is_err() && tree.subtree("..").is_err());
    assert!(tree.subtree("sub").unwrap().read_bounded("up", 100).unwrap_err().leads_out());
    assert_eq!(tree.symlink_metadata("leak").unwrap().kind, FileKind::Link);
    assert_eq!(tree.read_link("leak").unwrap(), Path::new("../outside/secret"));
    assert_eq!(tree.find("none/below").unwrap(), None);
    let text = format!("{:#}", tree.read_bounded("leak", 100).map_err(|err| Chain(err.into())).unwrap_err());
    assert_eq!(
        text,
        format!("cannot read '{}/tree/leak': the path leads out of the tree", dir.path().display())
    );
    // A link in the place of the tree itself.
    assert_eq!(TreeHandle::open(&dir.path().join("tree/out")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert!(TreeHandle::open_following(&dir.path().join("tree/out")).is_ok());
    untouched(dir.path());
}

/// An error with its causes on one line.
struct Chain(Box<dyn std::error::Error>);

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0, self.0.source().expect("a cause"))
    }
}

#[test]
fn changes_are_about_the_entry_itself() {
    let (dir, tree) = scene();
    for path in ["leak", "absolute", "loop-a"] {
        tree.write(path, "mine", 0o4755).unwrap();
        let stat = tree.symlink_metadata(path).unwrap();
        assert_eq!((stat.kind, stat.mode), (FileKind::Regular, 0o755), "{path}");
    }
    for path in ["out/new", "../new", "/tmp/new", "magic/new", "..", ".", ""] {
        assert!(tree.write(path, "x", 0o644).is_err(), "{path}");
        assert!(tree.create_file(path, 0o644).is_err(), "{path}");
        assert!(tree.create_dir(path).is_err(), "{path}");
        assert!(tree.symlink("x", path).is_err(), "{path}");
        assert!(tree.rename("base.txt", &tree, path).is_err(), "{path}");
        assert!(tree.link_file(&tree.open_file("base.txt").unwrap(), path).is_err(), "{path}");
        assert!(tree.copy_file("base.txt", &tree, path, 100).is_err(), "{path}");
    }
    for path in ["out/secret", "../outside/secret"] {
        assert!(tree.remove_file(path).unwrap_err().leads_out());
        assert!(tree.remove_all(path).unwrap_err().leads_out());
        assert!(tree.set_mode(path, 0o600).unwrap_err().leads_out());
        assert!(tree.rename(path, &tree, "stolen").unwrap_err().leads_out());
    }
    assert!(tree.create_dir_all("out/new").is_err());
    assert!(tree.create_file("out", 0o644).is_err(), "a link is in its place");
    assert!(tree.set_mode("out", 0o700).is_err());
    tree.rename("out", &tree, "moved").unwrap();
    tree.remove_all("moved").unwrap();
    assert_eq!(tree.find("moved").unwrap(), None);
    tree.remove_all("").unwrap();
    assert_eq!(tree.read_dir("").unwrap(), []);
    untouched(dir.path());
}

#[test]
fn only_regular_files_are_opened_and_read_within_a_bound() {
    let (_dir, tree) = scene();
    let at = |name: &str| tree.path().join(name);
    rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
    tree.symlink("pipe", "to-pipe").unwrap();
    tree.symlink("/dev/zero", "zero").unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    for name in ["pipe", "to-pipe", "zero", "socket", "sub"] {
        assert!(tree.read_bounded(name, 100).is_err(), "{name}");
        assert!(tree.open_file_nofollow(name).is_err(), "{name}");
        assert!(tree.copy_file(name, &tree, "copy", 100).is_err(), "{name}");
    }
    assert!(tree.open_file_nofollow("good").is_err());
    assert_eq!(tree.read_bounded("base.txt", 4).unwrap(), b"base");
    assert_eq!(tree.read_bounded("base.txt", 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
    tree.create_file("huge", 0o644).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(tree.read_bounded("huge", 1 << 20).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(tree.copy_file("huge", &tree, "copy", 1 << 20).unwrap_err().kind(), ErrorKind::FileTooLarge);
    tree.write("latin", b"\xff", 0o644).unwrap();
    assert_eq!(tree.read_text("latin", 9).unwrap_err().kind(), ErrorKind::InvalidData);
    // A file of this process's own that belongs to no tree is read without waiting too.
    let kinds: Vec<_> = tree.read_dir("").unwrap().into_iter().map(|entry| entry.kind).collect();
    assert!(kinds.contains(&FileKind::Pipe) && kinds.contains(&FileKind::Socket));
}

#[test]
fn a_file_is_linked_that_was_opened_whatever_has_its_name_now() {
    let (dir, tree) = scene();
    let other = TreeHandle::create(&dir.path().join("other")).unwrap();
    let file = tree.open_file_nofollow("sub/file").unwrap();
    tree.rename("leak", &tree, "sub/file").unwrap();
    assert!(other.link_file(&file, "linked").is_err(), "its last name is gone");
    let file = tree.open_file_nofollow("base.txt").unwrap();
    tree.rename("base.txt", &tree, "renamed").unwrap();
    tree.rename("sub/file", &tree, "base.txt").unwrap();
    other.link_file(&file, "linked").unwrap();
    assert!(other.metadata("linked").unwrap().is_same(&file.stat));
    other.replace_by_link("linked", &file).unwrap();
    other.write("place", "old", 0o600).unwrap();
    other.replace_by_link("place", &file).unwrap();
    let names: Vec<_> = other.read_dir("").unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["linked", "place"]);
    untouched(dir.path());
}

#[test]
fn a_copy_keeps_links_and_modes_and_leaves_out_what_is_asked() {
    let (dir, tree) = scene();
    let at = |name: &str| tree.path().join(name);
    rustix::fs::mkfifoat(CWD, at("sub/pipe"), Mode::RWXU).unwrap();
    fs::set_permissions(at("sub/file"), fs::Permissions::from_mode(0o6751)).unwrap();
    fs::set_permissions(at("sub/deep"), fs::Permissions::from_mode(0o555)).unwrap();
    let other = TreeHandle::create(&dir.path().join("other")).unwrap();
    let skip = |entry: &TreeEntry<'_>| Ok::<_, TreeError>(entry.name() != "base.txt");
    let odd = tree.copy_tree(&other, "copy", CopyLimit { bytes: 100, entries: 100 }, skip).unwrap();
    assert_eq!(odd, [Path::new("sub/pipe")]);
    assert_eq!(other.read_link("copy/leak").unwrap(), Path::new("../outside/secret"));
    assert_eq!(other.metadata("copy/sub/file").unwrap().mode, 0o751);
    assert_eq!(other.metadata("copy/sub/deep").unwrap().mode, 0o755);
    assert_eq!(
        other.metadata("copy/sub/file").unwrap().modified,
        tree.metadata("sub/file").unwrap().modified
    );
    assert!(!other.is_file("copy/base.txt"));
    assert!(tree.copy_tree(&other, "copy", CopyLimit::NONE, all).is_err(), "it is there");
    assert!(tree.copy_tree(&other, "few", CopyLimit { bytes: 100, entries: 3 }, all).is_err());
    assert!(tree.copy_tree(&other, "small", CopyLimit { bytes: 3, entries: 100 }, all).is_err());
    assert!(tree.copy_tree(&tree, "out/x", CopyLimit::NONE, all).unwrap_err().leads_out());
    untouched(dir.path());
}

#[test]
fn a_walk_follows_no_link_and_a_cursor_neither() {
    let (dir, tree) = scene();
    let mut seen = Vec::new();
    tree.walk(|entry| {
        seen.push(entry.path().to_owned());
        Ok::<_, TreeError>(WalkStep::Into)
    })
    .unwrap();
    seen.sort();
    let expected = [
        "absolute", "base.txt", "good", "leak", "loop-a", "loop-b", "magic", "out", "sub", "sub/deep",
        "sub/file", "sub/up",
    ];
    assert_eq!(seen, expected.map(Path::new));
    let mut cursor = FolderCursor::new(&tree);
    assert!(cursor.symlink_metadata(Path::new("out/secret")).unwrap().is_none());
    assert!(cursor.symlink_metadata(Path::new("none/x")).unwrap().is_none());
    assert!(cursor.open_file(Path::new("sub/file")).unwrap().is_some());
    assert!(cursor.open_file(Path::new("sub/none")).unwrap().is_none());
    assert!(cursor.open_file(Path::new("base.txt")).unwrap().is_some());
    assert!(cursor.open_file(Path::new("leak")).is_err());
    untouched(dir.path());
}

#[test]
fn whatever_the_modes_and_however_deep_it_is_removed() {
    let (dir, tree) = scene();
    for (path, mode) in [("sub/deep", 0o000), ("sub", 0o000)] {
        fs::set_permissions(tree.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    tree.create_dir_all("shut/below").unwrap();
    tree.write("shut/below/file", "x", 0o000).unwrap();
    for (path, mode) in [("shut/below", 0o400), ("shut", 0o500)] {
        fs::set_permissions(tree.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    tree.remove_all("sub").unwrap();
    tree.remove_all("shut").unwrap();
    tree.remove_all("out").unwrap();
    tree.remove_all("none").unwrap();
    // Deeper than a path can be long, and than descriptors can be open.
    tree.create_dir("abyss").unwrap();
    let mut below = tree.subtree("abyss").unwrap();
    let name = "d".repeat(100);
    for _ in 0..600 {
        below.create_dir(&name).unwrap();
        below = below.subtree(&name).unwrap();
    }
    assert!(tree.walk(|_| Ok::<_, TreeError>(WalkStep::Into)).is_err());
    let other = TreeHandle::create(&dir.path().join("other")).unwrap();
    assert!(tree.copy_tree(&other, "copy", CopyLimit::NONE, all).is_err());
    tree.remove_all("abyss").unwrap();
    other.remove_all("").unwrap();
    assert_eq!(tree.find("abyss").unwrap(), None);
    assert_eq!(other.read_dir("").unwrap(), []);
    untouched(dir.path());
}
