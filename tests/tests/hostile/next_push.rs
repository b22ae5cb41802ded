//! Builds and commits that would spoil the next push.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use piku_tests::processes::{self, kill_all};
use piku_tests::world::{World, wait_for};

#[test]
fn unreadable_build_leftovers_do_not_block_push() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n");
    let build = "mkdir -p d/e && touch d/e/f && chmod 000 d/e && chmod 500 d && sleep 1000";
    repo.file("Procfile", format!("web: ./serve\npreflight: {build}\n"));
    let push = repo.commit("Hangs").start_push();
    wait_for("the build", || !processes::find(&world.root(), "sleep 1000").is_empty());
    kill_all(&processes::find(&world.root(), "lib/post-receive"));
    kill_all(&processes::find(&world.root(), "piku-build build"));
    assert!(!push.wait_with_output().expect("git push").status.success());
    repo.serves("better\n").commit("Better").push().succeeds();
    assert_eq!(world.page("blog"), "better\n");
    let left = fs::read_dir(world.app("blog")).expect("the app's folder").flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("deploy.")));
}

#[test]
fn long_commit_subject_is_truncated() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").file("message", "é".repeat(100_000)).git(&["add", "-A"]);
    repo.git(&["commit", "-q", "-F", "message"]);
    repo.push().succeeds();
    let out = world.ssh("laptop", "releases blog");
    assert!(String::from_utf8_lossy(&out.stdout).contains("éééé"), "{out:?}");
}

#[test]
fn build_step_cannot_change_source_or_older_release() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    let old = world.app("blog").join("releases/1/app/page");
    let source = world.app("blog").join("source/page");
    let state = |path: &Path| {
        let meta = fs::metadata(path).expect("the page");
        (fs::read(path).expect("the page"), meta.mode(), meta.mtime(), meta.mtime_nsec())
    };
    assert_eq!(fs::metadata(&old).expect("the page").ino(), fs::metadata(&source).expect("the page").ino());
    let before = state(&old);
    let attack = "chmod 6777 page; echo evil >page; touch -d @1 page; ln page other; echo evil >>other\n";
    repo.file("attack", attack).file("Procfile", "web: ./serve\npreflight: sh attack\n");
    repo.commit("Evil").push().succeeds();
    assert_eq!(world.page("blog"), "evil\nevil\n");
    assert_eq!(state(&old), before);
    assert_eq!(state(&source), before);
    repo.file("Procfile", "web: ./serve\n").commit("Good again").push().succeeds();
    assert_eq!(world.page("blog"), "good\n");
    // Where a fault of the disk or an operator has changed the source, the commit counts.
    fs::write(&source, "damaged\n").expect("the source");
    repo.file("other", "1").commit("After a fault").push().succeeds();
    assert_eq!(world.page("blog"), "good\n");
    fs::remove_dir_all(source.parent().expect("the source")).expect("the source");
    repo.file("other", "2").commit("Without the source").push().succeeds();
    assert_eq!(world.page("blog"), "good\n");
}
