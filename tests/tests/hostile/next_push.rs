//! Builds and commits that would spoil the next push.

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
    let left = std::fs::read_dir(world.app("blog")).expect("the app's folder").flatten();
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
