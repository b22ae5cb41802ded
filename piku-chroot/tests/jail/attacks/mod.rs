//! Everything that `piku-attack` knows to try, from inside of a jail, with the outer side prepared for real.

mod inside;
mod program;

use inside::Jailed;

use crate::scene::{Scene, users};

/// What cannot be tried everywhere, and why.
const UNTRIED: [(&str, &str); 7] = [
    ("set-uid", "only root can make a set-uid program of root's"),
    ("file-capabilities", "only root can give a file capabilities"),
    ("groups", "one user cannot leave its groups; see `other_groups_are_told_of`"),
    ("fork-bomb", "without a limit it would only harm this machine"),
    ("memory-hog", "without a limit it would only harm this machine"),
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
        let jailed = Jailed::new(&scene);
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
        assert!(bad.is_empty(), "{user:?}: {bad:#?}\nof {rows:#?}");
        for row in rows.iter().filter(|row| row.word() != "held") {
            eprintln!("{user:?}: {} {}", row.name, row.said);
        }
        assert!(jailed.launcher_is_the_same(), "the launcher was changed");
    }
}
