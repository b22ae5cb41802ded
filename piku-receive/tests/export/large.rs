//! Large files, and trees that unfold into more than there is room for.

use std::fs;
use std::process::{Command, Output, Stdio};

use piku_tests::snapshot::{assert_redacted, str};

use crate::place::Place;

/// An export that gets so much memory, in KiB.
fn export_within(place: &Place, kib: u64, commit: &str) -> Output {
    run_within(kib, &place.tool(commit))
}

fn run_within(kib: u64, tool: &Command) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -S -d {kib}; exec \"$0\" \"$@\"")]).arg(tool.get_program());
    shell.args(tool.get_args()).stdin(Stdio::null()).output().unwrap()
}

/// `megabytes` of a file that compresses to next to nothing, the last byte of which is `end`.
fn zeros(place: &Place, name: &str, megabytes: usize, end: u8) {
    let mut content = vec![0; megabytes << 20];
    content.extend([end]);
    place.file(name, content);
}

#[test]
fn a_small_push_of_a_large_file_takes_little_memory() {
    let place = Place::new();
    zeros(&place, "zeros", 80, 1);
    let commit = place.file("small", "x").commit();
    let out = export_within(&place, 32 << 10, &commit);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(fs::metadata(place.path("out/zeros")).unwrap().len(), (80 << 20) + 1);
    assert_eq!(fs::read(place.path("out/small")).unwrap(), b"x");
}

#[test]
fn a_large_file_that_has_gone_from_an_earlier_export_takes_little_memory_again() {
    let place = Place::new();
    zeros(&place, "folder/below/zeros", 80, 1);
    let commit = place.file("folder/small", "x").commit();
    let mut tool = place.tool(&commit);
    tool.arg("--update");
    // As after an export of another commit that failed, or was cancelled.
    for gone in ["", "folder", "folder/below", "folder/below/zeros"] {
        let path = place.path("out").join(gone);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else if path.exists() {
            fs::remove_file(path).unwrap();
        }
        fs::create_dir_all(place.path("out")).unwrap();
        let out = run_within(32 << 10, &tool);
        assert!(out.status.success(), "{gone}: {}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(fs::metadata(place.path("out/folder/below/zeros")).unwrap().len(), (80 << 20) + 1);
    }
}

#[test]
fn a_file_that_can_only_be_read_as_a_whole_is_refused_by_name_and_size() {
    let place = Place::new();
    zeros(&place, "one", 60, 1);
    zeros(&place, "two", 60, 2);
    let commit = place.commit();
    place.git(&["-c", "core.bigFileThreshold=1g", "repack", "-adfq", "--window=2"], &place.work());
    let out = export_within(&place, 32 << 10, &commit);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("git cannot read its 60.0 MiB"), "{said}");
    assert!(said.contains("cannot write 'one'") || said.contains("cannot write 'two'"), "{said}");
    place.nothing_is_left();
    // Where there is memory for it, it is a file like any other.
    let out = place.exported(&commit);
    assert_eq!(fs::read(out.join("two")).unwrap().last(), Some(&2));
}

#[test]
fn a_tree_bomb_is_refused_before_anything_is_written() {
    let place = Place::new();
    let blob = place.object("blob", b"boom");
    // Ten times itself, twenty levels deep.
    let mut tree = place.tree(&[("100644", &blob, b"f")]);
    let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    for _ in 0..20 {
        let entries: Vec<_> = names.iter().map(|name| ("40000", tree.as_str(), name.as_bytes())).collect();
        tree = place.tree(&entries);
    }
    place.refused(&place.by_hand(&[("40000", &tree, b"bomb")]), "holds more than 1000000 files");
    // Few files, each the same large one.
    let large = place.object("blob", &vec![b'x'; 16 << 20]);
    let names: Vec<String> = (0..700).map(|n| format!("{n:03}")).collect();
    let entries: Vec<_> = names.iter().map(|name| ("100644", large.as_str(), name.as_bytes())).collect();
    let inner = place.tree(&entries);
    let entries: Vec<_> = names.iter().map(|name| ("40000", inner.as_str(), name.as_bytes())).collect();
    place.refused(&place.by_hand(&entries), "not enough space on the disk");
}

#[test]
fn long_names_and_long_paths() {
    let place = Place::new();
    let blob = place.object("blob", b"x");
    let name = [b'n'; 255];
    let out = place.exported(&place.by_hand(&[("100644", &blob, &name), ("100644", &blob, b"z\xff")]));
    assert_eq!(fs::read_dir(out).unwrap().count(), 2);
    fs::remove_dir_all(place.path("out")).unwrap();
    place.refused(&place.by_hand(&[("100644", &blob, &[b'n'; 256])]), "name too long");
    let mut tree = place.tree(&[("100644", &blob, b"f")]);
    for _ in 0..20 {
        tree = place.tree(&[("40000", &tree, &name)]);
    }
    place.refused(&place.by_hand(&[("40000", &tree, b"deep")]), "is longer than 3500 bytes");
    let target = place.object("blob", &vec![b'x'; 2 << 20]);
    place.refused(
        &place.by_hand(&[("120000", &target, b"link")]),
        "'link' to 'a target of megabytes' is not a path",
    );
}

#[test]
fn the_reserve_of_the_disk_is_kept() {
    let place = Place::new();
    let commit = place.file("x", "x").commit();
    let settings = place.path("host.yaml");
    fs::write(&settings, "disk_reserve: 1000000000\n").unwrap();
    let out = place.tool(&commit).arg("--settings").arg(&settings).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert_redacted(
        &said,
        &[],
        str![[r#"
piku-receive: not enough space on the disk of '[DIR]/.export.[..]': what was pushed needs about 4 KiB and a reserve of 976562.5 GiB; [..] are free, [..] are missing
hint: run 'piku gc' to remove unused files, enlarge the disk, or lower disk_reserve in host.yaml

"#]],
    );
    place.nothing_is_left();
}
