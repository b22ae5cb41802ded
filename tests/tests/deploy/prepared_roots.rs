//! Instances in jails of which their supervisor has prepared what is the same in all.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::world::{World, wait_for};

#[test]
fn the_third_instance_and_successors_have_a_prepared_root() {
    let world = World::with_settings("app_users: shared");
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One").push().succeeds();
    let out = world.tool("piku-run").args(["scale", "blog", "web=3"]).output().expect("piku-run");
    assert!(out.status.success(), "{out:?}");
    let row =
        |name: &str| world.ps("blog").into_iter().find(|row| row["instance"] == name).expect("an instance");
    let pid = |name: &str| row(name)["pid"].as_i64().unwrap_or_default();
    let is_prepared = |pid: i64| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).expect("a command line");
        String::from_utf8_lossy(&line).contains("--prepared=")
    };
    let (first, third) = (pid("web.1"), pid("web.3"));
    assert_eq!((is_prepared(first), is_prepared(third)), (false, true));
    kill(Pid::from_raw(first.try_into().expect("a pid")), Signal::SIGKILL).expect("kill");
    wait_for("its successor", || row("web.1")["state"] == "healthy" && pid("web.1") != first);
    assert!(is_prepared(pid("web.1")));
    assert_eq!(world.page("blog"), "one\n");
    // Another release starts with it at once.
    repo.serves("two\n").commit("Two").push().succeeds();
    assert_eq!(world.page("blog"), "two\n");
    assert!(["web.1", "web.2", "web.3"].iter().all(|name| is_prepared(pid(name))));
}
