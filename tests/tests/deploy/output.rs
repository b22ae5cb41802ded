//! The output of an app and its build: bounded, and with nothing in it that acts on the terminal of its reader.

use std::fs;

use piku_tests::world::{World, wait_for};

/// A title, the clipboard, a question that the terminal answers, a line that overwrites itself, and a colour.
const ESCAPES: &str = r"printf 'see \033]0;title\007\033]52;c;eA==\007\033P$q\042p\033\\\302\233[6nhere\rover\b\b \033[31mred\033[0m\n'";

/// Returns whether the output holds nothing but text, lines and colours.
fn is_harmless(said: &str) -> bool {
    let without = said.replace("\x1b[31m", "").replace("\x1b[0m", "").replace("\x1b[K", "");
    !without.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
}

#[test]
fn control_characters_are_removed() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n");
    let commands = format!(
        "web: ./serve\npreflight: {ESCAPES}\nrelease: {ESCAPES}\nworker: {ESCAPES}; exec sleep 1000\n"
    );
    let said = repo.file("Procfile", commands).commit("Escapes").push().succeeds();
    assert!(is_harmless(&said) && said.contains("\x1b[31mred\x1b[0m"), "{said:?}");
    let logs = |words: &str| {
        let out = world.ssh("laptop", words);
        assert!(out.status.success(), "{words}: {out:?}");
        String::from_utf8(out.stdout).expect("text")
    };
    wait_for("the worker's words", || logs("logs blog --ps worker.1").contains("red"));
    for words in ["logs blog", "logs blog --ps release.1", "logs blog --deploy"] {
        let said = logs(words);
        assert!(is_harmless(&said) && said.contains("\x1b[31mred\x1b[0m"), "{words}: {said:?}");
    }
    assert!(logs("logs blog --raw --ps worker.1").contains("\x1b]52;c;eA==\x07"));
}

#[test]
fn endless_build_output_is_truncated() {
    let world = World::with_settings("deploy_log: 1\n");
    let repo = world.repo("blog");
    repo.serves("one\n")
        .file("Procfile", "web: ./serve\npreflight: for n in 1 2; do yes | head -c 30000000; done; false\n");
    let said = repo.commit("Prints").push().fails_with(&[
        "this step has printed more than 2.0 MiB: only its last lines are shown",
        "this deploy has printed more than 1.0 MiB",
        "are omitted here",
        "deploy 1 of blog failed at: build",
    ]);
    assert!(said.len() < 2_000_000, "{}", said.len());
    let log = fs::metadata(world.app("blog").join("log/deploy-1.log")).expect("the log").len();
    assert!(((1 << 20)..1_200_000).contains(&log), "{log}");
}
