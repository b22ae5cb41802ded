//! Scripts stop on errors and can be parsed.

use std::process::Command;

use piku_tests::tools::repository;

#[test]
fn scripts_are_posix_and_stop_on_errors() {
    const FOLDERS: [&str; 7] = [
        "scripts",
        "scripts/benches",
        "scripts/benches/lib",
        "scripts/services/mariadb",
        "scripts/services/postgres",
        "scripts/services/redis",
        "packaging",
    ];
    let (mut seen, mut seen_python) = (0, 0);
    let folders = FOLDERS.map(|folder| std::fs::read_dir(repository().join(folder)));
    for entry in folders.into_iter().flat_map(|entries| entries.expect("scripts").flatten()) {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if !text.starts_with("#!") {
            continue;
        }
        if text.starts_with("#!/usr/bin/env python3\n") {
            seen_python += 1;
            let parse = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
            let parsed = Command::new("python3").args(["-c", parse]).arg(entry.path()).status();
            assert!(parsed.expect("python3").success(), "{entry:?}");
            continue;
        }
        seen += 1;
        assert!(text.starts_with("#!/bin/sh\n"), "{entry:?}");
        assert!(text.lines().any(|line| line == "set -eu"), "{entry:?} has no `set -eu`");
        let parsed = Command::new("dash").arg("-n").arg(entry.path()).status().expect("dash");
        assert!(parsed.success(), "{entry:?}");
    }
    assert!(seen >= 30 && seen_python >= 3, "only {seen} scripts and {seen_python} of Python");
}
