//! Scripts stop on errors and can be parsed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use piku_tests::account::Account;

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

#[test]
fn help_needs_no_root_and_writes_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let account = Account::for_tests();
    account.take_ownership(home.path());
    let mut seen = 0;
    for entry in fs::read_dir(repository().join("scripts")).expect("scripts").flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        // Those of the pipeline, and parts of others, are not called by people.
        let is_program = entry.metadata().expect("a script").permissions().mode() & 0o111 != 0;
        if !is_program || !text.contains("\nusage() {") {
            continue;
        }
        seen += 1;
        let mut help = Command::new(entry.path());
        help.arg("--help").current_dir("/").env("HOME", home.path());
        if account.can_reach(&entry.path()) {
            account.apply_to(&mut help);
        }
        let help = help.output().expect("the script");
        assert!(
            help.status.success() && help.stderr.is_empty() && help.stdout.len() > 50,
            "{entry:?}: {help:?}"
        );
    }
    assert!(seen >= 11, "only {seen} scripts have help");
    assert_eq!(fs::read_dir(home.path()).expect("home").count(), 0);
}
