//! `scripts/demo`, the first command of the README: it serves two releases of an app and leaves nothing, and `--end` removes what a
//! killed demo has left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::unistd::{User, geteuid};
use piku_tests::snapshot::text;
use piku_tests::tools::{built, repository};

const TOOLS: [&str; 5] = ["piku-receive", "piku-build", "piku-run", "piku-procfile", "piku-chroot"];

/// Returns the demo with the tools that are built already, which count as those of a release.
fn demo(target: &Path) -> Command {
    let mut demo = Command::new("sh");
    demo.arg(repository().join("scripts/demo")).env("CARGO_TARGET_DIR", target).stdin(Stdio::null());
    demo
}

fn run(target: &Path, words: &[&str]) -> Output {
    demo(target).args(words).output().expect("the demo runs")
}

fn is_gone() {
    assert!(User::from_name("piku-demo").expect("user database").is_none(), "the user is left");
    assert!(fs::symlink_metadata("/run/piku-demo").is_err(), "the mark is left");
}

#[test]
fn demo_serves_and_leaves_nothing() {
    if !geteuid().is_root() {
        return piku_tests::skip("the demo creates a user");
    }
    let target = tempfile::tempdir().expect("a folder");
    fs::set_permissions(target.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::create_dir(target.path().join("release")).expect("a folder");
    for tool in TOOLS {
        symlink(built().join(tool), target.path().join("release").join(tool)).expect(tool);
    }

    let mut killed = demo(target.path());
    killed.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut killed = killed.spawn().expect("the demo runs");
    let said = BufReader::new(killed.stdout.take().expect("stdout"));
    let line = said.lines().map_while(Result::ok).find(|line| line.starts_with("sshd on "));
    let place = line.as_deref().and_then(|line| line.rsplit(' ').next()).expect("where it is").to_owned();
    killed.kill().expect("it is killed");
    killed.wait().expect("it has ended");
    assert!(Path::new(&place).is_dir());

    let again = run(target.path(), &[]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains(&format!("a demo is already running in {place}; stop it with: ")));
    let ended = run(target.path(), &["--end"]);
    assert!(ended.status.success(), "{}", text(&ended));
    assert!(!Path::new(&place).exists());
    assert_eq!(piku_tests::processes::find(Path::new(&place), ""), [0; 0]);
    is_gone();

    let whole = run(target.path(), &[]);
    let said = text(&whole);
    if said.contains("failed to lookup address") || said.contains("Temporary failure in name resolution") {
        return piku_tests::skip("the demo: PyPI cannot be reached");
    }
    assert!(whole.status.success(), "{said}");
    for line in ["Hello from piku!", "Hello again, a release later!", "Everything is stopped and removed."] {
        assert!(said.contains(line), "no '{line}': {said}");
    }
    is_gone();
}
