//! Shared libraries of the system that the native files of a release need.

#![expect(clippy::disallowed_methods, reason = "looks for libraries of the machine; nothing is read")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use elf::abi::{DT_NEEDED, SHT_DYNAMIC};
use elf::dynamic::DynamicTable;
use piku_files::{TreeHandle, WalkStep};
use piku_release::elf::{self as header, Stream, read_name};

/// More libraries than a file needs.
const MOST: usize = 256;
/// Directories of libraries, beside those of Debian's kind (`/usr/lib/x86_64-linux-gnu`).
const FOLDERS: [&str; 5] = ["/usr/lib", "/lib", "/usr/lib64", "/lib64", "/usr/local/lib"];

/// Collects the libraries that files need and those that a release brings.
#[derive(Default)]
pub(super) struct LibrarySearch {
    needed: BTreeSet<String>,
    files: BTreeSet<OsString>,
}

impl LibrarySearch {
    /// Adds the native files of a tree for this `e_machine`.
    pub(super) fn add_tree(&mut self, tree: &TreeHandle, machine: Option<u16>) -> anyhow::Result<()> {
        tree.walk(|entry| {
            if entry.stat().is_dir() {
                return Ok(WalkStep::Into);
            }
            if is_library(entry.name()) {
                self.files.insert(entry.name().to_owned());
            }
            if entry.stat().is_file() && entry.stat().len > 64 {
                let file = entry.open_file()?;
                self.add_file(&file.file, machine)?;
            }
            Ok::<_, anyhow::Error>(WalkStep::Into)
        })
    }

    fn add_file(&mut self, file: &File, machine: Option<u16>) -> io::Result<()> {
        if let Some(mut stream) = header::open_stream(file)? {
            if Some(stream.ehdr.e_machine) == machine {
                self.needed.extend(needed(&mut stream).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Returns the files of the machine for the libraries that the release does not bring.
    pub(super) fn of_system(&self) -> Vec<PathBuf> {
        let folders = folders();
        let missing = self
            .needed
            .iter()
            .filter(|name| !self.files.contains(name.as_str().as_ref() as &std::ffi::OsStr));
        let find = |name: &String| folders.iter().map(|folder| folder.join(name)).find(|file| file.exists());
        missing.filter(|name| !name.contains('/')).filter_map(find).collect()
    }
}

/// Returns whether the name is that of a shared library.
fn is_library(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

/// Returns the directories of the machine's libraries.
fn folders() -> Vec<PathBuf> {
    let debian = ["/usr/lib", "/lib"].into_iter().flat_map(|folder| {
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
        let mut search = LibrarySearch::default();
        search
            .add_file(&file, header::machine_number(&piku_release::machine::architecture().unwrap()))
            .unwrap();
        assert!(!search.of_system().is_empty());
        search.files.extend(names.iter().map(OsString::from));
        assert_eq!(search.of_system(), Vec::<PathBuf>::new());
    }

    #[test]
    fn libraries_have_versions_in_their_names() {
        for (name, is) in [("libz.so.1", true), ("x.so", true), ("so.txt", false), ("a.sow", false)] {
            assert_eq!(is_library(name.as_ref()), is, "{name}");
        }
    }
}
