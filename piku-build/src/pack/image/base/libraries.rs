//! Shared libraries of the system that the native files of a release need.

#![expect(clippy::disallowed_methods, reason = "looks for libraries of the machine; nothing is read")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use elf::abi::{DT_NEEDED, DT_SONAME, SHT_DYNAMIC};
use elf::dynamic::DynamicTable;
use piku_files::{TreeHandle, WalkStep};
use piku_release::elf::{self as header, Stream, read_name};
use piku_release::machine;
use piku_report::progress;

use super::programs::{NeededFile, NeededPlace};

/// More libraries than a file needs.
const MOST: usize = 256;
/// Directories of libraries, beside those of Debian's kind (`/usr/lib/x86_64-linux-gnu`).
const FOLDERS: [&str; 5] = ["/usr/lib", "/lib", "/usr/lib64", "/lib64", "/usr/local/lib"];
/// Directories with those of Debian's kind.
const ABOVE: [&str; 3] = ["/usr/lib", "/lib", "/usr/local/lib"];

/// Collects the libraries that files need and those that a release brings.
pub(super) struct LibrarySearch {
    /// `e_machine` of the release's programs.
    machine: Option<u16>,
    /// True if this machine runs other programs.
    is_foreign: bool,
    /// Libraries that programs need, each with one of them.
    of_programs: BTreeMap<String, PathBuf>,
    /// Libraries that other libraries need, each with one of them.
    of_libraries: BTreeMap<String, PathBuf>,
    /// Needs of the libraries that the release brings, by the names of these.
    brought: BTreeMap<String, BTreeSet<String>>,
    files: BTreeSet<OsString>,
}

/// Names in a native file.
struct LibraryNames {
    /// Name of the file as a library.
    own: Option<String>,
    /// Names of the libraries that it needs.
    needed: Vec<String>,
}

impl LibrarySearch {
    /// Begins the search for a release of this architecture.
    pub(super) fn new(architecture: &str) -> Self {
        let machine = header::machine_number(architecture);
        let ours = machine::architecture().ok().and_then(|ours| header::machine_number(&ours));
        Self {
            machine,
            is_foreign: machine != ours,
            of_programs: BTreeMap::new(),
            of_libraries: BTreeMap::new(),
            brought: BTreeMap::new(),
            files: BTreeSet::new(),
        }
    }

    /// Adds the native files of a tree that is at this place in the image.
    pub(super) fn add_tree(&mut self, tree: &TreeHandle, at: &Path) -> anyhow::Result<()> {
        tree.walk(|entry| {
            if entry.stat().is_dir() {
                return Ok(WalkStep::Into);
            }
            if is_library(entry.name()) {
                self.files.insert(entry.name().to_owned());
            }
            if entry.stat().is_file() && entry.stat().len > 64 {
                let file = entry.open_file()?;
                self.add_file(&file.file, &at.join(entry.path()))?;
            }
            Ok::<_, anyhow::Error>(WalkStep::Into)
        })
    }

    fn add_file(&mut self, file: &File, at: &Path) -> io::Result<()> {
        if let Some(mut stream) = header::open_stream(file)? {
            if Some(stream.ehdr.e_machine) == self.machine {
                let Some(LibraryNames { own, needed }) = names(&mut stream) else { return Ok(()) };
                let name = at.file_name().unwrap_or_default();
                let is_library = is_library(name);
                let own_names = [own, Some(name.to_string_lossy().into_owned())].into_iter().flatten();
                for name in own_names.filter(|_| is_library) {
                    self.brought.entry(name).or_default().extend(needed.iter().cloned());
                }
                let users = if is_library { &mut self.of_libraries } else { &mut self.of_programs };
                for name in needed {
                    users.entry(name).or_insert_with(|| at.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Returns the libraries that programs need, also by way of those that the release brings.
    fn of_programs(&self) -> BTreeMap<&str, &Path> {
        let mut found = BTreeMap::new();
        let mut left: Vec<(&str, &Path)> =
            self.of_programs.iter().map(|(name, by)| (name.as_str(), by.as_path())).collect();
        while let Some((name, by)) = left.pop() {
            if found.insert(name, by).is_none() {
                let needs = self.brought.get(name).into_iter().flatten();
                left.extend(needs.map(|name| (name.as_str(), by)));
            }
        }
        found
    }

    /// Returns the files of the machine for the libraries that the release does not bring. Those that are nowhere
    /// are not needed: what names them does not run here either. Those that no program needs are optional: they may be
    /// of a part that the app does not use.
    pub(super) fn of_system(&self) -> Vec<NeededFile> {
        let folders = folders();
        let mut found = Vec::new();
        let of_programs = self.of_programs();
        let mut needed: BTreeMap<&str, &Path> =
            self.of_libraries.iter().map(|(name, by)| (name.as_str(), by.as_path())).collect();
        needed.extend(&of_programs);
        for (name, by) in needed {
            if self.files.contains(OsStr::new(name)) || name.contains('/') {
                continue;
            }
            let files = folders.iter().map(|folder| folder.join(name)).filter(|file| file.exists());
            let places: Vec<NeededPlace> = files.map(NeededPlace::follow).collect();
            let (by, is_optional) = (by.display(), !of_programs.contains_key(name));
            match places.first() {
                Some(first) => {
                    let what = format!("library '{}' of '{by}'", first.named.display());
                    found.push(NeededFile { what, places, is_optional });
                }
                None if self.is_foreign && !is_loader(name) => progress::warning(&format!(
                    "'{by}' needs '{name}', which this machine does not have: name its package with --package"
                )),
                None => {}
            }
        }
        found
    }
}

/// Returns whether it is a C library or its loader, which every base has, or which a file for another one needs.
fn is_loader(name: &str) -> bool {
    ["ld-", "ld64", "libc.", "libm.", "libdl.", "libpthread.", "librt."]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Returns whether the name is that of a shared library.
fn is_library(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

/// Returns the directories of the machine's libraries.
fn folders() -> Vec<PathBuf> {
    let debian = ABOVE.into_iter().flat_map(|folder| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("-linux-gnu"))
    });
    let mut folders: Vec<PathBuf> = debian.collect();
    folders.sort();
    folders.extend(FOLDERS.iter().map(|folder| Path::new(folder).to_owned()));
    folders
}

/// Returns the names of libraries in a file.
fn names(stream: &mut Stream<'_>) -> Option<LibraryNames> {
    let (endian, class) = (stream.ehdr.endianness, stream.ehdr.class);
    let dynamic = stream.section_headers().iter().find(|header| header.sh_type == SHT_DYNAMIC).copied()?;
    let names = stream.section_headers().get(dynamic.sh_link as usize).copied()?;
    let names = header::read_section(stream, &names)?.to_vec();
    let table = header::read_section(stream, &dynamic)?;
    let entries = DynamicTable::new(endian, class, table);
    let all = |tag: i64| {
        let found = entries.iter().filter(move |entry| entry.d_tag == tag).take(MOST);
        found.filter_map(|entry| read_name(&names, u32::try_from(entry.d_val()).ok()?).map(str::to_owned))
    };
    Some(LibraryNames { own: all(DT_SONAME).next(), needed: all(DT_NEEDED).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_the_c_library() {
        let file = File::open("/bin/sh").unwrap();
        let mut stream = header::open_stream(&file).unwrap().unwrap();
        let names = names(&mut stream).unwrap().needed;
        assert!(names.iter().any(|name| name.starts_with("libc.")), "{names:?}");
        let mut search = LibrarySearch::new(&machine::architecture().unwrap());
        search.add_file(&file, Path::new("/app/sh")).unwrap();
        let found = search.of_system();
        assert!(found.iter().any(|file| file.what.ends_with("' of '/app/sh'")));
        search.files.extend(names.iter().map(OsString::from));
        assert!(search.of_system().is_empty());
    }

    #[test]
    fn what_only_libraries_need_is_optional() {
        let mut search = LibrarySearch::new("x");
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        search.of_programs.insert("own.so.1".to_owned(), "/app/run".into());
        search.brought.insert("own.so.1".to_owned(), set(&["a.so", "own.so.1"]));
        search.brought.insert("part.so".to_owned(), set(&["b.so"]));
        let names = search.of_programs().into_keys().collect::<Vec<_>>();
        assert_eq!(names, ["a.so", "own.so.1"]);
    }

    #[test]
    fn libraries_have_versions_in_their_names() {
        for (name, is) in [("libz.so.1", true), ("x.so", true), ("so.txt", false), ("a.sow", false)] {
            assert_eq!(is_library(name.as_ref()), is, "{name}");
        }
    }
}
