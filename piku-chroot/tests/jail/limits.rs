//! Limits of a jail, and reports about them. Limits by cgroups are tried where one is delegated; elsewhere
//! what rlimits hold instead.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use piku_chroot::report::{self, LimitEnforcer};

use piku_tests::snapshot::{assert_snapshot, str};

use crate::scene::{Running, Scene, run, until, users};

/// Checks that a cgroup enforces this limit for the user; the error is the reason if not.
fn by_cgroup(scene: &Scene, limit: &str) -> Result<(), String> {
    let outcome = run(scene.jail(&["--check", "--format", "json"]));
    let rows: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    let name = format!("{limit} limit by a cgroup");
    let row = rows.as_array().unwrap().iter().find(|row| row["layer"] == *name).unwrap();
    if row["holds"] == true { Ok(()) } else { Err(row["why"].as_str().unwrap().to_owned()) }
}

/// The same, said aloud where it is not so.
fn can_try(scene: &Scene, limit: &str) -> bool {
    let answer = by_cgroup(scene, limit);
    if let Err(why) = &answer {
        eprintln!("skipped: no cgroup v2 {limit} controller: {why}");
    }
    answer.is_ok()
}

/// Returns whether rlimits limit the number of this user's processes, which they do not for root.
fn processes_are_held(scene: &Scene) -> bool {
    let held = by_cgroup(scene, "pids").is_ok() || scene.ok(&[], "id -u") != "0\n";
    if !held {
        eprintln!("skipped: without a cgroup nothing limits the processes of root");
    }
    held
}

/// A command that runs until it is killed.
fn lasting(scene: &Scene, options: &[&str]) -> Running {
    let mut jail = scene.jail(&["--root-from-host"]);
    let mut jail = Running::start(jail.args(options).args(["--", "sh", "-c", "echo up; exec sleep 600"]));
    jail.until_line("up");
    jail
}

/// The folder of the cgroup that the jail behind this monitor runs in.
fn cgroup(monitor: &Running) -> PathBuf {
    let pid = monitor.pid();
    let stub = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", stub.trim())).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    Path::new("/sys/fs/cgroup").join(path)
}

#[test]
fn a_bad_limit_is_named() {
    let scene = Scene::new(users()[0]);
    let words = ["memory=lots", "pids=0", "cpu=x", "swap=1m", "pids", "pids=1,pids=2"];
    let refused = words.map(|word| {
        let outcome = run(scene.jail(&["--root-from-host", "--limit", word, "--", "true"]));
        assert_eq!(outcome.code, Some(125), "{outcome:#?}");
        outcome.err
    });
    assert_snapshot(
        &refused.concat(),
        str![[r#"
error: invalid value 'memory=lots' for '--limit <NAME=VALUE,…>': memory=lots: 'lots' is not an amount of memory: expected bytes, with k, m or g after them, or 1% to 100%

For more information, try '--help'.
error: invalid value 'pids=0' for '--limit <NAME=VALUE,…>': pids=0: '0' is not a number from 1 on

For more information, try '--help'.
error: invalid value 'cpu=x' for '--limit <NAME=VALUE,…>': cpu=x: 'x' is not a number of processors from 0.01 on, such as 2 or 0.5

For more information, try '--help'.
error: invalid value 'swap=1m' for '--limit <NAME=VALUE,…>': unknown limit 'swap': expected memory, pids, cpu or nofile

For more information, try '--help'.
error: invalid value 'pids' for '--limit <NAME=VALUE,…>': bad limit 'pids': expected NAME=VALUE, as in memory=512m

For more information, try '--help'.
error: invalid value 'pids=1,pids=2' for '--limit <NAME=VALUE,…>': 'pids' is given twice

For more information, try '--help'.

"#]],
    );
}

#[test]
fn rlimits_hold_what_no_cgroup_does() {
    for user in users() {
        let scene = Scene::new(user);
        let options = ["--limit", "memory=64m,pids=100,cpu=1.5", "--limit", "nofile=77,pids=20"];
        let report = format!("--report={}", scene.folder("r").join("report").display());
        let script = "nice; grep -E '^Max (data|processes|open)' /proc/self/limits | tr -s ' '";
        let out = scene.ok(&[&options[..], &[&report]].concat(), script);
        let has = |line: &str| out.lines().any(|one| one.starts_with(line));
        assert!(has("Max open files 77 77"), "always: {out}");
        assert_eq!(has("Max data size 67108864 67108864"), by_cgroup(&scene, "memory").is_err(), "{out}");
        assert_eq!(has("Max processes 21 21"), by_cgroup(&scene, "pids").is_err(), "{out}");
        // The tests themselves may be run with another priority.
        let own: i32 = run(&mut scene.command("nice")).out.trim().parse().unwrap();
        let is_nicer = has(&(own + 10).min(19).to_string());
        // There is no lower priority than 19.
        assert!(own == 19 || is_nicer == by_cgroup(&scene, "cpu").is_err(), "{out}");
    }
}

#[test]
fn a_fork_bomb_ends_at_its_limit() {
    for user in users() {
        let scene = Scene::new(user);
        if !processes_are_held(&scene) {
            continue;
        }
        let bomb = |count| format!("for i in $(seq {count}); do sleep 600 & done; echo all");
        let outcome = scene.sh(&["--limit", "pids=20"], &bomb(60));
        assert!(outcome.code != Some(0) && outcome.err.contains("ork"), "{outcome:#?}");
        // Another jail's are none of this one's.
        let _other = lasting(&scene, &["--limit", "pids=20"]);
        assert_eq!(scene.ok(&["--limit", "pids=20"], &bomb(15)), "all\n");
    }
}

#[test]
fn a_command_that_takes_too_much_memory() {
    for user in users() {
        let scene = Scene::new(user);
        let hog = "sleep 600 & tail /dev/zero; echo survived";
        let report = scene.folder("r").join("report");
        let outcome = scene.sh(&["--limit", "memory=64m", &format!("--report={}", report.display())], hog);
        let ended = report::read(&report).1.unwrap();
        if by_cgroup(&scene, "memory").is_ok() {
            // With its innocent half.
            assert_eq!((outcome.code, outcome.out.as_str()), (Some(137), ""), "{outcome:#?}");
            assert!(outcome.err.starts_with("piku-chroot: killed for memory: limit 64 MB"), "{outcome:#?}");
            assert!(ended.oom_kills >= 2 && ended.exit_code == 137, "{ended:?}");
            assert!(ended.memory_peak_bytes.is_none_or(|peak| peak > 50 << 20), "{ended:?}");
        } else {
            assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "survived\n"), "{outcome:#?}");
            assert_eq!((ended.exit_code, ended.oom_kills, ended.memory_peak_bytes), (0, 0, None));
        }
    }
}

#[test]
fn jail_over_its_limit_takes_nothing_from_another() {
    for user in users() {
        let scene = Scene::new(user);
        if !can_try(&scene, "memory") {
            continue;
        }
        let mut other = lasting(&scene, &["--limit", "memory=64m"]);
        let outcome = scene.sh(&["--limit", "memory=64m"], "tail /dev/zero");
        assert_eq!(outcome.code, Some(137), "{outcome:#?}");
        assert!(other.child.try_wait().unwrap().is_none(), "the other jail has ended too");
    }
}

#[test]
fn memory_files_count_too() {
    for user in users() {
        let scene = Scene::new(user);
        if !can_try(&scene, "memory") {
            continue;
        }
        let outcome = scene.sh(&["--limit", "memory=64m"], "head -c 200m /dev/zero > /tmp/f; echo survived");
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(137), ""), "{outcome:#?}");
    }
}

#[test]
fn peak_memory_is_reported_once() {
    for user in users() {
        let scene = Scene::new(user);
        let outcome = scene.sh(&["--limit", "memory=512m"], "exit 3");
        assert!(
            outcome.code == Some(3) && outcome.err.starts_with("piku-chroot: memory: peak "),
            "{outcome:#?}"
        );
        assert_eq!(outcome.err.lines().count(), 1, "{outcome:#?}");
        let by_cgroup = by_cgroup(&scene, "memory").is_ok();
        assert!(outcome.err.contains("largest process") || by_cgroup, "{outcome:#?}");
        // Whoever asks for a report reads it there.
        scene.ok(&["--limit", "memory=512m", "--report", "/dev/null"], "true");
        scene.ok(&["--limit", "pids=50"], "true");
    }
}

#[test]
fn the_report_says_what_holds_and_how_it_ended() {
    for user in users() {
        let scene = Scene::new(user);
        let path = scene.folder("r").join("report");
        let report = format!("--report={}", path.display());
        let mut jail = lasting(&scene, &[&report, "--limit", "memory=90%,pids=100,nofile=99"]);
        until("the first line", || report::read(&path).0.is_some());
        let (started, ended) = report::read(&path);
        assert_eq!(ended, None);
        let started = started.unwrap();
        assert_eq!(started.level, 1);
        assert!(started.layers.iter().any(|layer| layer == "namespaces"), "{started:?}");
        for limit in ["memory", "pids", "nofile"] {
            let held = started.limits.iter().find(|held| held.limit == limit).unwrap();
            let by_cgroup = limit != "nofile" && by_cgroup(&scene, limit).is_ok();
            assert_eq!(held.by == LimitEnforcer::Cgroup, by_cgroup, "{started:?}");
            assert_eq!(held.why.is_none(), by_cgroup || limit == "nofile", "{started:?}");
        }
        jail.signal(Signal::SIGTERM);
        jail.wait();
        assert_eq!(report::read(&path).1.unwrap().exit_code, 143);

        let outcome = run(scene.jail(&["--root-from-host", &report, "--", "/no/such"]));
        assert_eq!(outcome.code, Some(127));
        let (started, ended) = report::read(&path);
        assert_eq!((started, ended.unwrap().exit_code), (None, 127), "it was never started");
        let outcome = scene.sh(&["--report", "/no/such/report"], "true");
        outcome.refused(str![[r#"
piku-chroot: --report: cannot write '/no/such/report': No such file or directory (os error 2)

"#]]);

        let fifo = scene.folder("r").join("fifo");
        assert!(run(scene.command("mkfifo").arg(&fifo)).code == Some(0));
        let outcome = scene.sh(&[&format!("--report={}", fifo.display())], "true");
        assert_eq!(outcome.code, Some(125));
        assert!(outcome.err.contains("no process reads it"), "{outcome:#?}");
    }
}

#[test]
fn strict_insists_on_a_cgroup() {
    for user in users() {
        let scene = Scene::new(user);
        let without = scene.sh(&["--strict"], "true");
        if without.code != Some(0) {
            eprintln!("skipped: --strict lacks another layer here: {}", without.err);
            continue;
        }
        for limit in ["memory=64m", "pids=50", "cpu=1"] {
            let name = limit.split('=').next().unwrap();
            let outcome = scene.sh(&["--strict", "--limit", limit], "true");
            match by_cgroup(&scene, name) {
                Ok(()) => assert_eq!(outcome.code, Some(0), "{outcome:#?}"),
                Err(_) => assert!(
                    outcome.code == Some(125) && outcome.err.contains(&format!("--strict: --limit {name}: ")),
                    "{outcome:#?}"
                ),
            }
        }
        assert_eq!(scene.sh(&["--strict", "--limit", "nofile=50"], "true").code, Some(0));
    }
}

#[test]
fn the_cgroup_is_as_it_was_asked_for_and_goes_with_the_jail() {
    for user in users() {
        let scene = Scene::new(user);
        if ["memory", "pids", "cpu"].iter().any(|limit| !can_try(&scene, limit)) {
            continue;
        }
        let mut jail = lasting(&scene, &["--limit", "memory=64m,pids=9,cpu=0.25"]);
        let dir = cgroup(&jail);
        let value = |name: &str| fs::read_to_string(dir.join(name)).unwrap().trim().to_owned();
        assert_eq!(value("memory.max"), "67108864");
        assert_eq!(value("memory.oom.group"), "1");
        assert_eq!(value("pids.max"), "10");
        assert_eq!(value("cpu.max"), "25000 100000");
        assert_eq!(value("cgroup.procs").lines().count(), 2, "the stub and the command");
        jail.signal(Signal::SIGTERM);
        jail.wait();
        assert!(!dir.exists(), "{}", dir.display());
        // To the jail it is the root of all there is.
        assert!(scene.ok(&["--limit", "pids=9"], "cat /proc/self/cgroup").ends_with("0::/\n"));
    }
}

#[test]
fn the_next_start_removes_what_a_killed_monitor_left() {
    for user in users() {
        let scene = Scene::new(user);
        if !can_try(&scene, "pids") {
            continue;
        }
        let mut jail = lasting(&scene, &["--limit", "pids=9"]);
        let living = lasting(&scene, &["--limit", "pids=9"]);
        let (left, kept) = (cgroup(&jail), cgroup(&living));
        jail.signal(Signal::SIGKILL);
        jail.wait();
        until("the end of the cgroup", || {
            scene.ok(&["--limit", "pids=9"], "true");
            !left.exists()
        });
        assert!(kept.exists(), "one that is in use was removed");
    }
}

#[test]
fn temporary_files_are_bounded_by_their_size_and_by_the_limit_on_memory() {
    for user in users() {
        let scene = Scene::new(user);
        let sizes = |options: &[&str]| {
            let script = "stat -f -c '%b %S' /tmp /dev/shm | while read blocks size; do echo $((blocks * size / 1048576)); done";
            scene.ok(options, script)
        };
        // `tell_memory` says the peak on stderr where nobody reads it in a report.
        let with =
            |limit: &str, more: &[&str]| sizes(&[&["--report=/dev/null", "--limit", limit], more].concat());
        assert_eq!(sizes(&[]), "64\n64\n");
        assert_eq!(sizes(&["--tmp-size=200m"]), "200\n64\n");
        assert_eq!(with("memory=48m", &[]), "48\n48\n");
        assert_eq!(with("memory=48m", &["--tmp-size", "1g"]), "48\n48\n");
        assert_eq!(with("memory=48m", &["--tmp-size", "25%"]), "48\n48\n");
        assert_eq!(with("memory=48m", &["--tmpfs=/tmp:1g", "--tmpfs=/dev/shm"]), "48\n48\n");
        assert_eq!(with("memory=100m", &["--tmp-size=80m", "--tmpfs=/dev/shm:8m"]), "80\n8\n");
        let full = scene.sh(&["--tmp-size=1m"], "head -c 2m /dev/zero > /tmp/f");
        assert!(full.code != Some(0) && full.err.contains("No space left"), "{full:?}");
        // An own one is its owner's business.
        let own = format!("--bind={}:/tmp", scene.folder("own").display());
        scene.ok(&["--tmp-size=1m", &own], "head -c 2m /dev/zero > /tmp/f");
        let build = scene.ok(
            &[
                "--profile",
                "build",
                "--report=/dev/null",
                "--bind",
                &own.replace("--bind=", "").replace(":/tmp", ":/app"),
            ],
            "stat -f -c %b /tmp",
        );
        assert!(build.trim().parse::<u64>().unwrap() > (64 << 20) / 4096, "a compiler has room: {build}");
    }
}

#[test]
fn what_goes_first_when_the_machine_is_out_of_memory() {
    for user in users() {
        let scene = Scene::new(user);
        let own: u32 = run(scene.command("cat").arg("/proc/self/oom_score_adj")).out.trim().parse().unwrap();
        let score = |options: &[&str]| {
            scene.ok(options, "cat /proc/self/oom_score_adj; sh -c 'cat /proc/$$/oom_score_adj'")
        };
        let twice = |score: u32| format!("{score}\n{score}\n");
        assert_eq!(score(&[]), twice(own));
        assert_eq!(score(&["--oom-score-adj=700"]), twice(own.max(700)));
        assert_eq!(score(&["--oom-score-adj", "0"]), twice(own), "it is never lowered");
        let app = format!("--ro={}:/app", scene.folder("app").display());
        assert_eq!(score(&["--profile=build", "--report=/dev/null", &app]), twice(own.max(500)));
    }
}
