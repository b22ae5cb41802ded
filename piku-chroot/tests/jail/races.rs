//! Changes between two steps of a start: links in the app's tree, the caller's life, the meaning of a process
//! id. Each is tried over and over; see [`rounds`].

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::scene::{Scene, kill_at_any_instant, rounds, run, users};

/// Returns mounts of the host that a jail may have leaked.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains("piku-chroot")).map(str::to_owned).collect()
}

/// Swaps each pair over and over while `work` runs.
fn while_swapping(pairs: &[(&Path, &Path)], work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (one, other) in pairs {
                    renameat_with(CWD, *one, CWD, *other, RenameFlags::EXCHANGE).unwrap();
                }
            }
        });
        // Also when it fails: the thread has to end before its panic can be seen.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn links_that_are_swapped_in_lead_nowhere() {
    for user in users() {
        let scene = Scene::new(user);
        let app = scene.folder("app");
        let (given, victim) = (scene.folder("given"), scene.folder("victim"));
        let names = ["app/data", "app/a/b", "app/x"];
        for name in names {
            scene.folder(name);
        }
        let links = ["app/link-1", "app/a/link-2", "app/link-3"].map(|name| scene.path(name));
        symlink("/etc", &links[0]).unwrap();
        symlink("../../..", &links[1]).unwrap();
        symlink(&victim, &links[2]).unwrap();
        let places = names.map(|name| scene.path(name));
        let pairs: Vec<_> =
            places.iter().zip(&links).map(|(place, link)| (place.as_path(), link.as_path())).collect();
        let etc = fs::read_dir("/etc").unwrap().count();
        let before = mounts();
        let bind = format!("{}:/app/x", given.display());
        let (mut started, mut refused) = (0, 0);
        while_swapping(&pairs, || {
            for _ in 0..rounds(60) {
                let outcome = scene.sh(
                    &[
                        "--app",
                        app.to_str().unwrap(),
                        "--bind",
                        &bind,
                        "--tmpfs=/app/data",
                        "--tmpfs=/app/a/b",
                    ],
                    "for d in /app/x /app/data /app/a/b; do (: > $d/swapped) 2>&-; done; exit 0",
                );
                match outcome.code {
                    Some(0) => started += 1,
                    Some(125) => {
                        assert!(outcome.err.contains("cannot mount at '/app/"), "{outcome:#?}");
                        refused += 1;
                    }
                    _ => panic!("{outcome:#?}"),
                }
            }
        });
        // How often it came which way is luck; most often it is refused.
        eprintln!("{user:?}: {started} started, {refused} refused");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "a write on the host");
        assert!(
            !Path::new("/etc/swapped").exists() && !Path::new("/swapped").exists(),
            "a write on the host"
        );
        assert!(
            !scene.path("swapped").exists() && !scene.path("app/swapped").exists(),
            "a write on the host"
        );
        assert!(places.iter().all(|place| !place.join("swapped").exists()), "a write in the app's tree");
        assert_eq!(fs::read_dir("/etc").unwrap().count(), etc);
        assert_eq!(mounts(), before);
    }
}

#[test]
fn killed_at_any_instant_nothing_is_left() {
    for user in users() {
        let scene = Scene::new(user);
        let app = scene.folder("app");
        let before = mounts();
        kill_at_any_instant(250, || {
            scene.jail(&["--root-from-host", "--app", app.to_str().unwrap(), "--data", "app"])
        });
        assert_eq!(mounts(), before);
        assert_eq!(fs::read_dir(&app).unwrap().count(), 0);
    }
}

#[test]
fn a_caller_that_is_killed_at_any_instant_leaves_nothing() {
    for user in users() {
        let scene = Scene::new(user);
        kill_at_any_instant(250, || {
            let mut shell = scene.command("sh");
            shell
                .args(["-c", "\"$0\" --die-with=$$ \"$@\" & wait"])
                .arg(scene.program())
                .arg("--root-from-host");
            shell
        });
    }
}

#[test]
fn a_process_that_took_the_callers_id_is_not_the_caller() {
    for user in users() {
        let scene = Scene::new(user);
        // In a process namespace of its own, where the next id can be told.
        let script = r#"
            echo 300 > /proc/sys/kernel/ns_last_pid || exit 99
            sh -c 'echo $$ > caller; (
                while [ ! -e go ]; do :; done
                exec "$0" --die-with=$(cat caller) --root-from-host -- true 2> said
            ) & exit' "$1"
            caller=$(cat caller)
            echo $((caller - 1)) > /proc/sys/kernel/ns_last_pid
            sleep 600 &
            other=$!
            : > go
            until [ -s said ]; do sleep 0.01; done
            kill $other
            echo $caller $other
        "#;
        let mut command = scene.command("unshare");
        command.args(["-Urmpf", "--mount-proc", "sh", "-c", script, "sh"]).arg(scene.program());
        let outcome = run(command);
        assert_eq!(outcome.out, "301 301\n", "{outcome:#?}");
        let said = fs::read_to_string(scene.path("said")).unwrap();
        assert!(said.contains("--die-with: process 301 is not the caller, or no longer is"), "{said}");
    }
}
