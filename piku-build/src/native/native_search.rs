//! Native programs and libraries, which bind a release to an architecture. They are found by their headers,
//! not by the language: a virtualenv without compiled wheels has none; an interpreter in a layer is one.
//!
//! Only files that run on the machine that the release is made for count. Packages bring programs for many
//! kinds of machines, and what does not run there is not what the release was made with. What is inside of
//! archives is not looked at: a jar brings its libraries for every kind of machine, and Java picks one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::{TreeHandle, WalkStep};

use crate::step::interrupt;
use piku_release::architecture::{ProgramArchitecture, ReleaseArchitecture};
use piku_release::elf::ElfFile;
use piku_release::machine::TargetMachine;

/// The most characters of a file's name that are kept.
const LONGEST_NAME: usize = 300;
/// The shortest header of an ELF file, in bytes.
const SHORTEST: u64 = 52;

/// A file that binds a release, and the architecture that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NativeFile {
    pub(crate) architecture: ProgramArchitecture,
    /// Its path; of all that ask for the same, the first one.
    pub(crate) path: PathBuf,
}

impl NativeFile {
    /// Returns the same file, seen from outside of the folder `name`.
    #[must_use]
    pub(crate) fn below(self, name: &str) -> Self {
        Self { path: Path::new(name).join(self.path), ..self }
    }
}

/// A look at the files of a release.
#[derive(Debug, Clone)]
pub(crate) struct NativeSearch<'a> {
    machine: &'a TargetMachine,
    /// By family, the one that asks for the most.
    found: BTreeMap<String, NativeFile>,
    /// The first one that does not run on the machine.
    foreign: Option<NativeFile>,
}

impl<'a> NativeSearch<'a> {
    /// Creates a search for files that run on this machine.
    pub(crate) fn new(machine: &'a TargetMachine) -> Self {
        Self { machine, found: BTreeMap::new(), foreign: None }
    }

    /// Looks at all files of a tree, which are named with `name` in front.
    pub(crate) fn add_tree(&mut self, tree: &TreeHandle, name: &Path) -> anyhow::Result<()> {
        tree.walk(|entry| {
            let stat = entry.stat();
            interrupt::check()?;
            if !stat.is_file() || stat.len < SHORTEST {
                return Ok(WalkStep::Into);
            }
            let file = match entry.open_file() {
                // Without a jail, a step's remaining process may delete it.
                Err(err) if err.is_missing() => return Ok(WalkStep::Into),
                opened => opened?.file,
            };
            let path = name.join(entry.path());
            self.add_file(&path, &file).with_context(|| format!("cannot read '{}'", path.display()))?;
            Ok::<_, anyhow::Error>(WalkStep::Into)
        })
    }

    /// Looks at some files of a tree. Returns false if one of them is not there.
    pub(crate) fn add_files<'p>(
        &mut self,
        tree: &TreeHandle,
        paths: impl Iterator<Item = &'p Path>,
        name: &Path,
    ) -> anyhow::Result<bool> {
        for path in paths {
            let Ok(found) = tree.open_file_nofollow(path) else { return Ok(false) };
            if found.stat.len >= SHORTEST {
                let path = name.join(path);
                self.add_file(&path, &found.file)
                    .with_context(|| format!("cannot read '{}'", path.display()))?;
            }
        }
        Ok(true)
    }

    /// Adds one file if it is native.
    pub(crate) fn add_file(&mut self, path: &Path, file: &File) -> io::Result<()> {
        let Some(elf) = ElfFile::read(file)?.filter(|elf| elf.is_runnable) else { return Ok(()) };
        self.add(NativeFile { architecture: elf.architecture, path: path.to_owned() });
        Ok(())
    }

    /// Adds a file that was found before.
    pub(crate) fn add(&mut self, file: NativeFile) {
        if !self.machine.runs(&file.architecture) {
            if self.foreign.as_ref().is_none_or(|known| file.path < known.path) {
                self.foreign = Some(file);
            }
            return;
        }
        let counts = |known: &NativeFile| {
            (file.architecture.level(), &known.path) > (known.architecture.level(), &file.path)
        };
        if self.found.get(file.architecture.family()).is_none_or(counts) {
            self.found.insert(file.architecture.family().to_owned(), file);
        }
    }

    /// Returns the native file that binds the release; files of the userland's family first.
    pub(crate) fn binding_file(&self) -> Option<&NativeFile> {
        self.machine.programs().iter().find_map(|program| self.found.get(program.family()))
    }

    /// Returns the name of the file that binds the release, as manifests have it.
    pub(crate) fn shown(&self) -> Option<String> {
        self.binding_file().map(|file| shown(&file.path))
    }

    /// Returns a file that does not run on the machine.
    pub(crate) fn foreign_file(&self) -> Option<&NativeFile> {
        self.foreign.as_ref()
    }

    /// Returns the kind of machine that the release needs.
    pub(crate) fn architecture(&self) -> ReleaseArchitecture {
        match self.binding_file() {
            Some(file) => ReleaseArchitecture::Native(file.architecture.clone()),
            None => ReleaseArchitecture::Any,
        }
    }
}

/// Returns a path as one line of text.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

/// The result of a look at a finished layer, a line of its marker: a build does not look at the same layer
/// again and again.
pub(crate) mod record {
    use super::{NativeFile, NativeSearch, shown};
    use piku_release::architecture::ProgramArchitecture;

    /// Prefix of the line in the marker.
    const LINE: &str = "native: ";
    /// The rest of it where nothing was found.
    const NONE: &str = "none";

    /// Returns the line for a layer's marker.
    pub(crate) fn write(search: &NativeSearch<'_>) -> String {
        match search.binding_file() {
            Some(file) => format!("{LINE}{} {}\n", file.architecture, shown(&file.path)),
            None => format!("{LINE}{NONE}\n"),
        }
    }

    /// Parses the line in a marker: `None` if there is no line, otherwise the native files it names.
    pub(crate) fn read(marker: &str) -> Option<Vec<NativeFile>> {
        let line = marker.lines().find_map(|line| line.strip_prefix(LINE))?;
        if line == NONE {
            return Some(Vec::new());
        }
        let (architecture, path) = line.split_once(' ')?;
        Some(vec![NativeFile { architecture: ProgramArchitecture::parse(architecture), path: path.into() }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Returns the header of a file of this class, `e_type` and `e_machine`, and nothing after it.
    fn elf(class: u8, system: u8, kind: u8, machine: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1, system]);
        (bytes[16], bytes[18], bytes[20]) = (kind, machine, 1);
        bytes
    }

    fn found(machine: &str, files: &[(&str, Vec<u8>)]) -> (String, String, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let machine = TargetMachine::parse(machine).unwrap();
        let mut search = NativeSearch::new(&machine);
        search.add_tree(&TreeHandle::open(dir.path()).unwrap(), Path::new("app")).unwrap();
        let path = |file: &NativeFile| file.path.display().to_string();
        let binding = search.binding_file().map(path).unwrap_or_default();
        (search.architecture().to_string(), binding, search.foreign_file().map(path))
    }

    #[test]
    fn what_is_not_native_binds_nothing() {
        let files = [
            ("index.html", b"<p>hello</p>".to_vec()),
            ("app.py", vec![b'#'; 100]),
            ("venv/pip/_vendor/distlib/t64.exe", [b"MZ", &[0; 200][..]].concat()),
            ("mac.node", [&[0xcf, 0xfa, 0xed, 0xfe][..], &[0; 200]].concat()),
            ("libx.a", [b"!<arch>\n", &elf(2, 0, 1, 62)[..]].concat()),
            ("x.o", elf(2, 0, 1, 62)),
            ("core", elf(2, 0, 4, 62)),
            ("bsd.so", elf(2, 9, 3, 62)),
            ("cut", elf(2, 0, 2, 62)[..60].to_vec()),
        ];
        assert_eq!(found("x86_64", &files), ("any".to_owned(), String::new(), None));
    }

    #[test]
    fn a_header_that_lies_hides_no_program() {
        // The size of a segment's header is that of 64 bits; the class, the byte order, both.
        for lies in [(1, 1), (2, 2), (1, 2)] {
            let mut program = elf(2, 0, 2, 62);
            program[54] = 56;
            (program[4], program[5]) = lies;
            assert_eq!(found("x86_64", &[("server", program)]).0, "x86_64", "{lies:?}");
        }
    }

    #[test]
    fn what_runs_on_the_machine_binds() {
        let files = [
            ("prebuilds/linux-arm/x.node", elf(1, 0, 3, 40)),
            ("prebuilds/linux-arm64/x.node", elf(2, 0, 3, 183)),
            ("prebuilds/linux-x64/x.node", elf(2, 3, 3, 62)),
            ("bin/server", elf(2, 0, 2, 62)),
        ];
        let of = |machine| found(machine, &files);
        let foreign = Some("app/prebuilds/linux-arm/x.node".to_owned());
        assert_eq!(of("x86_64"), ("x86_64".to_owned(), "app/bin/server".to_owned(), foreign.clone()));
        assert_eq!(of("aarch64").1, "app/prebuilds/linux-arm64/x.node");
        assert_eq!(of("armv6l").0, "armv5tel");
        assert_eq!(of("riscv64").0, "any");
        // The userland's first.
        assert_eq!(
            (of("armv8l, aarch64").0, of("aarch64, armv8l").0),
            ("armv5tel".to_owned(), "aarch64".to_owned())
        );
    }

    #[test]
    fn a_marker_says_what_was_found() {
        let machine = TargetMachine::parse("armv7l").unwrap();
        let mut search = NativeSearch::new(&machine);
        assert_eq!(record::read(&record::write(&search)), Some(Vec::new()));
        assert_eq!(record::read("venv python 3.11\n"), None);
        let file = NativeFile { architecture: ProgramArchitecture::parse("armv6l"), path: "a b.so".into() };
        search.add(file.clone());
        let marker = format!("venv python 3.11\n{}", record::write(&search));
        assert_eq!(record::read(&marker), Some(vec![file]));
        assert_eq!(shown(Path::new("a\nnative: none")), "anative: none");
    }

    #[test]
    fn the_file_that_asks_for_most_is_named() {
        let machine = TargetMachine::parse("armv7l").unwrap();
        let mut search = NativeSearch::new(&machine);
        for (path, name) in
            [("b", "armv6l"), ("d", "armv7l"), ("c", "armv7l"), ("a", "armv6l"), ("e", "armv8l")]
        {
            search.add(NativeFile { architecture: ProgramArchitecture::parse(name), path: path.into() });
        }
        assert_eq!(search.binding_file().unwrap().path, Path::new("c"));
        assert_eq!(search.architecture().to_string(), "armv7l");
        assert_eq!(search.foreign_file().unwrap().path, Path::new("e"));
    }
}
