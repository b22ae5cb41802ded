//! Programs of the machine that a release's processes start: those of their commands, and the interpreters of scripts
//! that the release brings.

#![expect(clippy::disallowed_methods, reason = "looks where programs of the machine lead; nothing is read")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use piku_layout::jail::{APP, PATH};
use piku_procfile::procfile::ProcessKind;
use piku_release::manifest::BuiltRelease;
use piku_report::progress;

use super::super::OpenedRelease;
use super::command_words::list_programs;
use crate::app::app_source::AppSource;
use crate::tree::found::FilePlace;
use crate::tree::root_view::{MountedFolder, RootView};

/// Length of the first line of a script, in bytes, as Linux reads it.
const LONGEST_LINE: u64 = 256;

/// A file of the machine that a release needs.
pub(super) struct NeededFile {
    /// Description for messages: `program 'convert' of worker`.
    pub(super) what: String,
    /// Places that would do, the one that is used here first.
    pub(super) places: Vec<NeededPlace>,
    /// True if the release may run without it.
    pub(super) is_optional: bool,
}

/// A file as something names it, and where its links lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NeededPlace {
    pub(super) named: PathBuf,
    pub(super) real: PathBuf,
}

impl NeededPlace {
    /// Follows the links of the machine.
    pub(super) fn follow(named: PathBuf) -> Self {
        let real = fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
        Self { named, real }
    }
}

/// Searches the file system that the processes of a release see.
struct ProgramSearch {
    view: RootView,
    /// Directories of programs, the first one first.
    folders: Vec<PathBuf>,
    /// Programs that are needed, with what needs them.
    found: BTreeMap<PathBuf, NeededFile>,
}

/// Returns the programs of the machine that the release needs.
pub(super) fn find(release: &OpenedRelease) -> anyhow::Result<Vec<NeededFile>> {
    let needs = &release.head.needs;
    let mut search = ProgramSearch::new(release)?;
    for entry in release.entries.iter().filter(|entry| entry.kind != ProcessKind::Static) {
        let programs = list_programs(&entry.command);
        for word in programs.words {
            search.add(&word, entry.name.as_str(), true);
        }
        if programs.has_unknown {
            progress::warning(&format!(
                "{} starts a program that a variable names; if the image lacks it, add its package with --package: {}",
                entry.name, entry.command
            ));
        }
    }
    for name in needs.commands() {
        search.add(name, &release.release.runtime, true);
    }
    let linked = needs.programs().map(|(link, real)| NeededFile {
        what: format!("program '{}'", link.display()),
        places: vec![NeededPlace { named: link.clone(), real: real.clone() }],
        is_optional: false,
    });
    Ok(linked.chain(search.found.into_values()).collect())
}

impl ProgramSearch {
    fn new(release: &OpenedRelease) -> anyhow::Result<Self> {
        let BuiltRelease { layers, env, .. } = &release.release;
        let mounts = layers
            .iter()
            .map(|layer| Ok((layer.mount.clone(), MountedFolder::Tree(release.layer(&layer.key)?.clone()))));
        let source = AppSource::open_tree(release.app()?.clone(), None)?;
        let path = source.variable("PATH").map(|(path, _)| path);
        let path = path.or(env.get("PATH").map(String::as_str)).unwrap_or(PATH);
        let folders = std::env::split_paths(path).map(|folder| Path::new(APP).join(folder)).collect();
        let mounts = mounts.collect::<anyhow::Result<_>>()?;
        let view = RootView::new(source.tree.clone(), true, mounts, path);
        Ok(Self { view, folders, found: BTreeMap::new() })
    }

    /// Adds what a word in place of a command needs. A program that is not there is not needed: it does not start
    /// here either. With `reads`, the interpreter of a script is added as well.
    fn add(&mut self, word: &str, by: &str, reads: bool) {
        let places = if word.contains('/') {
            vec![Path::new(APP).join(word)]
        } else {
            self.folders.iter().map(|folder| folder.join(word)).collect()
        };
        let mut of_machine = Vec::new();
        for named in places {
            let Some(found) = self.view.find(&named).filter(|found| found.place.runs()) else { continue };
            match &found.place {
                FilePlace::Tree(..) if of_machine.is_empty() => {
                    let line = found.place.read_start(LONGEST_LINE);
                    let words = if reads { interpreters(&line) } else { Vec::new() };
                    return words.iter().for_each(|word| self.add(word, by, false));
                }
                // A later one is not used.
                FilePlace::Tree(..) => break,
                FilePlace::Host(real) => {
                    // A link of the release is in the image as it is.
                    let is_brought = self.is_brought(&named);
                    let named = if is_brought { real.clone() } else { named };
                    of_machine.push(NeededPlace { named, real: real.clone() });
                }
            }
        }
        let Some(first) = of_machine.first() else { return };
        let what = format!("program '{}' of {by}", first.named.display());
        let needed = NeededFile { what, places: of_machine.clone(), is_optional: false };
        self.found.entry(first.named.clone()).or_insert(needed);
    }

    fn is_brought(&self, named: &Path) -> bool {
        named.starts_with(APP) || self.view.mounts().any(|(mount, _)| named.starts_with(mount))
    }
}

/// Returns the interpreters that the first line of a script names.
fn interpreters(start: &[u8]) -> Vec<String> {
    let Some(line) = start.strip_prefix(b"#!") else { return Vec::new() };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return Vec::new() };
    let is_env = Path::new(first).ends_with("env");
    let asked = words.find(|word| !word.starts_with('-') && !word.contains('=')).filter(|_| is_env);
    [first].into_iter().chain(asked).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_name_interpreters() {
        assert_eq!(interpreters(b"#!/usr/bin/perl -w\nx"), ["/usr/bin/perl"]);
        assert_eq!(interpreters(b"#! /usr/bin/env -S A=1 node\n"), ["/usr/bin/env", "node"]);
        assert!(interpreters(b"#!").is_empty() && interpreters(b"\x7fELF").is_empty());
    }
}
