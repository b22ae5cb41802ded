//! Instances in jails of which their supervisor has prepared what is the same in all.

use std::fs;
use std::os::unix::fs::PermissionsExt;

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

#[test]
fn an_instance_starts_at_once_with_a_piku_chroot_that_knows_no_prepared_root() {
    let mut world = World::with_settings("app_users: shared");
    world.end_daemon(Signal::SIGTERM);
    let older = world.path("older-piku-chroot");
    let program = world.tool("piku-chroot").get_program().to_owned();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--prepared=*) echo no such option >&2; exit 125 ;; esac\nexec '{}' \"$@\"\n",
        program.to_string_lossy()
    );
    fs::write(&older, script).expect("a script");
    fs::set_permissions(&older, fs::Permissions::from_mode(0o755)).expect("a mode");
    world.start_daemon_with(&[("PIKU_CHROOT", &older)]);
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One").push().succeeds();
    let out = world.tool("piku-run").args(["scale", "blog", "web=3"]).output().expect("piku-run");
    assert!(out.status.success(), "{out:?}");
    let rows = world.ps("blog");
    assert!(
        rows.len() == 3 && rows.iter().all(|row| row["state"] == "healthy" && row["restarts"] == 0),
        "{rows:?}"
    );
    let log = fs::read_to_string(world.app("blog").join("log/web.3.log")).expect("its log");
    assert!(log.contains("no such option"), "it was tried: {log}");
    repo.serves("two\n").commit("Two").push().succeeds();
    assert_eq!(world.page("blog"), "two\n");
}
