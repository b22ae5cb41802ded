//! Signals, deaths and locks.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use piku_tests::snapshot::str;

use crate::scene::{Running, Scene, processes_with, rounds, run, unique, until, users};

#[test]
fn signals_reach_the_command_and_its_code_comes_back() {
    for user in users() {
        let scene = Scene::new(user);
        let cases = [
            (Signal::SIGTERM, "TERM"),
            (Signal::SIGINT, "INT"),
            (Signal::SIGHUP, "HUP"),
            (Signal::SIGUSR1, "USR1"),
            (Signal::SIGUSR2, "USR2"),
            (Signal::SIGQUIT, "QUIT"),
            (Signal::SIGWINCH, "WINCH"),
            (Signal::SIGCONT, "CONT"),
        ];
        for (signal, name) in cases {
            let script = format!("trap 'echo got; exit 5' {name}; echo up; while :; do sleep 0.05; done");
            let mut jail = Running::start(scene.jail(&["--root-from-host", "--", "sh", "-c", &script]));
            jail.until_line("up");
            jail.signal(signal);
            jail.until_line("got");
            assert_eq!(jail.wait().code(), Some(5), "{name}");
        }
    }
}

#[test]
fn a_signal_goes_to_the_whole_group() {
    for user in users() {
        let scene = Scene::new(user);
        let script = "trap '' TERM; (trap 'echo child' TERM; echo up; while :; do sleep 0.05; done) & wait";
        let mut jail = Running::start(scene.jail(&["--root-from-host", "--", "sh", "-c", script]));
        jail.until_line("up");
        jail.signal(Signal::SIGTERM);
        jail.until_line("child");
    }
}

#[test]
fn a_command_that_dies_of_a_signal() {
    for user in users() {
        let scene = Scene::new(user);
        let mut jail =
            Running::start(scene.jail(&["--root-from-host", "--", "sh", "-c", "echo up; exec sleep 600"]));
        jail.until_line("up");
        jail.signal(Signal::SIGTERM);
        assert_eq!(jail.wait().code(), Some(143));
    }
}

#[test]
fn an_early_signal_is_not_lost() {
    for user in users() {
        let scene = Scene::new(user);
        for round in 0..rounds(20) {
            let mut jail = Running::start(scene.jail(&["--root-from-host", "--", "sleep", "600"]));
            thread::sleep(Duration::from_micros(u64::from(round % 20) * 400));
            jail.signal(Signal::SIGTERM);
            // Before the first line of the program it dies itself, later the command does.
            let status = jail.wait();
            assert!(status.code() == Some(143) || status.code().is_none(), "{status:?}");
        }
    }
}

#[test]
fn an_odd_start() {
    for user in users() {
        let scene = Scene::new(user);
        let options = ["--ignore-signal=CHLD,HUP,INT,PIPE", "--block-signal=TERM,CHLD,USR1"];
        let mut command = scene.command("env");
        command.args(options).arg(scene.program()).args(["--root-from-host", "--"]);
        let script =
            "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f 2 | sort -u; (exit 3); echo $?; exit 7";
        let outcome = run(command.args(["sh", "-c", script]));
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(7), "0000000000000000\n3\n"), "{outcome:?}");
    }
}

#[test]
fn no_terminal_of_the_caller() {
    for user in users() {
        let scene = Scene::new(user);
        let outcome = scene.sh(&[], "exec 3<> /dev/tty");
        assert!(outcome.code != Some(0) && outcome.err.contains("/dev/tty"), "{outcome:?}");
    }
}

#[test]
fn when_the_monitor_is_killed_all_is_gone() {
    for user in users() {
        let scene = Scene::new(user);
        let word = unique("killed");
        let script = "trap '' TERM HUP INT; setsid sh -c 'sleep 600' \"$1\" & echo up; sleep 600";
        let mut jail =
            Running::start(scene.jail(&["--root-from-host", "--", "sh", "-c", script, "sh", &word]));
        jail.until_line("up");
        assert!(processes_with(&word).len() >= 3, "monitor, stub and shells");
        jail.signal(Signal::SIGKILL);
        jail.wait();
        until("the end of the jail", || processes_with(&word).is_empty());
    }
}

#[test]
fn with_die_with_it_goes_with_the_caller() {
    for user in users() {
        let scene = Scene::new(user);
        let word = unique("follower");
        let mut shell = scene.command("sh");
        shell.args(["-c", "\"$0\" --die-with=$$ \"$@\" & wait"]).arg(scene.program());
        shell.args(["--root-from-host", "--", "sh", "-c", "echo up; while :; do sleep 0.05; done", &word]);
        let mut parent = Running::start(&mut shell);
        parent.until_line("up");
        parent.signal(Signal::SIGKILL);
        parent.wait();
        until("the end of the jail", || processes_with(&word).is_empty());

        let other = run(scene.jail(&["--die-with=1", "--root-from-host", "--", "true"]));
        other.refused(str![[r#"
piku-chroot: --die-with: process [PID] is not the caller, or no longer is

"#]]);
    }
}

#[test]
fn when_the_monitors_parent_is_killed_all_goes_on() {
    for user in users() {
        let scene = Scene::new(user);
        scene.folder("data");
        let word = unique("orphan");
        let script = "trap 'echo yes > /data/answer; exit 0' USR1; echo up; while :; do sleep 0.05; done";
        let mut shell = scene.command("sh");
        shell.args(["-c", "\"$@\" & echo $!; wait", "sh"]).arg(scene.program());
        shell.args(["--root-from-host", "--data", "data", "--", "sh", "-c", script, &word]);
        let mut parent = Running::start(&mut shell);
        parent.until_line("up");
        let own = parent.pid();
        parent.signal(Signal::SIGKILL);
        parent.wait();
        let stub_or_monitor = processes_with(&word);
        assert!(stub_or_monitor.len() >= 3, "{stub_or_monitor:?}");
        // The monitor is the one whose parent has changed.
        let parent_of = |pid: i32| -> Option<i32> {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
        };
        let monitor = stub_or_monitor.iter().copied().find(|pid| {
            parent_of(*pid).is_some_and(|parent| parent != own.as_raw() && !stub_or_monitor.contains(&parent))
        });
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor.unwrap()), Signal::SIGUSR1).unwrap();
        until("the command's answer", || scene.path("data/answer").exists());
        until("the end of the jail", || processes_with(&word).is_empty());
    }
}

#[test]
fn a_lock_is_held_as_long_as_the_jail() {
    for user in users() {
        let scene = Scene::new(user);
        scene.file("lock", "");
        let script = "exec 9<>lock; flock 9; exec \"$1\" --root-from-host -- sh -c 'ls /proc/self/fd | wc -l; echo up; sleep 600'";
        let mut jail =
            Running::start(scene.command("bash").args(["-c", script, "bash"]).arg(scene.program()));
        jail.until_line("up");
        let free = || {
            Command::new("flock").arg("-n").arg(scene.path("lock")).arg("true").status().unwrap().success()
        };
        assert!(!free(), "the lock was let go");
        jail.signal(Signal::SIGKILL);
        jail.wait();
        until("the lock", free);
    }
}

#[test]
fn a_gate_holds_the_jail_until_the_caller_opens_it() {
    for user in users() {
        let scene = Scene::new(user);
        let (data, scratch) = (scene.folder("data"), scene.path("scratch"));
        let waiting = || {
            let mut jail =
                scene.jail(&["--gate", "--root-from-host", "--data", "data", "--report", "report"]);
            jail.args(["--app", "data", "--scratch"]).arg(&scratch);
            jail.args(["--", "sh", "-c", "cat; touch /data/ran; echo up; sleep 600"]);
            Running::start(jail.stdin(Stdio::piped()))
        };
        // A caller that ends first.
        let mut jail = waiting();
        drop(jail.child.stdin.take());
        assert_eq!(jail.wait().code(), Some(125));
        let mut told = String::new();
        jail.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(told.contains("--gate: stdin has ended"), "{told}");
        for made in [data.join("ran"), scratch.clone(), scene.path("report")] {
            assert!(!made.exists(), "{}", made.display());
        }

        let mut jail = waiting();
        jail.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        // The rest of stdin is not the command's, whose stdin ends at once.
        jail.until_line("up");
        let stat = fs::read_to_string(format!("/proc/{}/stat", jail.pid())).unwrap();
        let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).unwrap();
        assert_eq!(session, jail.pid().to_string(), "its own session");
        jail.signal(Signal::SIGTERM);
        assert_eq!(jail.wait().code(), Some(143));
    }
}
