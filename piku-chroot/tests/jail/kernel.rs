//! Kernels and security modules that refuse what a jail is made of, played by a filter of system calls.

use std::process::Command;

use crate::prepared::{LOOK, name_of, option_for, prepare};
use crate::scene::{Outcome, Scene, run, users};

/// Runs a command without some system calls; the file says how.
const WITHOUT: &str = include_str!("../../../tests/src/kernel.py");

/// Ubuntu's setting, which is not there elsewhere. `$1` is its value; what follows is run.
const UBUNTU: &str = "mount -t tmpfs none /proc/sys/kernel && echo $1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns \
                      && shift && exec \"$@\"";

/// A kernel that gives these answers, such as `mount=EPERM`.
fn kernel<'a>(scene: &Scene, answers: &[&'a str]) -> Vec<&'a str> {
    scene.file("kernel.py", WITHOUT);
    // Not what a version manager has put in front of it: that is its owner's.
    [&["/usr/bin/python3", "kernel.py"], answers, &["--"]].concat()
}

/// The program with these options on that kernel, and what it reported.
fn on(scene: &Scene, answers: &[&str], options: &[&str]) -> (Outcome, String) {
    let words = kernel(scene, answers);
    let mut command = scene.command(words[0]);
    finish(scene, command.args(&words[1..]), options)
}

/// The same where Ubuntu's setting for user namespaces is 1.
fn on_ubuntu(scene: &Scene, answers: &[&str], options: &[&str]) -> (Outcome, String) {
    let mut command = scene.command("unshare");
    command.args(["-Urmpf", "--mount-proc", "sh", "-c", UBUNTU, "sh", "1"]).args(kernel(scene, answers));
    finish(scene, &mut command, options)
}

fn finish(scene: &Scene, command: &mut Command, options: &[&str]) -> (Outcome, String) {
    let report = scene.path("report");
    let _ = std::fs::remove_file(&report);
    let mut words = vec!["--report", "report", "--root-from-host"];
    words.extend(options);
    let outcome = run(command.arg(scene.program()).args(words).args(["--", "true"]));
    (outcome, std::fs::read_to_string(report).unwrap_or_default())
}

/// `clone` with `CLONE_NEWUSER`.
const CLONE_NEWUSER: &str = "clone:0x10000000";

#[test]
fn ubuntus_apparmor_is_named_wherever_it_refuses() {
    for user in users() {
        let scene = Scene::new(user);
        for (answer, what) in [
            // Ubuntu 23.10 refuses the namespace.
            (format!("{CLONE_NEWUSER}=EACCES"), "AppArmor forbids user namespaces"),
            (format!("{CLONE_NEWUSER}=EPERM"), "AppArmor forbids user namespaces"),
            // Ubuntu 24.04 makes it and denies every capability inside.
            ("unshare:0x2000000=EPERM".to_owned(), "AppArmor denies capabilities in it"),
            ("mount=EPERM".to_owned(), "AppArmor denies capabilities in it"),
            ("mount=EACCES".to_owned(), "AppArmor denies capabilities in it"),
        ] {
            let (outcome, report) = on_ubuntu(&scene, &[&answer], &[]);
            assert_eq!(outcome.code, Some(125), "{answer}: {outcome:#?}");
            assert!(outcome.err.contains(what), "{answer}: {}", outcome.err);
            assert!(outcome.err.contains("\nhint: install piku, whose installer adds"), "{}", outcome.err);
            assert!(report.contains("\"obstacle\":\"absent\""), "{answer}: {report}");
        }
        let (table, _) = on_ubuntu(&scene, &["mount=EPERM"], &["--check"]);
        assert_eq!(table.code, Some(1), "{table:#?}");
        assert!(table.out.contains("mount namespace                       no, required"), "{}", table.out);
        assert!(table.out.contains("AppArmor denies capabilities in it"), "{}", table.out);
    }
}

#[test]
fn a_namespace_without_rights_is_not_a_shortage() {
    for user in users() {
        let scene = Scene::new(user);
        for answer in ["unshare:0x2000000=EPERM", "mount=EPERM"] {
            let (outcome, report) = on(&scene, &[answer], &[]);
            assert_eq!(outcome.code, Some(125), "{outcome:#?}");
            assert!(
                outcome.err.contains("the user has no capabilities in it: a security module"),
                "{}",
                outcome.err
            );
            assert!(report.contains("\"obstacle\":\"absent\""), "{answer}: {report}");
        }
    }
}

#[test]
fn old_kernel_is_named_with_its_version() {
    for user in users() {
        let scene = Scene::new(user);
        for answer in ["mount_setattr=ENOSYS", "openat2=ENOSYS"] {
            let (outcome, report) = on(&scene, &[answer], &[]);
            assert_eq!(outcome.code, Some(125), "{outcome:#?}");
            assert!(outcome.err.contains("\nhint: this kernel is new enough: "), "{}", outcome.err);
            assert!(report.contains("\"obstacle\":\"absent\""), "{answer}: {report}");
        }
    }
}

#[test]
fn a_kernel_without_landlock_or_filters_or_ipv6_makes_jails() {
    for user in users() {
        let scene = Scene::new(user);
        for (answer, missing) in [
            // Built without it.
            ("landlock_create_ruleset=ENOSYS", "\"layer\":\"Landlock\""),
            // Left out of the lsm= list.
            ("landlock_create_ruleset=EOPNOTSUPP", "\"layer\":\"Landlock\""),
            ("seccomp=ENOSYS", "\"layer\":\"seccomp\""),
            ("socket:10=EAFNOSUPPORT", ""),
            ("pidfd_open=ENOSYS", ""),
        ] {
            let (outcome, report) = on(&scene, &[answer], &["--net", "loopback"]);
            assert_eq!(outcome.code, Some(0), "{answer}: {outcome:#?}");
            assert!(report.contains(missing) && report.contains("\"started\""), "{answer}: {report}");
            if missing.is_empty() {
                continue;
            }
            let (strict, report) = on(&scene, &[answer], &["--strict"]);
            assert_eq!(strict.code, Some(125), "{answer}: {strict:#?}");
            assert!(!report.contains("\"started\""), "{answer}: {report}");
        }
    }
}

#[test]
fn no_root_is_prepared_that_no_jail_could_use() {
    let scene = Scene::new(users()[0]);
    let words = kernel(&scene, &["unshare:0x10000000=EPERM"]);
    let mut command = scene.command(words[0]);
    command.args(&words[1..]).arg(scene.program()).args(["--root-from-host", "--prepare"]);
    let outcome = run(&mut command);
    assert_eq!(outcome.code, Some(125), "{outcome:#?}");
    assert!(outcome.err.starts_with("piku-chroot: cannot make a user namespace: "), "{}", outcome.err);
}

#[test]
fn where_no_prepared_root_can_be_copied_the_jail_makes_its_own() {
    for user in users() {
        let scene = Scene::new(user);
        let common = ["--root-from-host", "--hostname=blog", "--env=HOME=/tmp"];
        let root = prepare(scene.jail(&common));
        let script = format!("{LOOK}; readlink /proc/self/ns/mnt");
        let start = |answers: &[&str], options: &[&str]| {
            let words = kernel(&scene, answers);
            let mut command = scene.command(words[0]);
            command.args(&words[1..]).arg(scene.program()).args(common).args(options);
            let Outcome { out, err, .. } = run(command.args(["--", "sh", "-c", &script]));
            let (seen, mounts) = out.trim_end().rsplit_once('\n').unwrap();
            (seen.to_owned(), mounts.to_owned(), err)
        };
        let option = option_for(&root);
        // Such as the limit of a user's mount namespaces.
        let alone = start(&["unshare:0x20000=ENOSPC"], &[]);
        let refused = start(&["unshare:0x20000=ENOSPC"], &[&option]);
        assert_eq!((&alone.0, &alone.2), (&refused.0, &refused.2));
        assert_ne!(refused.1, name_of(&root));
        // The prepared one is as before.
        let copied = start(&["setgroups=EPERM"], &[&option]);
        assert_eq!((alone.0, alone.2), (copied.0, copied.2));
    }
}
