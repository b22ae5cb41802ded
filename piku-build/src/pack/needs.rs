//! What a release asks of the machine that runs it, found in its files: a C library as new as its programs were linked
//! against, and the machine's own programs that its links lead to, such as the interpreter of a virtualenv.
//!
//! Files for other kinds of machines are common in packages that bring a program for each; only what could run on the machine
//! that built the release counts.

#![expect(
    clippy::disallowed_methods,
    reason = "looks for loaders and interpreters of the machine that a tree names; nothing is read"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use piku_procfile::procfile::Kind;
use serde::{Deserialize, Serialize};

use super::clib::{self, Version};
use super::interpreter::is_interpreter;
use crate::elf::{self, Elf};
use crate::inside::PATH;
use crate::release::Release;
use crate::{startable, view};

/// What is asked. These names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Needs {
    /// At least this glibc.
    pub(super) glibc: Option<Version>,
    /// musl.
    pub(super) musl: bool,
    /// Programs of the machine: where links lead, and what was there in the end where it was built.
    pub(super) programs: BTreeMap<PathBuf, PathBuf>,
}

/// The interpreters of the machine that releases of these runtimes run on.
const RUNTIMES: [(&str, &str); 3] = [("node", "node"), ("ruby", "ruby"), ("java", "java")];

/// Collects what files need.
pub(super) struct Search {
    machine: Option<u16>,
    ours: Option<Version>,
    /// What was found.
    pub(super) needs: Needs,
}

impl Search {
    /// For a release that was built on this machine for this architecture.
    pub(super) fn new(architecture: &str) -> Self {
        let machine = elf::machine_of(architecture);
        Self { machine, ours: machine.and_then(clib::glibc), needs: Needs::default() }
    }

    /// Looks at a file.
    pub(super) fn file(&mut self, file: &File) -> io::Result<()> {
        let Some(elf) = Elf::read(file)? else { return Ok(()) };
        if Some(elf.machine) != self.machine {
            return Ok(());
        }
        if let Some(loader) = elf.loader.filter(|loader| loader.exists()) {
            if clib::is_musl(&loader) {
                self.needs.musl = true;
                return Ok(());
            }
            self.needs.glibc = self.needs.glibc.max(self.ours.map(|_| Version::ANY));
        }
        if let Some(mut stream) = elf::open(file)? {
            let needed = clib::needed(&mut stream).filter(|needed| Some(*needed) <= self.ours);
            self.needs.glibc = self.needs.glibc.max(needed);
        }
        Ok(())
    }

    /// Looks for the interpreters of the machine that the processes of a release are started by. What lies in it or in its layers
    /// comes with it.
    pub(super) fn interpreters(&mut self, release: &Release) {
        let by_runtime =
            RUNTIMES.iter().find(|(runtime, _)| *runtime == release.runtime).map(|(_, name)| *name);
        let entries = startable::entries(&release.processes);
        let words = entries.iter().filter(|entry| entry.kind != Kind::Static);
        let words = words.filter_map(|entry| startable::simple_words(&entry.command)?.into_iter().next());
        let names: BTreeSet<String> = words.chain(by_runtime.map(str::to_owned)).collect();
        let path = release.env.get("PATH").map_or(PATH, String::as_str);
        let is_shell = |name: &str| ["sh", "dash", "bash"].contains(&name);
        for name in names.iter().filter(|name| !name.contains('/') && !is_shell(name)) {
            // Behind a folder of its own nothing is said of the machine's.
            let is_system = |folder: &&str| PATH.split(':').any(|system| system == *folder);
            let own = path.split(':').any(|folder| !is_system(&folder));
            if !own {
                let mut found = PATH.split(':').map(|folder| Path::new(folder).join(name));
                if let Some(program) = found.find(|program| view::runs(program)) {
                    self.link(&program);
                }
            }
        }
    }

    /// Looks at where a link of a layer leads.
    pub(super) fn link(&mut self, target: &Path) {
        if is_interpreter(target, &[]) && view::runs(target) {
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
    fn what_this_machine_runs_and_where_links_lead() {
        let mut search = Search::new(&crate::machine::architecture().unwrap());
        search.link(Path::new("/app/bin/sh"));
        search.link(Path::new("sh"));
        search.link(Path::new("/nowhere/sh"));
        search.link(Path::new("/usr/bin/env"));
        assert_eq!(search.needs, Needs::default());
        search.link(Path::new("/bin/sh"));
        assert_eq!(
            search.needs.programs.get(Path::new("/bin/sh")),
            Some(&fs::canonicalize("/bin/sh").unwrap())
        );
        search.file(&File::open("/bin/sh").unwrap()).unwrap();
        assert!(search.needs.glibc.is_some() || search.needs.musl);

        let mut other = Search::new("sparc64");
        other.file(&File::open("/bin/sh").unwrap()).unwrap();
        assert_eq!(other.needs, Needs::default());
    }
}
