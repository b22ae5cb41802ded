//! Control of a build by the pusher: dry runs and cancellation.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::processes;
use piku_tests::snapshot::str;
use piku_tests::world::{World, wait_for};

#[test]
fn dry_run_prints_plan() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One").push().succeeds();
    repo.file("page", "two\n").file("ENV", "COLOUR=blue\n").commit("Two");
    repo.push_with(&["-o", "dry-run", "piku", "main"]).succeeds_as(str![[r#"
       Sandbox: [PROTECTIONS]
runtime  binary
because  there is a Procfile
process  web: ./serve (Procfile)
env      COLOUR LANG [..]PATH[..]
-----> Dry run: nothing is stored, nothing is deployed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "one\n");
    assert_eq!(world.releases("blog"), ["1"]);
    // A bad Procfile fails a dry run as it would fail a deploy.
    repo.file("Procfile", "web\n").commit("Bad");
    repo.push_with(&["-o", "dry-run", "piku", "main"]).fails_with(&["Procfile:1"]);
    repo.file("Procfile", "web: ./serve\n").commit("Good");
    let said = repo.push().succeeds();
    assert!(said.contains("release 2"), "a dry run takes no number:\n{said}");
    assert_eq!(world.page("blog"), "two\n");
}

#[test]
fn cancelled_build_fails_push() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    let nothing = world.ssh("laptop", "cancel blog");
    let said = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(nothing.status.code() == Some(1) && said.contains("blog is not being built"), "{said}");
    let unknown = world.ssh("laptop", "cancel blgo");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("there is no app 'blgo'\nhint: did you mean 'blog'?"), "{said}");

    // Known by a number of seconds that nobody else sleeps.
    let sleeper = format!("sleep {}", 100_000 + std::process::id());
    let runs = || !processes::find(Path::new(&sleeper), &sleeper).is_empty();
    repo.file("Procfile", format!("preflight: {sleeper}\nweb: ./serve\n")).commit("Slow");
    let push = repo.start_push();
    wait_for("the build", runs);
    let out = world.ssh("laptop", "cancel blog");
    assert!(out.status.success(), "{out:?}");
    let out = push.wait_with_output().expect("git push");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains(" !     cancelled by laptop") && said.contains("failed at: build"), "{said}");
    wait_for("the step to end", || !runs());
    assert_eq!(world.page("blog"), "good\n");
    assert_eq!(world.releases("blog"), ["1"]);
    let left = fs::read_dir(world.app("blog")).expect("the app's folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "log").collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("deploy.")), "{left:?}");
    repo.file("Procfile", "web: ./serve\n").commit("Quick").push().succeeds();
}

#[test]
fn cancelled_build_that_ignores_sigterm_is_killed() {
    let world = World::with_settings("lock_timeout: 0\n");
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    let sleeper = format!("sleep {}", 200_000 + std::process::id());
    repo.file("Procfile", format!("preflight: {sleeper}\nweb: ./serve\n")).commit("Hangs");
    let push = repo.start_push();
    wait_for("the build", || !processes::find(Path::new(&sleeper), &sleeper).is_empty());
    // Stopped, it hears as little as one that reads what nobody writes.
    let builds = processes::find(&world.root(), "piku-build build");
    assert!(!builds.is_empty());
    for pid in &builds {
        kill(Pid::from_raw(*pid), Signal::SIGSTOP).expect("SIGSTOP");
    }

    // Whoever comes meanwhile waits for a time, and knows for whom.
    let other = world.repo("blog-again");
    let out = other.serves("other\n").commit("Other").push_with(&["-f", &world.url("blog"), "main"]);
    let said = out.fails_with(&["Waiting for laptop, who has been changing blog since 20"]);
    assert!(said.contains("gave up waiting for laptop, who has been changing blog since 20"), "{said}");
    assert!(said.contains("hint: lock_timeout in host.yaml"), "{said}");

    let out = world.ssh("laptop", "cancel blog");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("ignored SIGTERM and was killed"), "{said}");
    for pid in builds {
        assert!(!Path::new("/proc").join(pid.to_string()).exists() || is_dead(pid), "{pid} is still there");
    }
    wait_for("its step to end", || processes::find(Path::new(&sleeper), &sleeper).is_empty());
    let out = push.wait_with_output().expect("git push");
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains(" !     cancelled by laptop"), "{out:?}");
    repo.file("Procfile", "web: ./serve\n").commit("Quick").push().succeeds();
    assert_eq!(world.page("blog"), "good\n");
}

fn is_dead(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
