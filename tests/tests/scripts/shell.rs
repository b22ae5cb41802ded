//! The shell scripts hold what STYLE asks of them.

use std::process::Command;

use piku_tests::tools::repository;

#[test]
fn scripts_are_posix_and_stop_on_errors() {
    let mut seen = 0;
    let folders = ["scripts", "scripts/benches"].map(|folder| std::fs::read_dir(repository().join(folder)));
    for entry in folders.into_iter().flat_map(|entries| entries.expect("scripts").flatten()) {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if !text.starts_with("#!") {
            continue;
        }
        seen += 1;
        assert!(text.starts_with("#!/bin/sh\n"), "{entry:?}");
        assert!(text.lines().any(|line| line == "set -eu"), "{entry:?} has no `set -eu`");
        let parsed = Command::new("dash").arg("-n").arg(entry.path()).status().expect("dash");
        assert!(parsed.success(), "{entry:?}");
    }
    assert!(seen >= 3, "only {seen} scripts");
}
