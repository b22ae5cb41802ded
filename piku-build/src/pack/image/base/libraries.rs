//! Shared libraries of the system that the native files of a release need.

#![expect(clippy::disallowed_methods, reason = "looks for libraries of the machine; nothing is read")]

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use elf::abi::{DT_NEEDED, SHT_DYNAMIC};
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

/// File that needs a library.
struct LibraryUser {
    path: PathBuf,
    /// True for a program. Other libraries may be those of a package's optional parts, which the app does not use.
    is_program: bool,
}

/// Collects the libraries that files need and those that a release brings.
pub(super) struct LibrarySearch {
    /// `e_machine` of the release's programs.
    machine: Option<u16>,
    /// True if this machine runs other programs.
    is_foreign: bool,
    /// Libraries, each with a file that needs it: a program, if there is one.
    needed: BTreeMap<String, LibraryUser>,
    files: BTreeSet<OsString>,
}

impl LibrarySearch {
    /// Begins the search for a release of this architecture.
    pub(super) fn new(architecture: &str) -> Self {
        let machine = header::machine_number(architecture);
        let ours = machine::architecture().ok().and_then(|ours| header::machine_number(&ours));
        Self { machine, is_foreign: machine != ours, needed: BTreeMap::new(), files: BTreeSet::new() }
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
                let is_program = !at.file_name().is_some_and(is_library);
                for name in needed(&mut stream).unwrap_or_default() {
                    let user = LibraryUser { path: at.to_owned(), is_program };
                    match self.needed.entry(name) {
                        Entry::Vacant(place) => drop(place.insert(user)),
                        Entry::Occupied(mut place) if is_program && !place.get().is_program => {
                            place.insert(user);
                        }
                        Entry::Occupied(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the files of the machine for the libraries that the release does not bring. Those that are nowhere
    /// are not needed: what names them does not run here either.
    pub(super) fn of_system(&self) -> Vec<NeededFile> {
        let folders = folders();
        let mut found = Vec::new();
        for (name, by) in &self.needed {
            if self.files.contains(OsStr::new(name)) || name.contains('/') {
                continue;
            }
            let files = folders.iter().map(|folder| folder.join(name)).filter(|file| file.exists());
            let places: Vec<NeededPlace> = files.map(NeededPlace::follow).collect();
            let (by, is_optional) = (by.path.display(), !by.is_program);
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

/// Returns the libraries that a file names.
fn needed(stream: &mut Stream<'_>) -> Option<Vec<String>> {
    let (endian, class) = (stream.ehdr.endianness, stream.ehdr.class);
    let dynamic = stream.section_headers().iter().find(|header| header.sh_type == SHT_DYNAMIC).copied()?;
    let names = stream.section_headers().get(dynamic.sh_link as usize).copied()?;
    let names = header::read_section(stream, &names)?.to_vec();
    let table = header::read_section(stream, &dynamic)?;
    let entries = DynamicTable::new(endian, class, table);
    let found = entries.iter().filter(|entry| entry.d_tag == DT_NEEDED).take(MOST);
    let names =
        found.filter_map(|entry| read_name(&names, u32::try_from(entry.d_val()).ok()?).map(str::to_owned));
    Some(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_the_c_library() {
        let file = File::open("/bin/sh").unwrap();
        let mut stream = header::open_stream(&file).unwrap().unwrap();
        let names = needed(&mut stream).unwrap();
        assert!(names.iter().any(|name| name.starts_with("libc.")), "{names:?}");
        let mut search = LibrarySearch::new(&machine::architecture().unwrap());
        search.add_file(&file, Path::new("/app/sh")).unwrap();
        let found = search.of_system();
        assert!(found.iter().any(|file| file.what.ends_with("' of '/app/sh'")));
        search.files.extend(names.iter().map(OsString::from));
        assert!(search.of_system().is_empty());
    }

    #[test]
    fn libraries_have_versions_in_their_names() {
        for (name, is) in [("libz.so.1", true), ("x.so", true), ("so.txt", false), ("a.sow", false)] {
            assert_eq!(is_library(name.as_ref()), is, "{name}");
        }
    }
}
