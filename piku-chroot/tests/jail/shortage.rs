//! Many jails at once, and what is told where none can be made: a shortage, which passes, or a machine that
//! makes none.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use piku_tests::snapshot::str;

use crate::scene::{Outcome, Running, Scene, User, run, users};

/// The kernel allows a user 200 keys, and so 200 jails if each had a session keyring.
const MANY: usize = 250;

#[test]
fn a_user_has_more_jails_than_keyrings() {
    let scene = Scene::new(*users().last().unwrap());
    let mut jails: Vec<Running> = Vec::new();
    for _ in 0..MANY {
        let mut command = scene.jail(&["--root-from-host", "--", "sh", "-c", "echo up; read word; exit 7"]);
        jails.push(Running::start(command.stdin(Stdio::piped())));
    }
    for jail in &mut jails {
        jail.until_line("up");
    }
    for mut jail in jails {
        jail.child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert_eq!(jail.wait().code(), Some(7));
    }
}

/// Runs the program after a `script` in a shell, and returns what it reported too.
fn reported(scene: &Scene, mut shell: Command, script: &str) -> (Outcome, String) {
    let report = scene.path("report");
    let _ = fs::remove_file(&report);
    let script = format!("{script}\nexec \"$1\" --report=\"$2\" --root-from-host -- true");
    let outcome = run(shell.args(["-c", &script, "sh"]).arg(scene.program()).arg(&report));
    (outcome, fs::read_to_string(&report).unwrap_or_default())
}

#[test]
fn a_machine_without_jails_is_told_from_a_shortage() {
    // Held by another program of the user's.
    let held = "echo 1 >/proc/sys/user/max_user_namespaces; unshare -U sleep 60 &
        while [ \"$(readlink /proc/$!/ns/user)\" = \"$(readlink /proc/self/ns/user)\" ]; do :; done";
    for user in users() {
        let scene = Scene::new(user);
        for (script, obstacle) in [
            ("echo 0 >/proc/sys/user/max_user_namespaces", "absent"),
            (held, "temporary"),
            ("echo 0 >/proc/sys/user/max_pid_namespaces", "temporary"),
            ("echo 0 >/proc/sys/user/max_mnt_namespaces", "temporary"),
        ] {
            // As root of a namespace of its own, it can spoil things for what it starts.
            let mut shell = scene.command("unshare");
            shell.args(["-Urmpf", "--mount-proc", "sh"]);
            let (outcome, report) = reported(&scene, shell, script);
            assert_eq!(outcome.code, Some(125), "{script}: {outcome:#?}");
            let expected = format!("\"obstacle\":\"{obstacle}\"");
            assert!(
                report.contains(&expected) && !report.contains("started"),
                "{script}: {report} {outcome:#?}"
            );
        }
    }
}

#[test]
fn a_container_that_hides_its_proc_makes_no_jails() {
    for user in users() {
        let scene = Scene::new(user);
        let mut shell = scene.command("unshare");
        shell.args(["-Urmpf", "--mount-proc", "sh"]);
        let (outcome, report) = reported(&scene, shell, "mount -t tmpfs none /proc/sys/kernel");
        if outcome.code == Some(0) {
            eprintln!("skipped: nothing hides the proc of this machine");
            return;
        }
        assert_eq!(outcome.code, Some(125), "{outcome:#?}");
        assert!(report.contains("\"obstacle\":\"absent\""), "{report} {outcome:#?}");
    }
}

#[test]
fn a_limit_of_the_caller_is_a_shortage() {
    if !geteuid().is_root() {
        eprintln!(
            "skipped: the limits would be those of all that the user runs; as root they are another user's"
        );
        return;
    }
    let scene = Scene::new(User::Nobody);
    for script in ["ulimit -p 1 2>/dev/null || ulimit -u 1", "ulimit -n 3"] {
        let (outcome, report) = reported(&scene, scene.command("sh"), script);
        assert_ne!(outcome.code, Some(0), "{script}: {outcome:#?}");
        assert!(!report.contains("absent") && !report.contains("started"), "{script}: {report}");
    }
}

#[test]
fn a_required_protection_is_there_or_nothing_starts() {
    for user in users() {
        let scene = Scene::new(user);
        let check = run(scene.jail(&["--check"])).out;
        for (name, layer) in [
            ("namespaces", "user namespace "),
            ("seccomp", "seccomp "),
            ("landlock", "Landlock "),
            ("abstract-sockets", "guard on abstract sockets "),
            ("listen-ports", "guard on TCP ports "),
        ] {
            let line = check.lines().find(|line| line.starts_with(layer)).unwrap();
            let outcome = scene.sh(&["--require", name], "exit 3");
            let expected = if line.ends_with("yes") { 3 } else { 125 };
            assert_eq!(outcome.code, Some(expected), "{line}: {outcome:#?}");
        }
        let unknown = scene.sh(&["--require", "selinux"], "exit 3");
        unknown.refused(str![[r#"
error: invalid value 'selinux' for '--require <NAME>': there is no protection 'selinux'

For more information, try '--help'.

"#]]);
    }
}
