//! The documents show what the tools take, and link to each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use piku_layout::settings::HostSettings;
use piku_procfile::procfile::{ParseOptions, Procfile};
use piku_tests::tools::repository;
use piku_tests::world::World;

/// README.md, CONTRIBUTING.md and all pages of docs: each page's path and text.
fn pages() -> Vec<(PathBuf, String)> {
    let docs =
        fs::read_dir(repository().join("docs")).expect("docs").map(|entry| entry.expect("a page").path());
    // The schemas of JSON outputs and pictures are beside them.
    let docs = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let pages = ["README.md", "CONTRIBUTING.md"].map(|name| repository().join(name)).into_iter().chain(docs);
    pages.map(|path| (path.clone(), fs::read_to_string(path).expect("a page"))).collect()
}

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).expect("README.md")
}

/// The fenced blocks of this kind, in all pages.
fn blocks(kind: &str) -> Vec<String> {
    pages().iter().flat_map(|(_, text)| blocks_in(text, kind)).collect()
}

fn blocks_in(text: &str, kind: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(found)) => open = Some(format!("{found}\n")),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    let head = format!("{kind}\n");
    blocks.into_iter().filter_map(|block| block.strip_prefix(&head).map(str::to_owned)).collect()
}

#[test]
fn readme_is_short() {
    let lines = readme().lines().count();
    assert!(lines < 160, "{lines} lines: move some of it to docs/");
}

#[test]
fn the_example_of_a_runtime_compiles() {
    let source = repository().join("piku-build/src/runtime/example.rs");
    let source = fs::read_to_string(source).expect("the example, which piku-build's tests compile");
    let shown = source.split("\n#[cfg(test)]").next().expect("its code");
    assert_eq!(blocks("rust"), [shown], "docs/adding-a-runtime.md shows piku-build/src/runtime/example.rs");
}

#[test]
fn links_between_documents_resolve() {
    let mut linked = BTreeSet::new();
    for (page, text) in pages() {
        // Between backquotes stands code.
        let prose: String = text.split('`').step_by(2).collect();
        for target in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().expect("a folder").join(path);
            let path =
                path.canonicalize().unwrap_or_else(|err| panic!("{}: {target}: {err}", page.display()));
            linked.insert(path);
        }
    }
    for (page, _) in pages().into_iter().filter(|(page, _)| !page.ends_with("README.md")) {
        assert!(
            linked.contains(&page.canonicalize().expect("a page")),
            "no page links to {}",
            page.display()
        );
    }
}

/// Each command of ours that a block shows: its verb, or subcommand, is one that the program has.
#[test]
fn documented_commands_exist() {
    let verbs = help();
    let mut seen = 0;
    let lines = ["sh", ""].into_iter().flat_map(blocks);
    for line in lines.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()) {
        let line = line.split(" #").next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words.iter().position(|word| *word == "piku" || word.starts_with("piku@")) else {
            continue;
        };
        let is_command = at == 0 || matches!(words[at - 1], "sudo" | "ssh") || words[..at].contains(&"ssh");
        let Some(verb) = words.get(at + 1).filter(|_| is_command) else { continue };
        let operator = ["doctor", "setup", "keys", "keys:add", "keys:remove", "help"];
        assert!(
            operator.contains(verb) || verbs.contains(&format!(" {verb} ")),
            "{line:?}: no verb {verb:?}"
        );
        seen += 1;
    }
    assert!(seen > 5, "only {seen} commands");
}

/// `piku-run deploy`, `piku-build plan` and so on, wherever a page names one.
#[test]
fn documented_subcommands_exist() {
    let manuals = repository().join("man");
    let mut seen = 0;
    for (page, text) in pages() {
        for code in text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("piku-")) {
            let words: Vec<&str> = code.split(' ').collect();
            let is_word =
                |word: &&&str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase());
            let Some(sub) = words.get(1).filter(is_word) else { continue };
            let tools = ["piku-receive", "piku-build", "piku-run", "piku-procfile"];
            if tools.contains(&words[0]) && !["daemon", "supervise"].contains(sub) {
                let manual = manuals.join(format!("{}-{sub}.1", words[0]));
                assert!(manual.exists(), "{}: `{code}`: no {}", page.display(), manual.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} subcommands");
}

#[test]
fn documented_procfiles_are_valid() {
    let blocks: Vec<_> = blocks("").into_iter().filter(|block| block.starts_with("web:")).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let parsed = Procfile::parse(block.as_bytes(), ParseOptions::default()).expect("a good Procfile");
        assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    }
}

#[test]
fn documented_settings_are_valid() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("host.yaml");
    let blocks = blocks("yaml");
    assert!(!blocks.is_empty());
    for block in blocks {
        fs::write(&file, &block).expect("host.yaml");
        let read = HostSettings::read(&file).unwrap_or_else(|err| panic!("{err:#}\n{block}"));
        assert_ne!(read, HostSettings::default());
    }
}

#[test]
fn documented_tool_examples_work() {
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
fn documented_verbs_match_script() {
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
