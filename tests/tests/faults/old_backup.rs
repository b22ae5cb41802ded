//! A backup of a piku that saved devices among the files of an app.

use std::fs;
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use piku_backup::{ArchiveWriter, BackupHead, BackupPart, FORMAT, LeftOut};
use piku_tests::skip;
use piku_tests::snapshot::text;
use piku_tests::world::World;

/// Returns a backup whose data has a file and, if it can be made, a device with the numbers 0 and 0.
fn backup(world: &World) -> Option<Vec<u8>> {
    let files = world.path("home/files");
    fs::create_dir(&files).expect("a folder");
    fs::write(files.join("note"), "kept\n").expect("a file");
    mknod(&files.join("device"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(0, 0)).ok()?;
    let tar = Command::new("tar").arg("-C").arg(&files).args(["-c", "."]).output().expect("tar");
    assert!(tar.status.success(), "{}", text(&tar));
    let part = BackupPart::Data("blog".parse().expect("a name"));
    let head = serde_json::json!({
        "format": FORMAT, "kind": "apps", "at": "2026-11-01T00:00:00Z", "host": "pi", "piku": "0.1.0",
        "apps": [{"app": "blog", "branch": null, "commit": null}], "parts": [part.to_string()],
    });
    let head: BackupHead = serde_json::from_value(head).expect("a head");
    let mut archive = ArchiveWriter::new(&head, Vec::new()).expect("a backup");
    let mut stream = archive.stream_part(&part).expect("a part");
    stream.copy_from(&mut tar.stdout.as_slice(), &mut archive).expect("the data");
    stream.finish(&mut archive, LeftOut::default()).expect("its end");
    Some(archive.finish().expect("the end").0)
}

#[test]
fn devices_of_an_old_backup_are_left_out() {
    let world = World::new();
    let Some(backup) = backup(&world) else {
        return skip("a device in a backup: the tests may not make one");
    };
    let file = world.path("home/backup");
    fs::write(&file, backup).expect("the backup");
    let mut restore = world.tool("piku-run");
    restore.args(["restore", "blog"]).stdin(fs::File::open(file).expect("the backup"));
    let out = restore.output().expect("piku-run");
    assert!(text(&out).contains("blog: devices are left out: 1"), "{}", text(&out));
    assert!(out.status.success(), "{}", text(&out));
    let data = world.app("blog").join("data");
    assert_eq!(fs::read_to_string(data.join("note")).expect("the file"), "kept\n");
    assert!(fs::symlink_metadata(data.join("device")).is_err());
}
