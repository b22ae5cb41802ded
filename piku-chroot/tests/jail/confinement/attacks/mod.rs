//! Everything that `piku-attack` knows to try, from inside of a jail, with the outer side prepared for real.

mod inside;
mod program;

use inside::{Jailed, Level};

use std::path::Path;
use std::process::Command;

use crate::scene::{Scene, User, run, users};

/// Attacks that cannot be tried everywhere, with the reasons.
const UNTRIED: [(&str, &str); 8] = [
    ("set-uid", "only root can make a set-uid program of root's"),
    ("file-capabilities", "only root can give a file capabilities"),
    (
        "groups",
        "only root can give a process more groups; and one user cannot leave them, which --check says",
    ),
    ("fork-bomb", "without a limit it would only harm this machine, so it has a test of its own"),
    ("memory-hog", "without a limit it would only harm this machine, so it has a test of its own"),
    ("foreign-ports", "only Landlock of Linux 6.7 restricts them, which --check says"),
    ("gate-32", "only x86-64 has one"),
    ("x32", "only x86-64 has them"),
];

#[test]
fn nothing_gets_through_with_one_user() {
    for user in users() {
        let scene = Scene::new(user);
        all_is_held(&Jailed::new(&scene, Level::One));
    }
}

#[test]
fn nothing_gets_through_with_a_range_of_users() {
    for user in users() {
        let scene = Scene::new(user);
        let jailed = Jailed::new(&scene, Level::Two);
        if let Err(why) = jailed.works() {
            eprintln!("skipped: no range of users for {user:?}: {why}");
            assert!(std::env::var_os("CI").is_none(), "with CI set nothing may be skipped");
            continue;
        }
        all_is_held(&jailed);
    }
}

#[test]
fn limits_hold_against_attacks() {
    let user = *users().last().unwrap();
    if nix::unistd::geteuid().is_root() {
        // Without a cgroup nothing limits the processes of root.
        assert_eq!(user, User::Nobody);
    }
    let scene = Scene::new(user);
    let facts = ["fork-bomb", "memory-hog", "pids=40", "bytes=134217728"];
    let rows = Jailed::new(&scene, Level::One).attack(&["--limit=pids=40,memory=128m"], &facts);
    assert!(rows.len() == 2 && rows.iter().all(|row| row.word() == "held"), "{rows:#?}");
}

/// Attacks whose refusal names the protection, so that the test notices a missing one.
const HOW: [(&str, &str); 10] = [
    ("unshare", "held: EPERM 16 times"),
    ("clone", "held: EPERM 14 times"),
    ("clone3", "held: ENOSYS 16 times"),
    ("terminal-filter", "held: EPERM 6 times"),
    ("socket-families", "held: EPERM 15 times"),
    ("personality", "held: EPERM 7 times"),
    ("gate-32", "held: ENOSYS"),
    ("new-calls", "held: ENOSYS 147 times"),
    ("netlink-families", "held: EPERM 31 times"),
    ("internet-protocols", "held: EPROTONOSUPPORT 8 times"),
];

/// The table that the README shows: nothing gets out of our jails, whatever it does elsewhere.
#[test]
fn all_is_held_in_the_comparison_with_bubblewrap() {
    if Command::new("bwrap").arg("--version").output().is_err() {
        eprintln!("skipped: bubblewrap is not installed");
        assert!(std::env::var_os("CI").is_none(), "with CI set nothing may be skipped");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/compare-jails");
    let mut command = Command::new(script);
    command.env("PIKU_CHROOT", env!("CARGO_BIN_EXE_piku-chroot")).env("PIKU_ATTACK", program::path());
    let outcome = run(command);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let columns = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = outcome.out.lines().skip(2).map(columns).collect();
    assert!(rows.len() > 50, "{}", outcome.out);
    assert!(rows.iter().all(|row| row.len() == 7 && row[3] != "**broken**" && row[4] != "**broken**"));
}

fn all_is_held(jailed: &Jailed) {
    let rows = jailed.attack(&[], &["all"]);
    assert!(rows.len() > 50, "{rows:#?}");
    let bad: Vec<_> = rows
        .iter()
        .filter(|row| match row.word() {
            "held" => false,
            "untried" => !UNTRIED.iter().any(|(name, _)| *name == row.name),
            _ => true,
        })
        .collect();
    assert!(bad.is_empty(), "{jailed:?}: {bad:#?}\nof {rows:#?}");
    for row in rows.iter().filter(|row| row.word() != "held") {
        eprintln!("{jailed:?}: {} {}", row.name, row.said);
    }
    if cfg!(target_arch = "x86_64") {
        for (name, how) in HOW {
            let row = rows.iter().find(|row| row.name == name).unwrap();
            assert_eq!(row.said, how, "{jailed:?}: {name}");
        }
    }
    assert!(jailed.launcher_is_the_same(), "the launcher was changed");
}
