//! Level 2: jails of one name with a prepared root, whose user namespace they share.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use piku_tests::snapshot::{assert_redacted, str};

use crate::prepared::{LOOK, option_for, prepare, refusal, strangers};
use crate::scene::{Outcome, Running, kill_at_any_instant, processes_with, run, unique, until};
use crate::uid_range::scene::Two;

/// Prepares a root for a name.
fn make(two: &Two, name: &str, options: &[&str]) -> OwnedFd {
    let common =
        ["--root-from-host", "--tmpfs=/app", "--tmpfs=/data", "--env=HOME=/app", "--uid-range", name];
    prepare(two.command(&[&common, options].concat()))
}

/// Returns a jail with this root.
fn jail_in(two: &Two, name: &str, root: &OwnedFd, options: &[&str]) -> Command {
    let prepared = option_for(root);
    two.command(&[&["--root-from-host", "--uid-range", name, &prepared], options].concat())
}

fn sh(two: &Two, name: &str, namespace: &OwnedFd, options: &[&str], script: &str) -> Outcome {
    run(jail_in(two, name, namespace, options).args(["--", "sh", "-c", script]))
}

#[test]
fn the_command_is_as_confined_as_in_a_namespace_of_its_own() {
    for two in Two::each() {
        let data = two.folder("data");
        let namespace = make(&two, "blog", &[]);
        let (app, scratch) = (two.folder("app"), two.folder("scratch"));
        let mut options = vec!["--data", &data, "--app", &app, "--scratch", &scratch];
        options.extend([
            "--remove-in-background",
            "--listen",
            "0",
            "--oom-score-adj",
            "500",
            "--report",
            "report",
        ]);
        // Nothing that the two print may differ but the namespace itself.
        let script = format!(
            "{LOOK}
            echo lost > /app/lost; cat /app/lost; echo kept >> /data/file; stat -c %u:%g /data /data/file"
        );
        let alone = two.sh("blog", &options, &script);
        let shared = sh(&two, "blog", &namespace, &options, &script);
        assert_eq!((alone.code, &alone.out, &alone.err), (shared.code, &shared.out, &shared.err));
        assert!(alone.err.lines().count() >= 6, "{}", alone.err);
        let link =
            "readlink /proc/self/ns/user; readlink /proc/self/ns/pid /proc/self/ns/mnt /proc/self/ns/ipc";
        // The kernel gives the number of a namespace that has ended to the next one: the first jail stays.
        let mut first = jail_in(&two, "blog", &namespace, &options);
        let mut first =
            Running::start(first.args(["--", "sh", "-c", &format!("{link}; echo up; sleep 600")]));
        let links = first.until_line("up");
        let second = sh(&two, "blog", &namespace, &options, link).out;
        let alone = two.ok("blog", &options, link);
        first.signal(Signal::SIGTERM);
        assert_eq!(first.wait().code(), Some(143));
        let (user, others) = links.trim_end_matches("up\n").split_once('\n').unwrap();
        assert!(user.starts_with("user:[") && second.starts_with(user), "{links}{second}");
        assert!(others.lines().count() == 3 && others.lines().all(|line| !second.contains(line)));
        assert!(!alone.contains(user), "{links}{alone}");
        let is_empty =
            || fs::read_dir(&scratch).unwrap().flatten().all(|entry| entry.file_type().unwrap().is_file());
        until("the end of the changes", is_empty);
        assert!(!two.path("app/lost").exists());
    }
}

#[test]
fn its_jails_do_not_see_each_other_and_end_with_their_monitors() {
    for two in Two::each() {
        let namespace = make(&two, "blog", &[]);
        let word = unique("shared");
        let start = || {
            let mut jail = jail_in(&two, "blog", &namespace, &[]);
            let mut jail = Running::start(jail.args(["--", "sh", "-c", "echo up; sleep 600; :", &word]));
            jail.until_line("up");
            jail
        };
        let (mut first, mut second) = (start(), start());
        let third = sh(&two, "blog", &namespace, &[], "cat /proc/[0-9]*/comm | grep -c sleep; kill -9 -1");
        assert_eq!(third.out, "0\n", "{third:#?}");
        first.signal(Signal::SIGTERM);
        assert_eq!(first.wait().code(), Some(143));
        let monitor = second.pid();
        nix::sys::signal::kill(monitor, Signal::SIGKILL).unwrap();
        second.wait();
        until("the end of the jails", || processes_with(&word).is_empty());
    }
}

#[test]
fn killed_at_any_instant_nothing_is_left() {
    for two in Two::each() {
        let namespace = make(&two, "blog", &[]);
        // As root, unshare and setpriv take the first milliseconds.
        kill_at_any_instant(300, || jail_in(&two, "blog", &namespace, &[]));
    }
}

#[test]
fn the_number_of_processes_is_that_of_one_jail() {
    for two in Two::each() {
        let namespace = make(&two, "blog", &[]);
        let inode = sh(&two, "blog", &namespace, &[], "readlink /proc/self/ns/user").out;
        let limited = sh(&two, "blog", &namespace, &["--limit", "pids=5"], "readlink /proc/self/ns/user");
        let check = run(two.command(&["--check", "--format", "json"]));
        let rows: serde_json::Value = serde_json::from_str(&check.out).unwrap();
        let by_cgroup =
            |row: &serde_json::Value| row["layer"] == "pids limit by a cgroup" && row["holds"] == true;
        assert_eq!(limited.code, Some(0), "{limited:#?}");
        assert_eq!(limited.out == inode, rows.as_array().unwrap().iter().any(by_cgroup), "{limited:#?}");
    }
}

#[test]
fn where_the_system_refuses_to_join_the_jail_makes_its_own() {
    // That of a process of root, which only root may join.
    let mut stranger = Command::new("unshare");
    stranger.args(["--user", "--mount", "sh", "-c", "echo up; exec sleep 600"]);
    let mut stranger = Running::start(&mut stranger);
    stranger.until_line("up");
    let open = |kind: &str| fs::File::open(format!("/proc/{}/ns/{kind}", stranger.pid())).unwrap();
    let foreign = open("mnt").into();
    let inode = format!("user:[{}]\n", rustix::fs::fstat(open("user")).unwrap().st_ino);
    let script = "readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map; echo kept >>/data/file";
    for two in Two::each().iter().filter(|two| two.ranges.is_some() && two.caller != 0) {
        let data = two.folder("data");
        let own = two.sh("blog", &["--data", &data], script);
        let fallback = sh(two, "blog", &foreign, &["--data", &data], script);
        assert_eq!((fallback.code, fallback.err.as_str()), (Some(0), ""), "{fallback:#?}");
        let ids = |outcome: &Outcome| outcome.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(ids(&fallback), ids(&own));
        assert!(!fallback.out.starts_with(&inode), "{fallback:#?}");
    }
    stranger.signal(Signal::SIGKILL);
    stranger.wait();
}

#[test]
fn what_cannot_be_joined_is_refused() {
    for two in Two::each() {
        let mut said = strangers().map(|fd| refusal(sh(&two, "blog", &fd, &[], "echo in"))).concat();
        // Its ids are not those of another name.
        said += &refusal(sh(&two, "blog", &make(&two, "shop", &[]), &[], "echo in"));
        let mut closed = two.command(&["--root-from-host", "--uid-range", "blog", "--prepared", "999"]);
        said += &refusal(run(closed.args(["--", "true"])));
        let mut no_socket = two.command(&["--uid-range", "blog", "--prepare"]);
        said += &refusal(run(no_socket.stdin(Stdio::null())));
        assert_redacted(
            &said,
            &[],
            str![[r#"
piku-chroot: --prepared: not a prepared root that this process could use: Inappropriate ioctl for device (os error 25)
piku-chroot: --prepared: not a prepared root that this process could use: Invalid argument (os error 22)
piku-chroot: --uid-range: cannot become its group: EINVAL: Invalid argument
piku-chroot: --prepared: Bad file descriptor (os error 9)
piku-chroot: --prepare: cannot send it on stdin: Socket operation on non-socket (os error 88)

"#]],
        );
    }
}
