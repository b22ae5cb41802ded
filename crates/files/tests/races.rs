//! Swaps that a step makes while a handle is at work lead it nowhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use piku_files::{CopyLimit, FolderCursor, TreeEntry, TreeError, TreeHandle};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The number of times that each thing is tried.
const TRIES: usize = 300;

/// Runs `act` again and again while somebody swaps `tree/x`, a folder with the file `file`, and a link to the
/// folder outside.
fn while_swapped(act: impl Fn(&TreeHandle, &TreeHandle, usize)) {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    for folder in ["outside/below", "tree/x/below", "other"] {
        fs::create_dir_all(at(folder)).expect("a folder");
    }
    for (file, content) in
        [("outside/file", "outside"), ("outside/below/file", "outside"), ("tree/x/file", "inside")]
    {
        fs::write(at(file), content).expect("a file");
    }
    symlink("../outside", at("tree/y")).expect("a link");
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (x, y) = (at("tree/x"), at("tree/y"));
            while !is_done.load(Ordering::Relaxed) {
                // What is removed just now is not there to be swapped.
                if renameat_with(CWD, &x, CWD, &y, RenameFlags::EXCHANGE).is_err() {
                    let _ = fs::create_dir(&y);
                    let _ = symlink("../outside", &x);
                }
            }
        });
        let [tree, other] = ["tree", "other"].map(|name| TreeHandle::open(&at(name)).expect("a tree"));
        for count in 0..TRIES {
            act(&tree, &other, count);
        }
        is_done.store(true, Ordering::Relaxed);
    });
    for (folder, expected) in [("outside", 2), ("outside/below", 1)] {
        assert_eq!(fs::read_dir(at(folder)).expect("it is there").count(), expected);
    }
    for file in ["outside/file", "outside/below/file"] {
        assert_eq!(fs::read(at(file)).expect("it is there"), b"outside");
        assert_eq!(fs::metadata(at(file)).expect("it is there").nlink(), 1);
    }
}

#[test]
fn nothing_outside_is_read_or_copied() {
    while_swapped(|tree, other, count| {
        for path in ["x/file", "x/below/file", "x/below/../file"] {
            let read = tree.read_bounded(path, 100).unwrap_or_default();
            assert_ne!(read, b"outside");
            let opened = FolderCursor::new(tree).open_file(Path::new(path)).ok().flatten();
            assert_ne!(
                opened.map(|mut file| file.read_bounded(100).unwrap()).unwrap_or_default(),
                b"outside"
            );
        }
        assert!(tree.read_dir("x/below").unwrap_or_default().is_empty());
        let name = format!("copy-{count}");
        let limit = CopyLimit { bytes: 100, entries: 100 };
        let takes = |_: &TreeEntry<'_>| Ok::<_, TreeError>(true);
        let _ = tree.subtree("x").and_then(|folder| folder.copy_tree(other, &name, limit, takes));
        assert_ne!(other.read_bounded(Path::new(&name).join("file"), 100).unwrap_or_default(), b"outside");
        let _ = tree.copy_file("x/file", other, "file", 100);
        assert_ne!(other.read_bounded("file", 100).unwrap_or_default(), b"outside");
        let _ = tree.copy_tree(other, format!("all-{count}"), limit, takes);
        for name in ["x", "y"] {
            let path = format!("all-{count}/{name}/file");
            assert_ne!(other.read_bounded(path, 100).unwrap_or_default(), b"outside");
        }
    });
}

#[test]
fn nothing_outside_is_written() {
    while_swapped(|tree, other, count| {
        let name = format!("x/new-{count}");
        let _ = tree.write("x/file", "inside", 0o644);
        let _ = tree.write(&name, "inside", 0o644);
        let _ = tree.create_dir_all("x/made/deep");
        let _ = tree.symlink("target", format!("x/link-{count}"));
        let _ = tree.set_mode("x/file", 0o600);
        other.write("file", "inside", 0o644).unwrap();
        let _ = other.rename("file", tree, "x/below/file");
        let _ = other.copy_file("file", tree, "x/below/copy", 100);
        let _ = other.open_file("file").and_then(|file| tree.replace_by_link("x/file", &file));
        let _ = tree
            .open_file_nofollow("x/file")
            .and_then(|file| other.link_file(&file, format!("linked-{count}")));
        assert_ne!(other.read_bounded(format!("linked-{count}"), 100).unwrap_or_default(), b"outside");
    });
}

#[test]
fn nothing_outside_is_removed() {
    while_swapped(|tree, _, count| {
        let _ = tree.create_dir_all("x/below");
        let _ = tree.write("x/below/file", "inside", 0o644);
        let _ = tree.remove_file("x/below/file");
        let _ = tree.remove_all("x/below");
        if count % 3 == 0 {
            let _ = tree.remove_all("x");
        }
        if count % 50 == 0 {
            let _ = tree.remove_all("");
        }
    });
}
