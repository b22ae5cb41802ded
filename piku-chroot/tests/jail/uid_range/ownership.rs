//! Level 2: the folders of an app change hands when it becomes another user, and come back.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::scene::{Running, run};
use crate::uid_range::scene::{SECRET, Two, owner};

/// Makes a folder of the caller with all that it may hold when its app goes to level 2; returns its path.
fn hostile_tree(two: &Two) -> String {
    let data = two.folder("data");
    let at = |name: &str| two.path("data").join(name);
    for folder in ["dir", "dir/closed", "deep"] {
        fs::create_dir(at(folder)).unwrap();
        two.own(&at(folder));
    }
    for file in ["file", "dir/closed/in", "one"] {
        fs::write(at(file), file).unwrap();
        two.own(&at(file));
    }
    fs::hard_link(at("one"), at("dir/other")).unwrap();
    two.scene.file("outside", "outside");
    fs::hard_link(two.path("outside"), at("linked")).unwrap();
    symlink(two.path("outside"), at("link")).unwrap();
    symlink(two.path(""), at("dir/up")).unwrap();
    for link in ["link", "dir/up"] {
        two.own(&at(link));
    }
    assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    two.own(&at("fifo"));
    fs::set_permissions(at("dir/closed"), Permissions::from_mode(0o000)).unwrap();
    data
}

#[test]
fn data_changes_its_owner_and_nothing_outside_does() {
    for two in Two::each() {
        let data = hostile_tree(&two);
        let at = |name: &str| two.path("data").join(name);
        let own = two.uid("blog");
        let callers = owner(&two.path("outside"));
        if two.ranges.is_some() {
            fs::write(at("foreign"), "").unwrap();
            chown(at("foreign"), Some(4711), Some(4711)).unwrap();
            chown(at("file"), Some(two.caller), Some(SECRET)).unwrap();
        }
        let first = two.sh(
            "blog",
            &["--data", &data],
            "chmod 700 /data/dir/closed; cat /data/dir/closed/in /data/one; echo new > /data/dir/new; id -u",
        );
        assert_eq!((first.code, first.out), (Some(0), format!("dir/closed/inone{own}\n")), "{}", first.err);
        assert!(first.err.contains("keep their owners"), "{}", first.err);
        assert_eq!(first.err.lines().count(), 1);
        let all = ["", "dir", "dir/closed", "dir/other", "one", "file", "link", "dir/up", "fifo", "dir/new"];
        for name in all {
            assert_eq!(owner(&at(name)), (own, own), "{name}");
        }
        for path in [two.path(""), two.path("outside"), at("linked")] {
            assert_eq!(owner(&path), callers, "{path:?}");
        }
        if two.ranges.is_some() {
            assert_eq!(owner(&at("foreign")), (4711, 4711));
        }
        assert_eq!(
            two.ok("blog", &["--data", &data], "cat /data/dir/new"),
            "new\n",
            "once, and silent from then on"
        );

        let back = two.give_back("blog", &data);
        assert_eq!((back.code, back.out.as_str()), (Some(0), ""), "{}", back.err);
        for name in all {
            assert_eq!(owner(&at(name)), callers, "{name}");
        }
        let again = two.give_back("blog", &data);
        assert_eq!((again.code, again.out.as_str(), again.err.as_str()), (Some(0), "", ""));
        let mut command =
            two.command(&["--uid-range", "blog", "--data", &data, "--give-back", "--root-from-host"]);
        let level_1 = run(command.args(["--", "id", "-u"]));
        assert_eq!(level_1.out, format!("{}\n", two.caller), "{level_1:#?}");
        let stranger = two.give_back("never-started", &data);
        assert_eq!((stranger.code, stranger.err.as_str()), (Some(0), ""));
    }
}

#[test]
fn very_deep_tree_changes_its_owner() {
    for two in Two::each() {
        let data = two.folder("data");
        let name = "d".repeat(200);
        let script = format!(
            "cd \"$1\"; i=0; while [ $i -lt 60 ]; do mkdir {name} && cd -P {name} || exit 1; i=$((i+1)); done; echo end > end"
        );
        let made = |command: &mut Command| run(command.args(["-c", &script, "sh", &data])).code;
        assert_eq!(made(&mut two.scene.command("sh")), Some(0));
        let down = format!(
            "cd /data; i=0; while [ $i -lt 60 ]; do cd -P {name} || exit 1; i=$((i+1)); done; cat end; echo more >> end"
        );
        assert_eq!(two.ok("blog", &["--data", &data], &down), "end\n");
        assert_eq!(two.ok("blog", &["--data", &data], &down), "end\nmore\n");
        assert_eq!(two.ok("blog", &["--data", &data], "find /data -mindepth 1 -delete"), "");
    }
}

#[test]
fn killed_change_of_owner_is_finished_by_the_next_start() {
    for two in Two::each() {
        let data = two.folder("data");
        let made = two.scene.command("sh").args(["-c", "cd data; for i in 0 1 2 3 4 5 6 7 8 9; do mkdir $i; touch $i/1 $i/2 $i/3 $i/4 $i/5 $i/6 $i/7 $i/8 $i/9; done"]).status();
        assert!(made.unwrap().success());
        let own = two.uid("blog");
        let callers = owner(&two.path("ranges").parent().unwrap().join("data/0"));
        let count = |wanted: u32| {
            let found = Command::new("find").args([&data, "-uid", &wanted.to_string()]).output().unwrap();
            String::from_utf8(found.stdout).unwrap().lines().count()
        };
        for round in 0..20 {
            let mut jail = Running::start(two.command(&[
                "--root-from-host",
                "--uid-range",
                "blog",
                "--data",
                &data,
                "--",
                "true",
            ]));
            thread::sleep(Duration::from_micros(round * 500));
            jail.signal(Signal::SIGKILL);
            jail.wait();
            if round % 2 == 0 {
                assert_eq!(two.ok("blog", &["--data", &data], "echo good > /data/3/3"), "");
                assert_eq!(count(own), 101);
            }
            let back = two.give_back("blog", &data);
            assert!(back.code == Some(0) && back.err.is_empty(), "{back:#?}");
            assert_eq!(count(callers.0), 101, "round {round}");
        }
    }
}

#[test]
fn the_caller_can_back_up_and_remove_through_the_map() {
    for two in Two::each() {
        let data = two.folder("data");
        two.ok(
            "blog",
            &["--data", &data],
            "umask 077; mkdir -p /data/a/b; echo mine > /data/a/b/c; ln -s c /data/a/b/d",
        );
        let mut tar = two.command(&["--root-from-host", "--uid-range", "blog", "--data", &data]);
        tar.args(["--", "tar", "-c", "-C", "/data", "."]).stdin(Stdio::null());
        let archive = tar.output().unwrap();
        assert!(archive.status.success() && archive.stderr.is_empty(), "{archive:?}");
        fs::write(two.path("backup"), &archive.stdout).unwrap();
        let listed = run(two.scene.command("tar").args(["-tf", "backup"]));
        assert!(listed.out.contains("./a/b/c\n") && listed.out.contains("./a/b/d\n"), "{listed:#?}");
        two.ok("blog", &["--data", &data], "find /data -mindepth 1 -delete");
        assert_eq!(fs::read_dir(&data).map(Iterator::count).ok(), Some(0));
    }
}
