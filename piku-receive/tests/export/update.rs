//! Exports to the directory of an earlier one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::place::Place;

/// Path, mode with the kind of the file, and content or target of each entry.
type TreeListing = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn list(top: &Path) -> TreeListing {
    fn add(top: &Path, folder: &Path, found: &mut TreeListing) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = match meta.file_type() {
                kind if kind.is_symlink() => {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                }
                kind if kind.is_dir() => Vec::new(),
                _ => fs::read(&path).unwrap(),
            };
            found.insert(path.strip_prefix(top).unwrap().to_owned(), (meta.mode(), content));
            if meta.is_dir() {
                add(top, &path, found);
            }
        }
    }
    let mut found = TreeListing::new();
    found.insert(PathBuf::new(), (fs::metadata(top).unwrap().mode(), Vec::new()));
    add(top, top, &mut found);
    found
}

impl Place {
    /// Exports to the directory `kept`; returns what was printed.
    fn update(&self, commit: &str) -> String {
        let mut tool = self.tool(commit);
        let out = tool.args(["--update"]).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{said}");
        said
    }

    /// Exports to a new directory; returns what it holds and what was printed.
    fn whole(&self, commit: &str) -> (TreeListing, String) {
        let kept = [self.path("out"), self.path("out.index")];
        let aside = [self.path("aside"), self.path("aside.index")];
        for (from, to) in kept.iter().zip(&aside) {
            if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
        let out = self.export(commit);
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{said}");
        let listing = list(&self.path("out"));
        fs::remove_dir_all(self.path("out")).unwrap();
        for (from, to) in aside.iter().zip(&kept) {
            if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
        (listing, said)
    }
}

/// Numbers that are the same in each run: the generator of Numerical Recipes.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

const NAMES: [&str; 5] = ["a", "b", "c.d", "é", "-x"];

/// Changes a work tree as its author could.
fn edit(top: &Path, numbers: &mut Numbers) {
    let mut path = top.to_owned();
    for _ in 0..=numbers.below(3) {
        if fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_dir()) {
            fs::remove_file(&path).unwrap();
        }
        fs::create_dir_all(&path).unwrap();
        path.push(NAMES[numbers.below(NAMES.len())]);
    }
    let choice = numbers.below(10);
    if choice < 3 && fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
        let mode = [0o644, 0o755][numbers.below(2)];
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        return;
    }
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path).unwrap(),
        Ok(_) => fs::remove_file(&path).unwrap(),
        Err(_) => {}
    }
    match choice {
        0..6 => fs::write(&path, "x".repeat(numbers.below(5000))).unwrap(),
        6 => fs::write(&path, b"\x7fELF and more").unwrap(),
        7 => {
            let pointer = format!("version https://git-lfs.github.com/spec/v1\n{choice}");
            fs::write(&path, pointer).unwrap();
        }
        8 => symlink(NAMES[numbers.below(NAMES.len())], &path).unwrap(),
        _ => {}
    }
}

/// Changes what was exported as a fault of the disk or an operator could.
fn damage(place: &Place, numbers: &mut Numbers) {
    let top = place.path("out");
    let paths: Vec<PathBuf> = list(&top).into_keys().filter(|path| *path != Path::new("")).collect();
    let path = top.join(&paths[numbers.below(paths.len())]);
    let meta = fs::symlink_metadata(&path).unwrap();
    let remove = || if meta.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    match numbers.below(8) {
        0 => remove().unwrap(),
        1 if meta.is_file() => {
            File::options().write(true).open(&path).unwrap().set_len(meta.len() + 3).unwrap();
        }
        2 if !meta.is_symlink() => fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap(),
        3 => {
            remove().unwrap();
            symlink("/etc", &path).unwrap();
        }
        4 => {
            remove().unwrap();
            fs::create_dir(&path).unwrap();
            fs::write(path.join("stray"), "stray").unwrap();
        }
        5 => fs::remove_file(place.path("out.index")).unwrap(),
        6 => {
            let mut index = fs::read(place.path("out.index")).unwrap();
            let at = numbers.below(index.len());
            index[at] ^= 1;
            fs::write(place.path("out.index"), index).unwrap();
        }
        _ => fs::write(top.join("stray"), "stray").unwrap(),
    }
}

#[test]
fn a_directory_becomes_what_a_new_export_would_be() {
    let place = Place::new();
    let mut numbers = Numbers(20_261_129);
    let mut commits = vec![place.file("first", "1").commit()];
    for round in 0..40 {
        // A branch that is pushed by force, and a way back, are just another commit.
        let commit = if round % 7 == 6 {
            commits[numbers.below(commits.len())].clone()
        } else {
            for _ in 0..numbers.below(8) {
                edit(&place.work(), &mut numbers);
            }
            place.file("first", round.to_string()).commit()
        };
        if round % 3 == 2 {
            damage(&place, &mut numbers);
        }
        let (whole, said) = place.whole(&commit);
        assert_eq!(place.update(&commit), said, "round {round}");
        let kept = list(&place.path("out"));
        assert_eq!(kept, whole, "round {round}");
        commits.push(commit);
    }
}

#[test]
fn files_that_are_the_same_are_not_written() {
    let place = Place::new();
    let big = "x".repeat(3 << 20);
    let first = place.file("same", "1").file("a/same", "2").file("a/other", "3").file("big", &big).commit();
    place.update(&first);
    let before: BTreeMap<_, _> = ["same", "a/same", "a/other", "big"]
        .map(|name| (name, fs::metadata(place.path("out").join(name)).unwrap()))
        .into();
    let index = fs::metadata(place.path("out.index")).unwrap();
    // A release has a second name of it, and its group.
    fs::hard_link(place.path("out/same"), place.path("release")).unwrap();
    fs::set_permissions(place.path("release"), fs::Permissions::from_mode(0o664)).unwrap();
    place.update(&first);
    assert_eq!(fs::metadata(place.path("out.index")).unwrap().ino(), index.ino(), "nothing is new");
    let second = place.file("a/other", "4").file("a/new", "5").commit();
    place.update(&second);
    for (name, before) in &before {
        let after = fs::metadata(place.path("out").join(name)).unwrap();
        let is_same = (after.ino(), after.mtime_nsec()) == (before.ino(), before.mtime_nsec());
        assert_eq!(is_same, *name != "a/other", "{name}");
    }
    // What was shared stays as it was.
    fs::hard_link(place.path("out/a/other"), place.path("shared")).unwrap();
    let third = place.file("a/other", "6").file("same", "7").file("big", &big[1..]).commit();
    place.update(&third);
    assert_eq!(fs::read_to_string(place.path("shared")).unwrap(), "4");
    assert_eq!(fs::read_to_string(place.path("release")).unwrap(), "1");
    assert_eq!(fs::metadata(place.path("out/big")).unwrap().len(), big.len() as u64 - 1);
    // The way back, with a large file that somebody has cut.
    place.update(&second);
    File::options().write(true).open(place.path("out/big")).unwrap().set_len(7).unwrap();
    place.update(&second);
    assert_eq!(fs::read_to_string(place.path("out/big")).unwrap(), big);
}

#[test]
fn a_commit_that_is_refused_leaves_a_directory_to_go_on_from() {
    let place = Place::new();
    let good = place.file("a", "1").file("z", "1").commit();
    place.update(&good);
    symlink("../../etc", place.work().join("m")).unwrap();
    let bad = place.file("a", "2").commit();
    let out = place.tool(&bad).arg("--update").output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    fs::remove_file(place.work().join("m")).unwrap();
    let next = place.file("z", "3").commit();
    place.update(&next);
    assert_eq!(list(&place.path("out")), place.whole(&next).0);
    // Two files of one name are refused in an old directory as in a new one.
    let blob = place.object("blob", b"x");
    let twice = place.by_hand(&[("100644", &blob, b"a"), ("100644", &blob, b"a")]);
    let out = place.tool(&twice).arg("--update").output().unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("two files of this name"), "{out:?}");
}
