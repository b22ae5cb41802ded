//! A service whose file system becomes full.

use std::path::{Path, PathBuf};
use std::process::Command;

use piku_tests::skip;
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::{says, says_with};

/// A small file system over a directory, with a copy of its content.
struct SmallDisk(PathBuf);

/// Mounts it. The content is copied by way of a directory beside.
const MOUNT: &str = r#"set -e
cp -a "$1" "$1.aside"
mount -t tmpfs -o "size=$2" tmpfs "$1"
chown --reference="$1.aside" "$1"
chmod --reference="$1.aside" "$1"
cp -a "$1.aside/." "$1"
rm -r "$1.aside""#;

impl SmallDisk {
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", MOUNT, "sh"]).arg(folder).arg(size);
        command.status().expect("sh").success().then(|| Self(folder.to_owned()))
    }

    fn grow(&self, size: &str) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,size={size}")]).arg(&self.0);
        assert!(command.status().expect("mount").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Stores a megabyte that cannot be compressed, in a transaction of its own.
const STORE: &str = "INSERT INTO notes SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 32768) RETURNING 'stored';\n";

#[test]
fn full_disk_loses_nothing_that_was_committed() {
    let world = World::new();
    says(&world, "laptop", "service:create postgres", 0);
    says(&world, "laptop", "create blog", 0);
    says(&world, "laptop", "service:bind postgres blog", 0);
    says(&world, "laptop", "stop postgres", 0);
    let Some(disk) = SmallDisk::mount(&world.root().join("services/postgres/data"), "100m") else {
        return skip("a service on a full disk: the tests may not mount a file system");
    };
    says(&world, "laptop", "start postgres", 0);

    let sql = |words: &str| text(&says_with(&world, "service:console blog", words.as_bytes()));
    wait_for("the server", || sql("CREATE TABLE IF NOT EXISTS notes (text text)").contains("CREATE TABLE"));
    let said = sql(&STORE.repeat(100));
    let stored = said.matches(" stored\n").count();
    assert!((1..100).contains(&stored), "{said}");
    wait_for("a message", || says(&world, "laptop", "logs postgres", 0).contains("No space left on device"));

    disk.grow("400m");
    says(&world, "laptop", "restart postgres", 0);
    // The server may have stopped between a commit and its answer.
    let counts = [stored, stored + 1].map(|count| format!(" {count} rows"));
    wait_for("the server", || {
        let said = sql("SELECT count(*) || ' rows' FROM notes");
        counts.iter().any(|count| said.contains(count))
    });
    assert!(sql(STORE).contains(" stored\n"));
    says(&world, "laptop", "stop postgres", 0);
}

#[test]
fn restore_on_a_full_disk_leaves_the_data_as_it_was() {
    let world = World::new();
    says(&world, "laptop", "service:create postgres", 0);
    says(&world, "laptop", "create blog", 0);
    says(&world, "laptop", "service:bind postgres blog", 0);
    let sql = |words: &str| text(&says_with(&world, "service:console blog", words.as_bytes()));
    let said = sql(&format!("CREATE TABLE notes (text text);\n{}", STORE.repeat(60)));
    assert_eq!(said.matches(" stored\n").count(), 60, "{said}");
    let dump = says_with(&world, "service:dump blog", b"").stdout;
    sql("TRUNCATE notes; INSERT INTO notes VALUES ('kept');\nCHECKPOINT;\n");
    says(&world, "laptop", "stop postgres", 0);
    let Some(disk) = SmallDisk::mount(&world.root().join("services/postgres/data"), "110m") else {
        return skip("a service on a full disk: the tests may not mount a file system");
    };
    says(&world, "laptop", "start postgres", 0);
    let kept = || sql("SELECT count(*) || ' rows ' || max(text) FROM notes").contains(" 1 rows kept");
    wait_for("the server", &kept);
    let out = says_with(&world, "service:restore blog", &dump);
    assert!(!out.status.success(), "{}", text(&out));
    wait_for("the old data", &kept);
    // And with room it is that of the dump.
    disk.grow("500m");
    says(&world, "laptop", "restart postgres", 0);
    let out = says_with(&world, "service:restore blog", &dump);
    assert!(out.status.success(), "{}", text(&out));
    assert!(sql("SELECT count(*) || ' rows' FROM notes").contains(" 60 rows"));
    says(&world, "laptop", "stop postgres", 0);
}
