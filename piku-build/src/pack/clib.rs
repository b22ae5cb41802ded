//! C libraries: which one a program asks for and since which version, and which one this machine has.

#![expect(clippy::disallowed_methods, reason = "the machine's own C library")]

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use elf::abi::{SHT_GNU_VERDEF, SHT_GNU_VERNEED};
use elf::endian::AnyEndian;
use elf::file::Class;
use elf::gnu_symver::{VerDefIterator, VerNeedIterator};
use elf::section::SectionHeader;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use piku_release::elf::{self as header, ElfFile, Stream, read_name};

/// Version of glibc, such as `2.36`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GlibcVersion(u32, u32);

/// More symbols with versions than a program asks for. A table can lead through the same bytes again and
/// again.
const MOST_SYMBOLS: usize = 4096;

/// Directories of system libraries, beside those of Debian's kind (`/usr/lib/x86_64-linux-gnu`).
const FOLDERS: [&str; 5] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/lib32"];

impl GlibcVersion {
    /// Version for a program that is linked against glibc and requires no particular version.
    pub(super) const ANY: Self = Self(2, 0);

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::parse);
        let version = Self(parts.next()?.ok()?, parts.next()?.ok()?);
        Some(version)
    }

    /// Parses a symbol version: `GLIBC_2.36`, but not `GLIBC_PRIVATE`.
    fn of_symbols(name: &str) -> Option<Self> {
        // Written by linkers for relative relocations in short; the loader knows them since then.
        if name == "GLIBC_ABI_DT_RELR" {
            return Some(Self(2, 36));
        }
        Self::parse(name.strip_prefix("GLIBC_")?)
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Serialize for GlibcVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GlibcVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("a version has two numbers, such as 2.36"))
    }
}

/// Returns the glibc that a program or library needs; `None` if it needs none.
pub(super) fn needed(stream: &mut Stream<'_>) -> Option<GlibcVersion> {
    let (endian, class) = (stream.ehdr.endianness, stream.ehdr.class);
    let (names, headers) = versions(stream, SHT_GNU_VERNEED)?;
    let (table, count) = headers;
    VerNeedIterator::new(endian, class, count, 0, &table)
        .flat_map(|(_, symbols)| symbols)
        .take(MOST_SYMBOLS)
        .filter_map(|symbol| GlibcVersion::of_symbols(read_name(&names, symbol.vna_name)?))
        .max()
}

/// Returns the version of a `libc.so.6`.
fn defined(stream: &mut Stream<'_>) -> Option<GlibcVersion> {
    let (endian, class): (AnyEndian, Class) = (stream.ehdr.endianness, stream.ehdr.class);
    let (names, (table, count)) = versions(stream, SHT_GNU_VERDEF)?;
    VerDefIterator::new(endian, class, count, 0, &table)
        .flat_map(|(_, symbols)| symbols)
        .take(MOST_SYMBOLS)
        .filter_map(|symbol| GlibcVersion::of_symbols(read_name(&names, symbol.vda_name)?))
        .max()
}

/// A table of versions: the names that it refers to, its bytes, and how many entries it has.
type Table = (Vec<u8>, (Vec<u8>, u64));

fn versions(stream: &mut Stream<'_>, kind: u32) -> Option<Table> {
    let table = stream.section_headers().iter().find(|header| header.sh_type == kind).copied()?;
    let names: SectionHeader = stream.section_headers().get(table.sh_link as usize).copied()?;
    let names = header::read_section(stream, &names)?.to_vec();
    Some((names, (header::read_section(stream, &table)?.to_vec(), u64::from(table.sh_info))))
}

/// This machine's glibc for programs of this kind.
pub(super) fn glibc(machine: u16) -> Option<GlibcVersion> {
    let debian = ["/lib", "/usr/lib"].into_iter().flat_map(|folder| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("-linux-gnu"))
    });
    debian.chain(FOLDERS.iter().map(PathBuf::from)).find_map(|folder| {
        let file = File::open(folder.join("libc.so.6")).ok()?;
        let mut stream = header::open_stream(&file).ok()??;
        (stream.ehdr.e_machine == machine).then(|| defined(&mut stream))?
    })
}

/// Returns whether this machine has musl for programs with this `e_machine`.
pub(super) fn has_musl(machine: u16) -> bool {
    fs::read_dir("/lib").into_iter().flatten().flatten().any(|entry| {
        is_musl(&entry.path())
            && File::open(entry.path()).is_ok_and(|file| {
                ElfFile::read(&file).is_ok_and(|elf| elf.is_some_and(|elf| elf.machine == machine))
            })
    })
}

/// Returns whether this machine has musl and no glibc for programs of this architecture, named as `uname -m` prints
/// it.
pub(crate) fn has_only_musl(architecture: &str) -> bool {
    header::machine_number(architecture).is_some_and(|machine| has_musl(machine) && glibc(machine).is_none())
}

/// Returns whether this loader belongs to musl.
pub(super) fn is_musl(loader: &Path) -> bool {
    loader.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-musl-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let parse = |text| GlibcVersion::parse(text).unwrap();
        assert!(parse("2.9") < parse("2.36") && parse("2.36") < parse("2.36.1").max(parse("2.37")));
        assert_eq!(parse("2.2.5").to_string(), "2.2");
        assert_eq!(GlibcVersion::of_symbols("GLIBC_PRIVATE"), None);
        assert_eq!(GlibcVersion::of_symbols("GCC_3.0"), None);
        assert_eq!(GlibcVersion::of_symbols("GLIBC_ABI_DT_RELR"), Some(parse("2.36")));
    }

    #[test]
    fn a_real_program_needs_no_more_than_its_machine_has() {
        let file = File::open("/bin/sh").unwrap();
        let mut stream = header::open_stream(&file).unwrap().unwrap();
        let machine = stream.ehdr.e_machine;
        if let Some(here) = glibc(machine) {
            assert!(!has_only_musl(std::env::consts::ARCH));
            let needs = needed(&mut stream).unwrap();
            assert!(GlibcVersion::ANY < needs && needs <= here, "{needs} {here}");
        }
        assert_eq!(glibc(0), None);
        assert!(!has_musl(0));
        assert!(!has_only_musl("no architecture"));
    }
}
