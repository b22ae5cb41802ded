//! Level 2: jails of one name in one user namespace.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use piku_tests::snapshot::{assert_redacted, str};

use crate::scene::{Outcome, Running, processes_with, rounds, run, unique, until};
use crate::uid_range::scene::Two;

/// Makes a namespace for a name.
fn make(two: &Two, name: &str, options: &[&str]) -> OwnedFd {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = two.command(&[&["--uid-range", name, "--make-user-namespace"], options].concat());
    let status = command.stdin(Stdio::from(OwnedFd::from(theirs))).status().unwrap();
    assert!(status.success(), "{status}");
    drop(command);
    let (mut byte, mut space) = ([0], nix::cmsg_space!([i32; 1]));
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    let message =
        recvmsg::<()>(ours.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
        panic!("no descriptor")
    };
    // A second name for it, which this test owns.
    let path = format!("/proc/self/fd/{}", fds[0]);
    let namespace = fs::File::open(path).unwrap().into();
    nix::unistd::close(fds[0]).unwrap();
    namespace
}

/// Returns a jail in this namespace.
fn jail_in(two: &Two, name: &str, namespace: &OwnedFd, options: &[&str]) -> Command {
    fcntl(namespace, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let number = namespace.as_raw_fd().to_string();
    two.command(&[&["--root-from-host", "--uid-range", name, "--user-namespace", &number], options].concat())
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
        let script = "cat /proc/self/uid_map /proc/self/gid_map; id; grep -E '^(Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status
            ls -l /proc/self/fd | grep -c -- '->'; cat /proc/self/mountinfo | cut -d ' ' -f 5-6; ls /proc | grep '^[0-9]' | head -n 2
            cat /proc/1/environ; ls /proc/1/fd /proc/1/root; touch /etc/x /x; mount -t tmpfs x /tmp; unshare -U true
            nsenter --user=/proc/self/ns/user true; echo $$; cat /proc/self/oom_score_adj; hostname; stat -c %u /data
            echo lost > /app/lost; cat /app/lost; echo kept >> /data/file; stat -c %u:%g /data/file";
        let alone = two.sh("blog", &options, script);
        let shared = sh(&two, "blog", &namespace, &options, script);
        assert_eq!((alone.code, &alone.out, &alone.err), (shared.code, &shared.out, &shared.err));
        assert!(alone.err.lines().count() >= 6, "{}", alone.err);
        let link =
            "readlink /proc/self/ns/user; readlink /proc/self/ns/pid /proc/self/ns/mnt /proc/self/ns/ipc";
        let first = sh(&two, "blog", &namespace, &options, link).out;
        let second = sh(&two, "blog", &namespace, &options, link).out;
        let inode = format!("user:[{}]", rustix::fs::fstat(&namespace).unwrap().st_ino);
        for out in [&first, &second] {
            assert_eq!(out.lines().next(), Some(inode.as_str()));
        }
        assert!(!two.ok("blog", &options, link).contains(&inode));
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
        let (namespace, word) = (make(&two, "blog", &[]), unique("instant"));
        for round in 0..rounds(40) {
            let mut jail = jail_in(&two, "blog", &namespace, &[]);
            jail.args(["--", "sh", "-c", "sleep 600 & sleep 600", &word]).stdin(Stdio::null());
            let mut jail = Running::start(jail);
            // As root, unshare and setpriv take the first milliseconds.
            thread::sleep(Duration::from_micros(u64::from(round % 40) * 300 + u64::from(round / 40) * 17));
            jail.signal(Signal::SIGKILL);
            jail.wait();
        }
        until("the end of the jails", || processes_with(&word).is_empty());
    }
}

#[test]
fn the_number_of_processes_is_that_of_one_jail() {
    for two in Two::each() {
        let namespace = make(&two, "blog", &[]);
        let inode = format!("user:[{}]\n", rustix::fs::fstat(&namespace).unwrap().st_ino);
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
    stranger.args(["--user", "sh", "-c", "echo up; exec sleep 600"]);
    let mut stranger = Running::start(&mut stranger);
    stranger.until_line("up");
    let foreign = fs::File::open(format!("/proc/{}/ns/user", stranger.pid())).unwrap().into();
    let inode = format!("user:[{}]\n", rustix::fs::fstat(&foreign).unwrap().st_ino);
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
        let file: OwnedFd = fs::File::open("/dev/null").unwrap().into();
        let mount: OwnedFd = fs::File::open("/proc/self/ns/mnt").unwrap().into();
        // Its ids are not those of another name.
        let other = make(&two, "shop", &[]);
        let mut said = String::new();
        for fd in [&file, &mount, &other] {
            let refused = sh(&two, "blog", fd, &[], "echo in");
            assert!(refused.code == Some(125) && refused.out.is_empty(), "{refused:#?}");
            said += &refused.err;
        }
        let mut closed = two.command(&["--root-from-host", "--uid-range", "blog", "--user-namespace", "999"]);
        let closed = run(closed.args(["--", "true"]));
        assert_eq!(closed.code, Some(125));
        said += &closed.err;
        let mut no_socket = two.command(&["--uid-range", "blog", "--make-user-namespace"]);
        let no_socket = run(no_socket.stdin(Stdio::null()));
        assert_eq!(no_socket.code, Some(125));
        said += &no_socket.err;
        assert_redacted(
            &said,
            &[],
            str![[r#"
piku-chroot: --user-namespace: cannot start a process in it: Invalid argument (os error 22)
piku-chroot: --user-namespace: cannot start a process in it: Invalid argument (os error 22)
piku-chroot: --uid-range: cannot become its group: EINVAL: Invalid argument
piku-chroot: --user-namespace: Bad file descriptor (os error 9)
piku-chroot: --make-user-namespace: cannot send it on stdin: Socket operation on non-socket (os error 88)

"#]],
        );
    }
}
