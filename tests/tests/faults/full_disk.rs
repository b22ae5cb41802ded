//! A deploy and a destroy where the disk of the app's folder is full: a real file system without room, in a mount namespace of the command's own.

use std::process::Output;

use piku_tests::world::{World, wait_for};

/// Puts a copy of the app's folder on a file system of 8 MB, fills that to its last byte, and runs the command.
const ON_A_FULL_DISK: &str = r#"set -e
app=$1 aside=$2; shift 2
mkdir "$aside"; cp -a "$app/." "$aside"
mount -t tmpfs -o size=8m,mode=700 tmpfs "$app"
cp -a "$aside/." "$app"
dd if=/dev/zero of="$app/filler" bs=4k 2>/dev/null || :
exec "$@""#;

fn on_a_full_disk(world: &World, app: &str, words: &[&str]) -> Output {
    let mut command = world.command("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", ON_A_FULL_DISK, "sh"]);
    command.arg(world.app(app)).arg(world.path("home/aside")).args(words);
    command.output().expect("unshare runs")
}

#[test]
fn deploy_on_full_disk_fails_cleanly() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    // Of a commit that is live already, whose record must not count as a success of this deploy.
    let out = on_a_full_disk(&world, "blog", &["piku-receive", "deploy", "blog"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(world.page("blog"), "good\n");
    repo.serves("better\n").commit("Better").push().succeeds();
    assert_eq!(world.page("blog"), "better\n");
}

/// The verb that makes room must not need any.
#[test]
fn destroy_on_full_disk_succeeds() {
    let world = World::new();
    world.repo("blog").serves("good\n").commit("Good").push().succeeds();
    let out = on_a_full_disk(&world, "blog", &["piku-run", "destroy", "blog", "--confirm", "blog"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("blog is destroyed; what it had is kept until "), "{said}");
}

/// Puts the app's folder on a file system that gets no further file, an empty one neither, and runs piku-run.
const WITHOUT_INODES: &str = r#"set -e
app=$1 aside=$2; shift 2
mkdir "$aside"; cp -a "$app/." "$aside"
mount -t tmpfs -o size=64m,nr_inodes=4000,mode=700 tmpfs "$app"
cp -a "$aside/." "$app"
number=0
while [ "$number" -lt 5000 ] && { true >"$app/data/$number"; } 2>/dev/null; do number=$((number + 1)); done
[ "$number" -lt 5000 ]
exec piku-run "$@""#;

#[test]
fn an_app_whose_disk_gets_no_further_file_is_ended() {
    let world = World::new();
    world.repo("blog").serves("good\n").commit("Good").push().succeeds();
    for words in [&["maintenance", "blog", "on"][..], &["destroy", "blog", "--confirm", "blog", "--now"]] {
        let mut command = world.command("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", WITHOUT_INODES, "sh"]);
        command.arg(world.app("blog")).arg(world.path("home").join(words[0])).args(words);
        let out = command.output().expect("unshare runs");
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "{words:?}: {said}");
    }
}

#[test]
fn destroy_needs_nothing_to_remove_first() {
    let world = World::new();
    for words in
        [&["destroy", "shop", "--confirm", "shop"][..], &["destroy", "shop", "--confirm", "shop", "--now"]]
    {
        let created =
            world.tool("piku-receive").args(["create", "shop"]).output().expect("piku-receive runs");
        assert!(created.status.success(), "{created:?}");
        // Its next holder finds no room in it.
        std::fs::write(world.app("shop").join("lock"), "").expect("a lock");
        let out = on_a_full_disk(&world, "shop", &[&["piku-run"], words].concat());
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "{said}");
        assert!(said.contains("shop is destroyed"), "{said}");
        std::fs::remove_dir_all(world.app("shop")).expect("the folder");
        std::fs::remove_dir_all(world.path("home/aside")).expect("the copy");
    }
}

#[test]
fn create_on_full_disk_leaves_nothing() {
    let world = World::new();
    let script = r#"set -e
mount -t tmpfs -o size=64k,mode=700 tmpfs "$1"
dd if=/dev/zero of="$1/filler" bs=4k 2>/dev/null || :
! piku-receive create blog
ls -A "$1""#;
    let mut command = world.command("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(world.root().join("apps"));
    std::fs::create_dir_all(world.root().join("apps")).expect("the folder");
    let out = command.output().expect("unshare runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "filler\n", "{said}");
}

/// An app whose state cannot be saved is not replaced, and runs again.
#[test]
fn replacement_without_room_for_the_old_state_changes_nothing() {
    let world = World::new();
    world.repo("blog").serves("good\n").commit("Good").push().succeeds();
    std::fs::write(world.app("blog").join("data/note"), vec![b'x'; 300_000]).expect("data");
    let backup = world.tool("piku-run").args(["backup", "blog"]).output().expect("piku-run runs");
    assert!(backup.status.success(), "{backup:?}");
    std::fs::write(world.path("home/backup"), backup.stdout).expect("the backup");
    std::fs::write(world.app("blog").join("data/note"), vec![b'y'; 300_000]).expect("data");
    std::fs::create_dir_all(world.root().join("replaced")).expect("the folder");
    let script =
        r#"mount -t tmpfs -o size=100k,mode=700 tmpfs "$1" && exec piku-run restore blog --replace <"$2""#;
    let mut command = world.command("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    let out = command.arg(world.root().join("replaced")).arg(world.path("home/backup")).output();
    let out = out.expect("unshare runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert_eq!(std::fs::read(world.app("blog").join("data/note")).expect("data")[0], b'y', "{said}");
    wait_for("the page", || world.try_page("blog").is_some_and(|page| page == "good\n"));
}
