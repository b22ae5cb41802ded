//! Kill -9, a laptop that dies, two pushes at once: the next push is clean.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use piku_tests::repo::Repo;
use piku_tests::snapshot::{assert_redacted, str};
use support::{Running, Server, wait_for};

/// `git push piku main`, in the background, in a process group of its own.
fn push_in_background(laptop: &Repo) -> Running {
    let mut git = laptop.command();
    git.args(["push", "piku", "main"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Running(git.process_group(0).spawn().unwrap())
}

fn pid_of(child: &std::process::Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

fn said(mut running: Running) -> (bool, String) {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut running.0.stderr.take().unwrap(), &mut text).unwrap();
    (running.0.wait().unwrap().success(), text)
}

/// The first line of what a push says, as soon as it is there.
fn first_line(running: &mut Running) -> String {
    let stderr = running.0.stderr.as_mut().unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && std::io::Read::read(stderr, &mut byte).unwrap() == 1 {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// The pids of processes that run with this text in their command line, by /proc.
fn processes(text: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).replace('\0', " ").contains(text) {
            found.push(pid);
        }
    }
    found
}

#[test]
fn the_laptop_dies_and_the_deploy_goes_on_to_its_end() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    server.tell("wait");
    laptop.file("page", "one").commit("One");
    let push = push_in_background(&laptop);
    server.hook_waits();
    killpg(pid_of(&push.0), Signal::SIGKILL).unwrap();
    drop(push);
    server.no_longer("wait");
    wait_for("the deploy", || server.verdict("blog")["state"] == "deployed");
    server.settled("blog");
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "one");

    let said = laptop.push().succeeds();
    assert!(!said.contains("fake deploy"), "it is deployed: {said}");
    laptop.file("page", "two").commit("Two").push().succeeds();
}

#[test]
fn the_laptop_dies_and_a_deploy_that_then_fails_is_tried_again() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    server.tell("wait");
    server.tell("fail");
    laptop.file("page", "one").commit("One");
    let push = push_in_background(&laptop);
    server.hook_waits();
    killpg(pid_of(&push.0), Signal::SIGKILL).unwrap();
    drop(push);
    server.no_longer("wait");
    wait_for("the verdict", || server.verdict("blog")["state"] == "failed");
    server.no_longer("fail");
    assert!(laptop.push().succeeds().contains("fake deploy 2"));
}

/// Holds that a push says that it waits for another.
#[track_caller]
fn expect_waiting(push: &mut Running) {
    assert_redacted(
        &first_line(push),
        &[],
        str![[r#"
-----> Waiting for alice, who has been changing blog since [TIME] (process [PID])

"#]],
    );
}

#[test]
fn second_push_waits_and_names_the_first() {
    let server = Server::new();
    server.add_key("bob", &[]);
    let alice = server.laptop("blog");
    let bob = server.laptop_of("bob", "blog", "blog");
    alice.file("page", "one").commit("One");
    bob.git(&["fetch", "-q", alice.path().to_str().unwrap(), "main"]);
    bob.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
    bob.file("page", "two").commit("Two");

    server.tell("wait");
    let first = push_in_background(&alice);
    server.hook_waits();
    let mut second = push_in_background(&bob);
    expect_waiting(&mut second);

    // Who only reads waits for nobody.
    alice.git(&["ls-remote", "piku"]);
    assert_eq!(server.deploys().len(), 1);
    server.no_longer("wait");
    let (ok, told) = said(first);
    assert!(ok, "{told}");
    let (ok, told) = said(second);
    assert!(ok, "{told}");
    let deploys = server.deploys();
    assert!(deploys[0].ends_with(" 1 alice") && deploys[1].ends_with(" 2 bob"), "{deploys:?}");
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "two");
}

#[test]
fn a_killed_session_leaves_the_lock_to_its_hook() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    server.tell("wait");
    laptop.file("page", "one").commit("One");
    let push = push_in_background(&laptop);
    server.hook_waits();
    let root = format!("--key alice --root {}", server.path("root").display());
    for pid in processes(&root) {
        // The door itself; a shell in front of it, where there is one, falls with it.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    // git and the hook work on without it, so the next push has to wait for them.
    let mut next = push_in_background(&laptop);
    expect_waiting(&mut next);
    assert_eq!(server.deploys().len(), 1);
    server.no_longer("wait");
    let (ok, text) = said(push);
    assert!(!ok, "nobody was there to give a verdict: {text}");
    let (ok, text) = said(next);
    assert!(ok, "{text}");
    assert_eq!(server.verdict("blog")["state"], "deployed");
    assert_eq!(server.deploys().len(), 1, "what the orphan has deployed is not deployed again");
}

#[test]
fn the_hook_is_killed_and_the_push_fails_and_can_be_repeated() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    server.tell("wait");
    laptop.file("page", "one").commit("One");
    let push = push_in_background(&laptop);
    let hook = server.hook_waits();
    kill(Pid::from_raw(hook), Signal::SIGKILL).unwrap();
    server.no_longer("wait");
    let (ok, text) = said(push);
    assert!(!ok, "{text}");
    server.settled("blog");
    assert_eq!(server.verdict("blog")["state"], "failed");
    laptop.push().succeeds();
    assert_eq!(server.verdict("blog")["state"], "deployed");
}

#[test]
fn all_are_killed_at_any_instant_and_the_next_push_is_clean() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    let root = server.path("root").display().to_string();
    for round in 0..12_u64 {
        laptop.file("page", round.to_string()).commit("More");
        let push = push_in_background(&laptop);
        // Not a proof of anything: each round only falls at another instant, from before the session to after
        // the deploy.
        std::thread::sleep(std::time::Duration::from_millis(round * 25));
        for pid in processes(&root) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = said(push);
        laptop.push().succeeds();
        assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), round.to_string());
    }
    server.settled("blog");
    assert!(!server.app("blog").join("repo.git.new").exists());
    let repo = server.app("blog").join("repo.git");
    let fsck =
        std::process::Command::new("git").arg("-C").arg(&repo).args(["fsck", "--strict"]).output().unwrap();
    assert!(fsck.status.success(), "{fsck:?}");
    let quarantines = fs::read_dir(repo.join("objects")).unwrap().flatten();
    assert!(!quarantines.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("incoming")));
}

#[test]
fn leftovers_of_a_killed_git_do_not_stop_a_push() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One").push().succeeds();
    server.settled("blog");
    let repo = server.app("blog").join("repo.git");
    for lock in ["HEAD.lock", "config.lock", "packed-refs.lock", "refs/heads/main.lock", "shallow.lock"] {
        fs::write(repo.join(lock), "").unwrap();
    }
    laptop.file("page", "two").commit("Two").push().succeeds();
    assert!(!repo.join("refs/heads/main.lock").exists());
}

#[test]
fn a_killed_first_push_leaves_no_half_repository() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    fs::create_dir_all(server.app("blog").join("repo.git.new/refs")).unwrap();
    // Git's refs are in, but begin-deploy never ran: no deploy branch is chosen yet.
    server.tell("fail-early");
    laptop.file("page", "one").commit("One");
    laptop.push_with(&["piku", "main:live"]).fails_with(&[]);
    server.no_longer("fail-early");
    laptop.push_with(&["piku", "main:live"]).succeeds();
    assert_eq!(server.deploys().len(), 1);
    assert_eq!(server.verdict("blog")["ref"], "refs/heads/live");
}
