//! Requirements of a release on the machine that runs it, found in its files: a C library as new as its
//! programs were linked against, and the machine's own programs that its links lead to, such as the
//! interpreter of a virtualenv.
//!
//! Files for other kinds of machines are common in packages that bring a program for each; only what could
//! run on the machine that built the release counts.

#![expect(
    clippy::disallowed_methods,
    reason = "looks for loaders and interpreters of the machine that a tree names; nothing is read"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use piku_procfile::procfile::ProcessKind;
use serde::{Deserialize, Serialize};

use super::clib::{self, GlibcVersion};
use super::interpreter::{is_command, is_interpreter, is_of_system};
use crate::app::command_check;
use crate::tree::root_view;
use piku_layout::jail::PATH;
use piku_release::elf::{self, ElfFile};
use piku_release::manifest::BuiltRelease;

/// Requirements on a machine. These names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ReleaseNeeds {
    /// Minimum version of glibc.
    pub(super) glibc: Option<GlibcVersion>,
    /// True if a program needs musl.
    pub(super) musl: bool,
    /// Programs of the machine: targets of links, with the files to which they resolved on the build host.
    pub(super) programs: BTreeMap<PathBuf, PathBuf>,
    /// Interpreters that start a process, in whichever of the system's folders.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) commands: BTreeSet<String>,
}

impl ReleaseNeeds {
    /// Returns the programs of the machine to which links lead, with the files to which they resolved.
    pub(super) fn programs(&self) -> impl Iterator<Item = (&PathBuf, &PathBuf)> {
        self.programs.iter()
    }

    /// Returns the interpreters that start a process.
    pub(super) fn commands(&self) -> impl Iterator<Item = &String> {
        self.commands.iter()
    }
}

/// Runtimes whose releases are run by an interpreter of the same name.
const RUNTIMES: [&str; 3] = ["node", "ruby", "java"];
/// Commands of every shell, which are not required.
const SHELLS: [&str; 3] = ["sh", "dash", "bash"];

/// Collects the requirements of files.
pub(super) struct NeedsSearch {
    machine: Option<u16>,
    ours: Option<GlibcVersion>,
    /// The requirements found so far.
    pub(super) needs: ReleaseNeeds,
}

impl NeedsSearch {
    /// Begins the search for a release that was built on this machine for this architecture.
    pub(super) fn new(architecture: &str) -> Self {
        let machine = elf::machine_number(architecture);
        Self { machine, ours: machine.and_then(clib::glibc), needs: ReleaseNeeds::default() }
    }

    /// Adds the requirements of a file.
    pub(super) fn add_file(&mut self, file: &File) -> io::Result<()> {
        let Some(elf) = ElfFile::read(file)? else { return Ok(()) };
        if Some(elf.machine) != self.machine {
            return Ok(());
        }
        if let Some(loader) = elf.loader.filter(|loader| loader.exists()) {
            if clib::is_musl(&loader) {
                self.needs.musl = true;
                return Ok(());
            }
            self.needs.glibc = self.needs.glibc.max(self.ours.map(|_| GlibcVersion::ANY));
        }
        if let Some(mut stream) = elf::open_stream(file)? {
            let needed = clib::needed(&mut stream).filter(|needed| Some(*needed) <= self.ours);
            self.needs.glibc = self.needs.glibc.max(needed);
        }
        Ok(())
    }

    /// Adds the interpreters that start the release's processes. `path` is the app's `PATH`; `has` returns
    /// whether the release contains the file at a path.
    pub(super) fn interpreters(
        &mut self,
        release: &BuiltRelease,
        path: Option<&str>,
        has: &dyn Fn(&Path) -> bool,
    ) {
        let by_runtime = RUNTIMES.contains(&release.runtime.as_str()).then(|| release.runtime.clone());
        let entries = command_check::parse_entries(&release.processes);
        let commands = entries.iter().filter(|entry| entry.kind != ProcessKind::Static);
        let words =
            commands.filter_map(|entry| command_check::split_simple(&entry.command)?.into_iter().next());
        // Every machine has shells.
        let names = words.chain(by_runtime).filter(|name| !SHELLS.contains(&name.as_str()));
        let names: BTreeSet<String> = names.filter(|name| is_command(name)).collect();
        let path = path.or(release.env.get("PATH").map(String::as_str)).unwrap_or(PATH);
        for name in names {
            let mut programs = path.split(':').map(|folder| Path::new(folder).join(&name));
            let first = programs
                .find(|program| program.is_absolute() && (has(program) || root_view::is_executable(program)));
            let Some(program) = first.filter(|program| !has(program)) else { continue };
            if is_of_system(&program) {
                self.needs.commands.insert(name);
            } else {
                self.add_link(&program);
            }
        }
    }

    /// Looks at where a link of a layer leads.
    pub(super) fn add_link(&mut self, target: &Path) {
        if is_interpreter(target, &[]) && root_view::is_executable(target) {
            if let Ok(real) = fs::canonicalize(target) {
                self.needs.programs.insert(target.to_owned(), real);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_that_a_release_does_not_bring() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"app": "a", "number": 1, "at": "2026-01-01T00:00:00Z", "architecture": "any", "runtime": "binary",
            "processes": {"web": "perl run.pl", "worker": "sh x", "static": "dash", "other": "true x"}, "jailed": true,
            "env": {"PATH": "node_modules/.bin:/app/bin:/usr/local/bin:/usr/bin:/bin"}}"#;
        fs::write(dir.path().join("release.yaml"), text).unwrap();
        let release = BuiltRelease::read(dir.path()).unwrap();
        let found = |own: &str| {
            let mut search = NeedsSearch::new("any");
            search.interpreters(&release, None, &|path| path == Path::new(own));
            assert!(search.needs.programs.is_empty());
            search.needs.commands.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(found(""), ["perl"]);
        assert!(found("/app/bin/perl").is_empty());
    }

    #[test]
    fn what_this_machine_runs_and_where_links_lead() {
        let mut search = NeedsSearch::new(&piku_release::machine::architecture().unwrap());
        search.add_link(Path::new("/app/bin/sh"));
        search.add_link(Path::new("sh"));
        search.add_link(Path::new("/nowhere/sh"));
        search.add_link(Path::new("/usr/bin/env"));
        assert_eq!(search.needs, ReleaseNeeds::default());
        search.add_link(Path::new("/bin/sh"));
        assert_eq!(
            search.needs.programs.get(Path::new("/bin/sh")),
            Some(&fs::canonicalize("/bin/sh").unwrap())
        );
        search.add_file(&File::open("/bin/sh").unwrap()).unwrap();
        assert!(search.needs.glibc.is_some() || search.needs.musl);

        let mut other = NeedsSearch::new("sparc64");
        other.add_file(&File::open("/bin/sh").unwrap()).unwrap();
        assert_eq!(other.needs, ReleaseNeeds::default());
    }
}
