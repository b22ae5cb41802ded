//! Random changes of a source and of an older tree of links: the tree that is brought up to date is the one that
//! would be made anew.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::link_record::LinkRecord;
use crate::source_index::IndexFolder;
use crate::tree::unchanged::tests::index;
use crate::tree::{FileKind, TreeError, TreeHandle};

/// Names of entries, few so that the changes meet.
const NAMES: [&[u8]; 4] = [b"a", b"B", b"line\nbreak", b"\xff\xfe"];

/// A change of the entry at a path.
#[derive(Debug, Clone)]
enum TreeEdit {
    Remove,
    /// A new file, whose parents become directories.
    Create {
        content: u8,
        mode: u32,
    },
    Symlink(u8),
    RenameTo(PathBuf),
    /// Only in the old tree: an export writes a new file instead.
    Append,
    SetMode(u32),
}

fn paths() -> impl Strategy<Value = PathBuf> {
    vec(proptest::sample::select(NAMES.as_slice()), 1..4)
        .prop_map(|names| names.into_iter().map(OsStr::from_bytes).collect())
}

/// Returns changes that an export makes.
fn source_edits() -> impl Strategy<Value = (PathBuf, TreeEdit)> {
    let edit = prop_oneof![
        2 => Just(TreeEdit::Remove),
        6 => (any::<u8>(), proptest::sample::select([0o644, 0o755].as_slice()))
            .prop_map(|(content, mode)| TreeEdit::Create { content, mode }),
        1 => any::<u8>().prop_map(TreeEdit::Symlink),
        2 => paths().prop_map(TreeEdit::RenameTo),
    ];
    (paths(), edit)
}

/// Returns changes by hand.
fn manual_edits() -> impl Strategy<Value = (PathBuf, TreeEdit)> {
    let edit = prop_oneof![
        4 => source_edits().prop_map(|(_, edit)| edit),
        1 => Just(TreeEdit::Append),
        1 => proptest::sample::select([0o600, 0o700, 0o777, 0o2755, 0o1755].as_slice()).prop_map(TreeEdit::SetMode),
    ];
    (paths(), edit)
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir_all(path);
}

impl TreeEdit {
    /// Makes the change if the tree has what it needs.
    fn apply(&self, top: &Path, path: &Path) {
        let at = top.join(path);
        match self {
            Self::Remove => remove(&at),
            Self::Create { .. } | Self::Symlink(_) => {
                let parents: Vec<_> = path.ancestors().skip(1).collect();
                for parent in parents.into_iter().rev().map(|parent| top.join(parent)) {
                    if !fs::symlink_metadata(&parent).is_ok_and(|stat| stat.is_dir()) {
                        remove(&parent);
                        fs::create_dir(&parent).unwrap();
                    }
                }
                remove(&at);
                match self {
                    Self::Create { content, mode } => {
                        fs::write(&at, [*content]).unwrap();
                        fs::set_permissions(&at, Permissions::from_mode(*mode)).unwrap();
                    }
                    Self::Symlink(to) => symlink(OsStr::from_bytes(&[b'a' + to % 26]), &at).unwrap(),
                    _ => unreachable!(),
                }
            }
            Self::RenameTo(to) => {
                let _ = fs::rename(&at, top.join(to));
            }
            Self::Append | Self::SetMode(_) => {
                // Symlinks may lead elsewhere.
                let is_own = |at: &&Path| fs::symlink_metadata(at).is_ok_and(|stat| !stat.is_symlink());
                if !path.ancestors().map(|part| top.join(part)).all(|part| is_own(&part.as_path())) {
                    return;
                }
                if let Self::SetMode(mode) = self {
                    fs::set_permissions(&at, Permissions::from_mode(*mode)).unwrap();
                } else if at.is_file() {
                    let longer = [fs::read(&at).unwrap(), b"+".to_vec()].concat();
                    fs::write(&at, longer).unwrap();
                }
            }
        }
    }
}

/// Undoes changes by hand in files that the source shares with an old tree, as an export does, which sees their mode and
/// their time.
fn renew_edited(source: &TreeHandle, old: &IndexFolder) {
    let mut found = Vec::new();
    old.visit_files(&mut |folder, name, file| {
        let path = folder.join(name);
        let stat = source.symlink_metadata(&path);
        if stat.is_ok_and(|stat| stat.kind == FileKind::Regular && !file.is_unchanged(&stat)) {
            found.push((source.path().join(path), file.kind));
        }
    });
    for (path, kind) in found {
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
        let mode = if kind == crate::source_index::SourceKind::Program { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

/// An entry of a tree: its path, kind, mode and, but for directories, inode.
type SeenEntry = (PathBuf, FileKind, u32, u64);

fn list_entries(tree: &TreeHandle) -> Vec<SeenEntry> {
    let mut found = Vec::new();
    tree.walk_sorted::<TreeError>(Path::new(""), |path, stat| {
        found.push((path.to_owned(), stat.kind, stat.mode, if stat.is_dir() { 0 } else { stat.ino }));
        Ok(())
    })
    .unwrap();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_recycled_tree_is_as_a_new_one(
        first in vec(source_edits(), 1..30),
        rounds in vec((vec(source_edits(), 0..6), vec(manual_edits(), 0..6)), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let [source_path, recycled_path] = ["source", "recycled"].map(|name| dir.path().join(name));
        let source = TreeHandle::create(&source_path).unwrap();
        let recycled = TreeHandle::create(&recycled_path).unwrap();
        for (path, edit) in &first {
            edit.apply(&source_path, path);
        }
        let mut now = index(&source_path);
        let mut record = source.link_source(&now, &recycled, &LinkRecord::default()).unwrap().unwrap();
        // A change at any time after this has another time, however coarse the clock of the file system is.
        let is_old = recycled.metadata("").unwrap().modified + Duration::from_secs(1) < SystemTime::now();
        prop_assert!(is_old);
        for (number, (edits, by_hand)) in rounds.iter().enumerate() {
            for (path, edit) in edits {
                edit.apply(&source_path, path);
            }
            for (path, edit) in by_hand {
                edit.apply(&recycled_path, path);
            }
            renew_edited(&source, &now);
            now = index(&source_path);
            record = source.link_source(&now, &recycled, &record).unwrap().unwrap();
            let new = TreeHandle::create(&dir.path().join(OsString::from(number.to_string()))).unwrap();
            source.link_source(&now, &new, &LinkRecord::default()).unwrap();
            prop_assert_eq!(list_entries(&recycled), list_entries(&new));
            prop_assert!(recycled.is_unchanged(&now).unwrap());
        }
    }
}
