//! The few bytes of an ELF file that say whether this machine can run it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use elf::ElfStream;
use elf::abi::PT_INTERP;
use elf::endian::AnyEndian;
use elf::section::SectionHeader;

/// `e_machine` of the architectures that somebody may push a program for.
const MACHINES: [(u16, &str); 12] = [
    (2, "sparc"),
    (3, "i386"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (43, "sparc64"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

/// No path of a loader, and no table of versions, is longer.
const LONGEST: u64 = 1 << 20;

/// What an ELF file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    /// `e_machine`.
    pub(crate) machine: u16,
    /// The loader that a dynamic program asks for.
    pub(crate) loader: Option<PathBuf>,
}

/// An open ELF file, its tables read and checked against its length.
pub(crate) type Stream<'a> = ElfStream<AnyEndian, &'a File>;

impl Elf {
    /// Reads the headers of an open file; `None` when it is no (whole) ELF file.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        Ok(open(file)?.map(|mut stream| Self { machine: stream.ehdr.e_machine, loader: loader(&mut stream) }))
    }

    /// The header of this very program: what runs it runs others of its kind.
    #[expect(clippy::disallowed_methods, reason = "its own program, by the kernel's name for it")]
    pub(crate) fn own() -> io::Result<Option<Self>> {
        Self::read(&File::open("/proc/self/exe")?)
    }

    /// The architecture's name.
    pub(crate) fn name(&self) -> String {
        let known = MACHINES.iter().find(|(machine, _)| *machine == self.machine);
        known.map_or_else(|| format!("machine {}", self.machine), |(_, name)| (*name).to_owned())
    }
}

/// The tables of an open file; `None` when it is no (whole) ELF file.
pub(crate) fn open(file: &File) -> io::Result<Option<Stream<'_>>> {
    let mut magic = [0; 4];
    if file.read_at(&mut magic, 0)? < magic.len() || magic != *b"\x7fELF" {
        return Ok(None);
    }
    Ok(ElfStream::open_stream(file).ok())
}

/// `e_machine` of the programs of an architecture as `uname -m` says it; `None` for one that is not in the table.
pub(crate) fn machine_of(architecture: &str) -> Option<u16> {
    let name = match architecture {
        "ppc64le" => "ppc64",
        "i486" | "i586" | "i686" => "i386",
        name if name.starts_with("armv") => "arm",
        name => name,
    };
    MACHINES.iter().find(|(_, known)| *known == name).map(|(machine, _)| *machine)
}

/// The bytes of a section; `None` where the file's numbers lead nowhere, or to more than such a section ever has.
pub(crate) fn section<'a>(stream: &'a mut Stream<'_>, header: &SectionHeader) -> Option<&'a [u8]> {
    if header.sh_size > LONGEST {
        return None;
    }
    stream.section_data(header).ok().filter(|(_, compressed)| compressed.is_none()).map(|(bytes, _)| bytes)
}

/// The loader's path; `None` also where the file's numbers lead nowhere.
fn loader(stream: &mut Stream<'_>) -> Option<PathBuf> {
    let header = stream.segments().iter().find(|header| header.p_type == PT_INTERP).copied()?;
    let path = (header.p_filesz <= LONGEST).then(|| stream.segment_data(&header).ok())??;
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    Some(Path::new(OsStr::from_bytes(&path[..end])).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> Option<Elf> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Elf::read(&file).unwrap()
    }

    #[test]
    fn reads_a_real_program_and_survives_false_ones() {
        let own = Elf::own().unwrap().unwrap();
        let shell = Elf::read(&File::open("/bin/sh").unwrap()).unwrap().unwrap();
        assert_eq!(own.machine, shell.machine);
        assert!(shell.loader.is_some_and(|loader| loader.exists()));
        assert_eq!(read(b""), None);
        assert_eq!(read(b"#!/bin/sh\n"), None);
        assert_eq!(read(b"\x7fELF"), None);
        // Every table and offset points beyond the end.
        let mut bytes = vec![0xff; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(read(&bytes), None);
    }

    #[test]
    fn names_the_machine_in_both_byte_orders() {
        let mut bytes = vec![0; 64];
        bytes[6] = 1;
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 183;
        assert_eq!(read(&bytes).unwrap().name(), "aarch64");
        assert_eq!(machine_of("aarch64"), Some(183));
        assert_eq!(machine_of("armv7l"), Some(40));
        bytes[5] = 2;
        bytes[18..20].copy_from_slice(&[0, 22]);
        assert_eq!(read(&bytes).unwrap().name(), "s390x");
        bytes[18..20].copy_from_slice(&[1, 244]);
        assert_eq!(read(&bytes).unwrap().name(), "machine 500");
    }
}
