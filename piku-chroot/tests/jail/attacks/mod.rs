//! Everything that `piku-attack` knows to try, from inside of a jail, with the outer side prepared for real.

mod inside;
mod program;

use inside::{Jailed, Level};

use crate::scene::{Scene, User, users};

/// What cannot be tried everywhere, and why.
const UNTRIED: [(&str, &str); 7] = [
    ("set-uid", "only root can make a set-uid program of root's"),
    ("file-capabilities", "only root can give a file capabilities"),
    (
        "groups",
        "only root can give a process more groups; and one user cannot leave them, which --check says",
    ),
    ("fork-bomb", "without a limit it would only harm this machine, so it has a test of its own"),
    ("memory-hog", "without a limit it would only harm this machine, so it has a test of its own"),
    ("gate-32", "only x86-64 has one"),
    ("x32", "only x86-64 has them"),
];

/// What the system call filter, Landlock and the masks of /proc are to refuse, and nothing does yet.
const AWAITED: [&str; 12] = [
    "unshare",
    "clone",
    "clone3",
    "setns",
    "terminal-filter",
    "abstract-sockets",
    "socket-families",
    "keyrings",
    "denied-calls",
    "gate-32",
    "personality",
    "userfaultfd",
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
fn more_than_the_limit_is_not_to_be_had() {
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

fn all_is_held(jailed: &Jailed) {
    let rows = jailed.attack(&[], &["all"]);
    assert!(rows.len() > 50, "{rows:#?}");
    let bad: Vec<_> = rows
        .iter()
        .filter(|row| match row.word() {
            "held" => false,
            "untried" => !UNTRIED.iter().any(|(name, _)| *name == row.name),
            _ => !AWAITED.contains(&row.name.as_str()),
        })
        .collect();
    assert!(bad.is_empty(), "{jailed:?}: {bad:#?}\nof {rows:#?}");
    for row in rows.iter().filter(|row| row.word() != "held") {
        eprintln!("{jailed:?}: {} {}", row.name, row.said);
    }
    assert!(jailed.launcher_is_the_same(), "the launcher was changed");
}
