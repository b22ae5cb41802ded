//! The manuals in man/ and the completions in completions/ are what the command lines of the tools say today.
//!
//! `PIKU_UPDATE=1 cargo test -p piku-tests --test manuals` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;
use piku_tests::tools::repository;

use crate::verb_pages;

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn tools() -> [Command; 5] {
    [
        piku_build::command(),
        piku_chroot::command(),
        piku_procfile::command(),
        piku_receive::command(),
        piku_run::command(),
    ]
}

/// Returns a page for a command, named as it is called, and one for each visible command below it.
fn pages(command: &Command, called: &str, files: &mut Files) {
    let name = called.replace(' ', "-");
    let mut page = Vec::new();
    let page_of = command.clone().display_name(name.clone()).bin_name(called);
    clap_mangen::Man::new(page_of)
        .title(name.clone())
        .source(concat!("piku ", env!("CARGO_PKG_VERSION")))
        .manual("piku")
        .date("")
        .render(&mut page)
        .expect("a page");
    // The table of exit codes, at the end of the help, under the name that manuals have for it.
    let page = String::from_utf8(page).expect("text");
    let page = page.replace(".SH EXTRA\nExit status:\n", ".SH EXIT STATUS\n");
    let page = page.replace(".SH EXTRA\nVariables of ENV, named", ".SH VARIABLES\nIn ENV, named");
    let page = page.replace(".SH EXTRA\nEach type of worker", ".SH UNITS\nEach type of worker");
    let page = name_values(&page, command);
    files.insert(PathBuf::from(format!("man/{name}.1")), page.into_bytes());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        pages(below, &format!("{called} {}", below.get_name()), files);
    }
}

/// Adds the values of options to the synopsis, which `clap_mangen` leaves out: `[--format FORMAT]`.
fn name_values(page: &str, command: &Command) -> String {
    let mut command = command.clone();
    command.build();
    let Some((front, rest)) = page.split_once(".SH SYNOPSIS\n") else { return page.to_owned() };
    let (synopsis, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let mut synopsis = synopsis.to_owned();
    for arg in command.get_opts() {
        let Some(long) = arg.get_long().map(|long| long.replace('-', "\\-")) else { continue };
        let names = arg.get_value_names().unwrap_or_default();
        let values: Vec<String> =
            names.iter().map(|name| format!(" \\fI{}\\fR", name.replace('-', "\\-"))).collect();
        let values = values.concat();
        let option = format!("\\fB\\-\\-{long}\\fR");
        synopsis = synopsis.replace(&option, &format!("{option}{values}"));
    }
    format!("{front}.SH SYNOPSIS\n{synopsis}\n{rest}")
}

fn wanted() -> Files {
    let mut files = Files::new();
    for tool in tools() {
        let name = tool.get_name().to_owned();
        for (shell, file) in [
            (Shell::Bash, format!("completions/{name}.bash")),
            (Shell::Zsh, format!("completions/_{name}")),
            (Shell::Fish, format!("completions/{name}.fish")),
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut tool.clone(), &name, &mut text);
            files.insert(PathBuf::from(file), text);
        }
        pages(&tool, &name, &mut files);
    }
    files.extend(verb_pages::verb_pages());
    // Written by hand.
    for file in ["completions/piku.bash", "completions/_piku", "completions/piku.fish"] {
        files.insert(PathBuf::from(file), fs::read(repository().join(file)).expect(file));
    }
    files
}

#[test]
fn manuals_and_completions_are_current() {
    let wanted = wanted();
    if std::env::var_os("PIKU_UPDATE").is_some() {
        for folder in ["man", "completions"] {
            let _ = fs::remove_dir_all(repository().join(folder));
            fs::create_dir_all(repository().join(folder)).expect(folder);
        }
        for (file, text) in &wanted {
            fs::write(repository().join(file), text).expect("a file");
        }
    }
    for (file, text) in &wanted {
        let there = fs::read(repository().join(file)).unwrap_or_default();
        assert!(
            there == *text,
            "{} is stale; PIKU_UPDATE=1 cargo test -p piku-tests --test manuals",
            file.display()
        );
    }
    for folder in ["man", "completions"] {
        for entry in fs::read_dir(repository().join(folder)).expect(folder).flatten() {
            let file = PathBuf::from(folder).join(entry.file_name());
            assert!(wanted.contains_key(&file), "{} belongs to no command", file.display());
        }
    }
}
