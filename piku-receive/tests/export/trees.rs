//! Trees: their files, links and names, and what no tree may be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use piku_tests::snapshot::{assert_redacted, str, transcript};

use crate::place::{Place, mode};

#[test]
fn files_modes_links_and_odd_names() {
    let place = Place::new();
    place
        .file("run", "#!/bin/sh\n")
        .file("a/b/c.txt", "c")
        .file("empty", "")
        .file("-rf", "x")
        .file("a\nb é", "y");
    fs::set_permissions(place.work().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("b/c.txt", place.work().join("a/link")).unwrap();
    symlink("../run", place.work().join("a/up")).unwrap();
    symlink("/data/uploads", place.work().join("uploads")).unwrap();
    let out = place.exported(&place.commit());
    assert_eq!(fs::read_to_string(out.join("a/b/c.txt")).unwrap(), "c");
    assert_eq!(mode(&out.join("run")), 0o755);
    assert_eq!(mode(&out.join("empty")), 0o644);
    assert_eq!(mode(&out), 0o755);
    assert_eq!(fs::read_link(out.join("a/link")).unwrap(), Path::new("b/c.txt"));
    assert_eq!(fs::read_link(out.join("uploads")).unwrap(), Path::new("/data/uploads"));
    assert_eq!(fs::read_to_string(out.join("a\nb é")).unwrap(), "y");
    assert!(!out.join(".git").exists());
}

#[test]
fn the_folder_must_be_new_or_empty_and_is_removed_on_failure() {
    let place = Place::new();
    let commit = place.file("x", "x").commit();
    fs::create_dir(place.path("out")).unwrap();
    place.exported(&commit);
    let again = place.export(&commit);
    assert_redacted(
        &transcript(&again),
        &[],
        str![[r#"
exit status: 1
--- stderr
piku-receive: '[DIR]/out' exists and is not an empty directory

"#]],
    );
    assert_eq!(fs::read_to_string(place.path("out/x")).unwrap(), "x", "what is there stays");
    fs::remove_dir_all(place.path("out")).unwrap();
    symlink(place.path("elsewhere"), place.path("out")).unwrap();
    assert!(!place.export(&commit).status.success());
    assert!(!place.path("elsewhere").exists());
}

#[test]
fn a_missing_commit_and_an_empty_one() {
    let place = Place::new();
    place.refused("main", "cannot find commit 'main'");
    let empty = place.commit();
    place.refused(&empty, "contains no files");
    place.refused(&"1".repeat(40), "cannot find commit '111");
    let blob = place.object("blob", b"x");
    place.refused(&blob, "cannot find commit");
    place.refused("main a", "cannot find commit 'main a'");
    let lost = place.by_hand(&[("100644", &"2".repeat(40), b"lost")]);
    place.refused(&lost, "cannot read 'lost' from the repository");
}

#[test]
fn names_and_kinds_that_git_does_not_make() {
    let place = Place::new();
    let blob = place.object("blob", b"x");
    for name in [&b".git"[..], b".GIT", b".giT", b".", b".."] {
        place.refused(&place.by_hand(&[("100644", &blob, name)]), "must not contain a file named");
        let inner = place.tree(&[("100644", &blob, name)]);
        let outer = place.by_hand(&[("40000", &inner, b"sub")]);
        place.refused(&outer, &format!("'sub/{}'", String::from_utf8_lossy(name)));
    }
    place.refused(&place.by_hand(&[("100644", &blob, b"a/b")]), "'a/b'");
    place.refused(&place.by_hand(&[("100644", &blob, b"../b")]), "'../b'");
    place.refused(&place.by_hand(&[("60000", &blob, b"dev")]), "'dev'");
    let mut deep = place.tree(&[("100644", &blob, b"x")]);
    for _ in 0..300 {
        deep = place.tree(&[("40000", &deep, b"d")]);
    }
    place.refused(&place.by_hand(&[("40000", &deep, b"d")]), "folders deeper than 200");
}

#[test]
fn nothing_is_written_through_a_link() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    let blob = place.object("blob", b"x");
    let inside = place.tree(&[("100644", &blob, b"written")]);
    // One name twice: first a link that is allowed, then a folder to be filled through it.
    let link = place.object("blob", b"/data/x");
    place.refused(
        &place.by_hand(&[("120000", &link, b"a"), ("40000", &inside, b"a")]),
        "two files of this name",
    );
    place.refused(
        &place.by_hand(&[("120000", &link, b"a"), ("100644", &blob, b"a")]),
        "two files of this name",
    );
    for target in [
        "/etc/passwd",
        "../../../config.json",
        "sub/../../..",
        "/proc/self/root",
        "",
        outside.to_str().unwrap(),
    ] {
        let link = place.object("blob", target.as_bytes());
        place.refused(
            &place.by_hand(&[("120000", &link, b"out"), ("40000", &inside, b"sub")]),
            "the link 'out' to",
        );
    }
    let up = place.object("blob", b"../..");
    let sub = place.tree(&[("120000", &up, b"up")]);
    place.refused(
        &place.by_hand(&[("40000", &sub, b"sub")]),
        "the link 'sub/up' to '../..' leads out of the app",
    );
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn endless_tree_is_refused() {
    let place = Place::new();
    let blob = place.object("blob", b"x");
    let names: Vec<Vec<u8>> = (0..100).map(|n| format!("n{n:02}").into_bytes()).collect();
    let mut tree = blob;
    for level in 0..6 {
        let kind = if level == 0 { "100644" } else { "40000" };
        let entries: Vec<(&str, &str, &[u8])> =
            names.iter().map(|name| (kind, tree.as_str(), name.as_slice())).collect();
        tree = place.tree(&entries);
    }
    // 10^12 files in six small trees, counted before the first is written.
    let commit = place.git(&["commit-tree", &tree, "-m", "x"], &place.work());
    place.refused(&commit, "holds more than 1000000 files");
}

#[test]
fn a_hundred_thousand_files() {
    let place = Place::new();
    let blob = place.object("blob", b"x");
    let names: Vec<Vec<u8>> = (0..1000).map(|n| format!("f{n:03}").into_bytes()).collect();
    let entries: Vec<(&str, &str, &[u8])> =
        names.iter().map(|name| ("100644", blob.as_str(), name.as_slice())).collect();
    let folder = place.tree(&entries);
    let entries: Vec<(&str, &str, &[u8])> =
        names[..100].iter().map(|name| ("40000", folder.as_str(), name.as_slice())).collect();
    let out = place.exported(&place.by_hand(&entries));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 100);
    assert_eq!(fs::read_dir(out.join("f099")).unwrap().count(), 1000);
}

#[test]
fn git_lfs_pointers_are_reported() {
    let place = Place::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12345\n";
    let commit = place.file("big.bin", pointer).file("other.bin", pointer).file("x", "x").commit();
    let out = place.export(&commit);
    assert!(out.status.success(), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr);
    let told = " !     'big.bin' and 1 more are pointers to Git LFS and deployed as such: piku does not support LFS;";
    assert!(said.starts_with(told) && said.lines().count() == 1, "{said}");
}

#[test]
fn an_export_that_is_killed_leaves_no_half_tree() {
    let place = Place::new();
    for n in 0..200 {
        place.file(&format!("f{n}"), "x");
    }
    let commit = place.commit();
    for round in 0..10 {
        let mut export = place.tool(&commit).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round));
        export.kill().unwrap();
        export.wait().unwrap();
        if place.path("out").exists() {
            assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 200);
            fs::remove_dir_all(place.path("out")).unwrap();
        }
    }
}
