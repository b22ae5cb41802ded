//! What the README shows is what the tools take.

use std::fs;
use std::process::Stdio;

use piku_procfile::procfile::{Options, Procfile};
use piku_procfile::settings::Settings;
use piku_tests::tools::repository;
use piku_tests::world::World;

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).expect("README.md")
}

/// The fenced blocks of this kind.
fn blocks(kind: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in readme().lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => open = Some(format!("{found}\n")),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    let head = format!("{kind}\n");
    blocks.into_iter().filter_map(|block| block.strip_prefix(&head).map(str::to_owned)).collect()
}

#[test]
fn the_procfile_is_good() {
    let block = blocks("").into_iter().find(|block| block.starts_with("web:")).expect("a Procfile");
    let parsed = Procfile::parse(block.as_bytes(), Options::default()).expect("a good Procfile");
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
}

#[test]
fn the_settings_are_good() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("host.yaml");
    let blocks = blocks("yaml");
    assert!(!blocks.is_empty());
    for block in blocks {
        fs::write(&file, &block).expect("host.yaml");
        let read = Settings::read(&file).unwrap_or_else(|err| panic!("{err:#}\n{block}"));
        assert_ne!(read, Settings::default());
    }
}

#[test]
fn each_tool_works_alone_as_shown() {
    let world = World::new();
    let repo = world.repo("alone");
    repo.serves("x");
    let block =
        blocks("sh").into_iter().find(|block| block.contains("piku-procfile check")).expect("the block");
    for line in block.lines().filter(|line| !line.contains("piku-run start")) {
        let mut shell = world.command("sh");
        shell.args(["-c", line]).current_dir(repo.path()).stdin(Stdio::null());
        let out = shell.output().expect("sh");
        assert!(out.status.success(), "{line}: {out:?}");
    }
}

#[test]
fn the_verbs_are_those_of_the_script() {
    let help = help();
    let readme = readme();
    let rows = readme.lines().filter(|line| line.starts_with("| `") && line.contains("APP"));
    let mut seen = 0;
    for verb in rows.flat_map(|row| row.split('`').skip(1).step_by(2)) {
        let verb = verb.split(' ').next().unwrap_or_default();
        assert!(help.contains(verb), "{verb:?} is not in `piku help`");
        seen += 1;
    }
    assert!(seen > 10, "only {seen} verbs");
}

fn help() -> String {
    let script = repository().join("scripts/piku");
    let out = std::process::Command::new("sh").arg(script).arg("help").output().expect("scripts/piku");
    String::from_utf8(out.stdout).expect("text")
}
