//! An app that is destroyed while it is being read: nobody takes half of it for the whole.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};

use piku_tests::snapshot::text;
use piku_tests::world::World;

/// Size of each file, more than the pipes to a reader hold.
const SIZE: usize = 4 << 20;

/// A world with an app that has large files.
fn live() -> World {
    let world = World::new();
    world.repo("blog").serves("page\n").commit("One").push().succeeds();
    // Nothing that a backup could compress.
    let mut random = fs::File::open("/dev/urandom").expect("random bytes");
    let mut content = vec![0; SIZE];
    random.read_exact(&mut content).expect("random bytes");
    let files = world.path("home/files");
    fs::create_dir(&files).expect("a folder");
    for name in ["a", "b", "c"] {
        fs::write(files.join(name), &content).expect("a file");
    }
    let tar = Command::new("tar").arg("-C").arg(&files).args(["-c", "."]).output().expect("tar");
    let archive = world.path("home/files.tar");
    fs::write(&archive, tar.stdout).expect("the archive");
    let mut import = run(&world, &["data", "blog", "import"]);
    import.stdin(fs::File::open(archive).expect("the archive"));
    let out = import.output().expect("piku-run");
    assert!(out.status.success(), "{}", text(&out));
    world
}

fn run(world: &World, args: &[&str]) -> Command {
    let mut command = world.tool("piku-run");
    command.args(args);
    command
}

/// Starts a command that has written its first bytes, and waits for a reader of the others.
fn start(world: &World, args: &[&str]) -> (Child, Vec<u8>) {
    let mut child = run(world, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("piku-run");
    let mut first = vec![0; SIZE / 2];
    child.stdout.as_mut().expect("its output").read_exact(&mut first).expect("the first bytes");
    (child, first)
}

/// Reads the rest of its output.
fn end(child: Child, first: Vec<u8>) -> Output {
    let mut out = child.wait_with_output().expect("its end");
    out.stdout = [first, out.stdout].concat();
    out
}

#[test]
fn a_backup_of_a_destroyed_app_has_no_half_of_it() {
    let world = live();
    let (child, first) = start(&world, &["backup", "blog"]);
    let out = run(&world, &["destroy", "blog", "--confirm", "blog", "--now"]).output().expect("piku-run");
    assert!(out.status.success(), "{}", text(&out));
    let backup = end(child, first);
    let said = String::from_utf8_lossy(&backup.stderr).into_owned();
    let told = "blog: the backup lacks the end of its files: the app was destroyed while they were read";
    assert!(backup.status.code() == Some(1) && said.contains(told), "{:?} {said}", backup.status);
    // Nothing takes it for whole.
    let file = world.path("home/backup");
    fs::write(&file, &backup.stdout).expect("the backup");
    for (args, told) in [
        (&["backup", "verify"][..], told),
        (&["restore", "blog"], "the app was destroyed while they were read"),
    ] {
        let input = fs::File::open(&file).expect("the backup");
        let out = run(&world, args).stdin(input).output().expect("piku-run");
        assert!(out.status.code() == Some(1) && text(&out).contains(told), "{args:?}: {}", text(&out));
    }
    assert!(!world.app("blog").join("data").exists());
}

#[test]
fn a_backup_of_an_app_that_is_kept_is_whole() {
    let world = live();
    let (child, first) = start(&world, &["backup", "blog"]);
    let out = run(&world, &["destroy", "blog", "--confirm", "blog"]).output().expect("piku-run");
    assert!(out.status.success(), "{}", text(&out));
    let backup = end(child, first);
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
}
