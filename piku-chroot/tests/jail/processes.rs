//! Only its own processes, queues and memory; and nothing of them stays.

use std::fs;

use piku_tests::snapshot::str;

use crate::scene::{Running, Scene, User, run, users};

#[test]
fn only_its_own_processes() {
    for user in users() {
        let scene = Scene::new(user);
        assert_eq!(scene.ok(&[], "echo /proc/[0-9]*"), "/proc/1 /proc/2\n");
        assert_eq!(scene.ok(&[], "echo $$ $PPID"), "2 1\n");
        assert_eq!(scene.ok(&[], "ps -o sid= -p $$ | tr -d ' '"), "2\n", "a session of its own");
    }
}

#[test]
fn a_signal_to_all_reaches_only_its_own() {
    // As root an error here would end the machine.
    let user = *users().last().unwrap();
    if nix::unistd::geteuid().is_root() {
        assert_eq!(user, User::Nobody);
    }
    let scene = Scene::new(user);
    let mut other = Running::start(scene.jail(&["--root-from-host", "--", "sh", "-c", "echo up; sleep 600"]));
    other.until_line("up");
    let mut beside = Running::start(scene.command("sleep").arg("600"));
    // The shell is spared by kill(-1) itself, so it lives to tell.
    let out = scene.ok(&[], "sleep 600 & kill -KILL -1; wait; echo alive");
    assert_eq!(out, "alive\n");
    assert!(other.child.try_wait().unwrap().is_none() && beside.child.try_wait().unwrap().is_none());
}

#[test]
fn orphans_are_reaped() {
    for user in users() {
        let scene = Scene::new(user);
        let script = "i=0; while [ $i -lt 1000 ]; do (true &); i=$((i+1)); done
            i=0; while set -- /proc/[0-9]*; [ $i -lt 500 ] && [ $# -gt 2 ]; do i=$((i+1)); sleep 0.02; done
            echo $*";
        let outcome = scene.sh(&[], script);
        assert_eq!(outcome.out, "/proc/1 /proc/2\n", "{outcome:?}");
    }
}

#[test]
fn what_runs_on_in_the_background_ends_with_the_command() {
    for user in users() {
        let scene = Scene::new(user);
        // setsid and closed output: nothing ties them to the command but the jail.
        let word = format!("{}.5", 700_000 + std::process::id());
        let out = scene.ok(
            &[],
            &format!("for i in 1 2 3; do setsid sleep {word} < /dev/null > /dev/null 2>&1 & done; echo end"),
        );
        assert_eq!(out, "end\n");
        assert_eq!(crate::scene::processes_with(&word), Vec::<i32>::new());
    }
}

#[test]
fn queues_and_shared_memory_of_the_host_are_not_there() {
    for user in users() {
        let scene = Scene::new(user);
        let made = run(scene.command("ipcmk").args(["-Q", "-M", "16"]));
        let ids: Vec<_> = made.out.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        let seen = scene.ok(&[], "cat /proc/sysvipc/msg /proc/sysvipc/shm | wc -l");
        let memory = format!("/dev/shm/piku-chroot-test-{}", std::process::id());
        fs::write(&memory, "").unwrap();
        let there = scene.sh(&[], &format!("test -e {memory}")).code;
        fs::remove_file(&memory).unwrap();
        for (kind, id) in ["-m", "-q"].iter().zip(&ids) {
            assert_eq!(run(scene.command("ipcrm").args([kind, id])).code, Some(0), "{made:?}");
        }
        assert_eq!((seen.as_str(), there), ("2\n", Some(1)), "two headings, and nothing under them");
    }
}

#[test]
fn the_namespaces_are_its_own() {
    for user in users() {
        let scene = Scene::new(user);
        let inside =
            scene.ok(&["--net", "none"], "cd /proc/self/ns; readlink cgroup ipc mnt net pid user uts");
        for (name, inside) in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].iter().zip(inside.lines())
        {
            let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert_ne!(outside.to_str().unwrap(), inside);
        }
    }
}

#[test]
fn root_becomes_the_user_it_is_told() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let scene = Scene::new(User::Own);
    assert_eq!(
        scene.ok(&["--user", "nobody"], "id -u; cat /proc/self/uid_map | tr -s ' '"),
        "65534\n 65534 65534 1\n"
    );
    let scene = Scene::new(User::Nobody);
    let outcome = scene.sh(&["--user", "root"], "true");
    outcome.refused(str![[r#"
piku-chroot: --user: only root can become 'root'

"#]]);
}
