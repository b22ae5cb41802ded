//! The few bytes of an ELF file that say whether this machine can run it.

mod level;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use elf::ElfStream;
use elf::abi::{EI_NIDENT, ELFOSABI_GNU, ELFOSABI_SYSV, ET_DYN, ET_EXEC, PN_XNUM, PT_INTERP, PT_LOAD};
use elf::endian::AnyEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::{ParseAt, ParseError};
use elf::section::SectionHeader;
use elf::segment::ProgramHeader;

use crate::architecture::ProgramArchitecture;

/// `e_machine` of architectures of programs that may be pushed.
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
/// More sections, and more segments, than any program has.
const MOST_HEADERS: u64 = 0xffff;
/// The longest header of a file, and of a section, in bytes.
const HEADER: usize = 64;

/// The longest table of segments that Linux reads, in bytes.
const LONGEST_TABLE: usize = 1 << 16;
/// The longest path of a loader that Linux takes, in bytes.
const LONGEST_LOADER: usize = 4096;

/// A program or library for Linux, as far as piku needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElfFile {
    /// Number of the machine, `e_machine` in the header.
    pub machine: u16,
    /// The architecture that it was built for.
    pub architecture: ProgramArchitecture,
    /// The loader that a dynamic program asks for.
    pub loader: Option<PathBuf>,
    /// True unless it is a library of another system.
    pub is_runnable: bool,
    /// True if the file has all bytes that are loaded into memory.
    pub is_complete: bool,
}

/// An open ELF file, its tables read and checked against its length.
pub type Stream<'a> = ElfStream<AnyEndian, &'a File>;

impl ElfFile {
    /// Reads the headers of an open file as Linux does: from the header it takes the type, the machine and
    /// the place of the segments, and nothing else counts. `None` if Linux loads no such file, as an object
    /// file or a core dump.
    pub fn read(file: &File) -> io::Result<Option<Self>> {
        let Some(header) = read_header_as_linux(file)? else { return Ok(None) };
        let segments = read_segments(file, &header)?;
        // Linux does not read sections, in which the level is.
        let level = open_stream(file)?
            .filter(|stream| (stream.ehdr.class, stream.ehdr.endianness) == (header.class, header.endianness))
            .map_or(0, |mut stream| level::read(&mut stream));
        let length = file.metadata()?.len();
        let is_within = |segment: &ProgramHeader| {
            segment.p_offset.checked_add(segment.p_filesz).is_some_and(|end| end <= length)
        };
        let mut loaded = segments.iter().filter(|segment| segment.p_type == PT_LOAD).peekable();
        Ok(Some(Self {
            machine: header.e_machine,
            architecture: ProgramArchitecture::new(&family(&header), level),
            is_runnable: is_runnable(&header, &segments),
            is_complete: loaded.peek().is_some() && loaded.all(is_within),
            loader: read_loader(file, &segments)?,
        }))
    }

    /// Reads the header of the running program.
    #[expect(clippy::disallowed_methods, reason = "its own program, by the kernel's name for it")]
    pub fn read_self() -> io::Result<Option<Self>> {
        Self::read(&File::open("/proc/self/exe")?)
    }
}

/// Returns the name of the family of architectures that a file is for; it is one word.
fn family(header: &FileHeader<AnyEndian>) -> String {
    let is_little = matches!(header.endianness, AnyEndian::Little);
    let known = MACHINES.iter().find(|(machine, _)| *machine == header.e_machine);
    match (known.map(|(_, name)| *name), header.class, is_little) {
        (Some("x86_64"), Class::ELF32, _) => "x32".to_owned(),
        (Some("aarch64"), Class::ELF32, _) => "aarch64_ilp32".to_owned(),
        (Some("riscv64"), Class::ELF32, _) => "riscv32".to_owned(),
        (Some("ppc64"), _, true) => "ppc64le".to_owned(),
        (Some("mips"), Class::ELF64, _) => "mips64".to_owned(),
        (Some("arm" | "aarch64"), _, false) => format!("{}_be", known.map_or("", |(_, name)| name)),
        (Some(name), _, _) => name.to_owned(),
        (None, _, _) => format!("machine-{}", header.e_machine),
    }
}

/// Returns whether Linux runs the file where the processor fits. The system that it names counts for
/// libraries alone: Linux starts programs without a look at it.
fn is_runnable(header: &FileHeader<AnyEndian>, segments: &[ProgramHeader]) -> bool {
    /// The one that older compilers for ARM wrote.
    const ELFOSABI_ARM: u8 = 97;
    header.e_type == ET_EXEC
        || matches!(header.osabi, ELFOSABI_SYSV | ELFOSABI_GNU | ELFOSABI_ARM)
        || segments.iter().any(|segment| segment.p_type == PT_INTERP)
}

/// Reads the table of segments; it is empty where the header's numbers lead nowhere.
fn read_segments(file: &File, header: &FileHeader<AnyEndian>) -> io::Result<Vec<ProgramHeader>> {
    let size = ProgramHeader::size_for(header.class);
    let mut table = vec![0; size * usize::from(header.e_phnum)];
    if usize::from(header.e_phentsize) != size || table.len() > LONGEST_TABLE {
        return Ok(Vec::new());
    }
    let read = read_up_to(file, &mut table, header.e_phoff)?;
    let entries = table[..read].chunks_exact(size);
    let parse = |entry| ProgramHeader::parse_at(header.endianness, header.class, &mut 0, entry).ok();
    Ok(entries.filter_map(parse).collect())
}

/// Returns the loader's path; `None` also where the file's numbers lead nowhere.
fn read_loader(file: &File, segments: &[ProgramHeader]) -> io::Result<Option<PathBuf>> {
    let Some(segment) = segments.iter().find(|segment| segment.p_type == PT_INTERP) else { return Ok(None) };
    let Some(length) = usize::try_from(segment.p_filesz).ok().filter(|length| *length <= LONGEST_LOADER)
    else {
        return Ok(None);
    };
    let mut path = vec![0; length];
    let read = read_up_to(file, &mut path, segment.p_offset)?;
    let end = path[..read].iter().position(|byte| *byte == 0).unwrap_or(read);
    Ok((end > 0).then(|| Path::new(OsStr::from_bytes(&path[..end])).to_owned()))
}

/// Fills the buffer from this offset; returns the number of bytes, fewer at the end of the file.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        // An offset that does not fit is beyond every end.
        let Some(at) = offset.checked_add(filled as u64).filter(|at| i64::try_from(*at).is_ok()) else {
            break;
        };
        match file.read_at(&mut buffer[filled..], at) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}

/// Reads the tables of an open file; `None` if it is not a complete ELF file.
pub fn open_stream(file: &File) -> io::Result<Option<Stream<'_>>> {
    let mut magic = [0; 4];
    if file.read_at(&mut magic, 0)? < magic.len() || magic != *b"\x7fELF" {
        return Ok(None);
    }
    if !has_short_tables(file).unwrap_or(false) {
        return Ok(None);
    }
    Ok(ElfStream::open_stream(file).ok())
}

/// Returns whether the tables of sections and segments, which are read completely, have a normal size. The
/// file's length is no limit, because a sparse file can be arbitrarily long.
///
/// # Errors
/// Fails if an offset in the header is invalid.
fn has_short_tables(file: &File) -> Result<bool, ParseError> {
    let header = read_header(file)?;
    let (many_sections, many_segments) = (header.e_shnum == 0, header.e_phnum == PN_XNUM);
    if !(many_segments || many_sections && header.e_shoff != 0) {
        // A count of 16 bits.
        return Ok(true);
    }
    // Then the first section contains the numbers.
    let mut head = [0; HEADER];
    let read = file.read_at(&mut head, header.e_shoff)?;
    let first = SectionHeader::parse_at(header.endianness, header.class, &mut 0, &head[..read])?;
    Ok((!many_sections || first.sh_size <= MOST_HEADERS)
        && (!many_segments || u64::from(first.sh_info) <= MOST_HEADERS))
}

fn read_header(file: &File) -> Result<FileHeader<AnyEndian>, ParseError> {
    let mut head = [0; HEADER];
    let read = file.read_at(&mut head, 0)?;
    let (ident, tail) = head[..read].split_at_checked(EI_NIDENT).ok_or(ParseError::BadOffset(0))?;
    FileHeader::parse_tail(parse_ident(ident)?, tail)
}

/// Reads the header as Linux does: it ignores class, byte order and version, and uses the size of a segment's
/// header and the file type instead. `None` if it is not a program or library.
fn read_header_as_linux(file: &File) -> io::Result<Option<FileHeader<AnyEndian>>> {
    let mut head = [0; HEADER];
    let read = file.read_at(&mut head, 0)?;
    if read < EI_NIDENT || head[..4] != *b"\x7fELF" {
        return Ok(None);
    }
    let order = match [head[16], head[17]].map(u16::from) {
        [ET_EXEC | ET_DYN, 0] => AnyEndian::Little,
        [0, ET_EXEC | ET_DYN] => AnyEndian::Big,
        _ => return Ok(None),
    };
    let number = |at: usize| match order {
        AnyEndian::Little => u16::from_le_bytes([head[at], head[at + 1]]),
        AnyEndian::Big => u16::from_be_bytes([head[at], head[at + 1]]),
    };
    let class = match (number(54), number(42), head[4]) {
        (56, _, _) => Class::ELF64,
        // Linux starts no program with another size; trust the class.
        (_, 32, _) | (_, _, 1) => Class::ELF32,
        (_, _, 2) => Class::ELF64,
        _ => return Ok(None),
    };
    Ok(FileHeader::parse_tail((order, class, head[7], head[8]), &head[EI_NIDENT..read]).ok())
}

/// Returns the name at this offset of a string table; `None` if it is longer than names of compilers: a table
/// without a zero byte would be searched to its end for each of thousands of names.
#[must_use]
pub fn read_name(table: &[u8], at: u32) -> Option<&str> {
    const LONGEST_NAME: usize = 64;
    let rest = table.get(usize::try_from(at).ok()?..)?;
    let rest = &rest[..rest.len().min(LONGEST_NAME)];
    std::str::from_utf8(&rest[..rest.iter().position(|byte| *byte == 0)?]).ok()
}

/// Returns `e_machine` of an architecture as `uname -m` prints it; `None` if it is unknown.
#[must_use]
pub fn machine_number(architecture: &str) -> Option<u16> {
    let program = ProgramArchitecture::parse(architecture);
    let name = match program.family() {
        "ppc64le" => "ppc64",
        name => name,
    };
    MACHINES.iter().find(|(_, known)| *known == name).map(|(machine, _)| *machine)
}

/// Returns the bytes of a section; `None` where the file's numbers lead nowhere, or to more than such a
/// section ever has.
pub fn read_section<'a>(stream: &'a mut Stream<'_>, header: &SectionHeader) -> Option<&'a [u8]> {
    if header.sh_size > LONGEST {
        return None;
    }
    stream.section_data(header).ok().filter(|(_, compressed)| compressed.is_none()).map(|(bytes, _)| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_tests::elf::arm_program;
    use std::io::Write;

    #[test]
    fn an_arm_program_says_its_version() {
        let name = |attributes: &[u8]| read(&arm_program(attributes)).unwrap().architecture.to_string();
        assert_eq!(name(b"\x06\x06\x0a\x02"), "armv6l");
        assert_eq!(name(b"\x06\x0a\x0a\x04"), "armv7l");
        assert_eq!(name(b"\x1c\x01"), "armv5tel");
        let mut huge = arm_program(b"\x06\x0a");
        let length = huge.len();
        huge[length - 20..length - 16].copy_from_slice(&[0xff; 4]);
        assert_eq!(read(&huge).unwrap().architecture.to_string(), "armv5tel");
    }

    fn read(bytes: &[u8]) -> Option<ElfFile> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        ElfFile::read(&file).unwrap()
    }

    #[test]
    fn reads_a_real_program_and_survives_false_ones() {
        let own = ElfFile::read_self().unwrap().unwrap();
        let shell = ElfFile::read(&File::open("/bin/sh").unwrap()).unwrap().unwrap();
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
    fn what_linux_starts_is_a_program_whatever_its_tables_say() {
        let program = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = arm_program(b"\x06\x06\x0a\x02");
            edit(&mut bytes);
            read(&bytes)
        };
        let is_program = |found: Option<ElfFile>| {
            found.is_some_and(|elf| elf.is_runnable && elf.is_complete && elf.machine == 40)
        };
        assert!(is_program(program(&|_| {})));
        // Sections beyond the end; another system.
        assert!(is_program(program(&|bytes| bytes[32..36].copy_from_slice(&[0xff; 4]))));
        assert!(is_program(program(&|bytes| bytes[7] = 9)));
        // A class, byte order and version that are none, or another's.
        for (at, byte) in [(4, 9), (4, 2), (5, 9), (5, 2), (6, 0), (20, 7)] {
            assert!(is_program(program(&|bytes| bytes[at] = byte)), "{at} {byte}");
        }
        // A library of another system is none.
        assert!(!is_program(program(&|bytes| (bytes[7], bytes[16]) = (9, 3))));
        assert_eq!(program(&|bytes| bytes.truncate(20)), None);
        // An object file.
        assert_eq!(program(&|bytes| bytes[16] = 1), None);
    }

    #[test]
    fn a_program_is_complete_if_all_is_there_that_is_loaded() {
        let bytes = arm_program(b"\x06\x06\x0a\x02");
        let is_complete = |bytes: &[u8]| read(bytes).unwrap().is_complete;
        // The table of sections is not loaded.
        assert!(is_complete(&bytes) && is_complete(&bytes[..bytes.len() - 80]));
        assert!(!is_complete(&bytes[..80]) && !is_complete(&bytes[..60]));
        // No segment; segments far away; another size of their headers.
        for (at, new) in [(44, &[0, 0][..]), (28, &[0xff; 4]), (42, &[33, 0])] {
            let mut bytes = bytes.clone();
            bytes[at..at + new.len()].copy_from_slice(new);
            assert!(!is_complete(&bytes), "{at}");
        }
        let shell = File::open("/bin/sh").unwrap();
        assert!(ElfFile::read(&shell).unwrap().unwrap().is_complete);
    }

    #[test]
    fn a_name_has_an_end_and_is_short() {
        assert_eq!(read_name(b"\0.text\0x", 1), Some(".text"));
        assert_eq!((read_name(b"\0.text\0x", 7), read_name(b"abc\0", 9)), (None, None));
        assert_eq!(read_name(&vec![b'a'; 1 << 20], 5), None);
        assert_eq!(read_name(&[&[b'a'; 100][..], b"\0"].concat(), 5), None);
    }

    #[test]
    fn tables_without_an_end_are_not_read() {
        // A program that is all hole: 64 bits, one table of so many sections or segments.
        let of = |sections: u64, segments: u32| {
            let mut bytes = vec![0; 128];
            bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            bytes[40] = 64;
            bytes[58] = 64;
            bytes[64 + 32..][..8].copy_from_slice(&sections.to_le_bytes());
            if segments > 0 {
                bytes[32] = 64;
                bytes[54] = 56;
                bytes[56..58].copy_from_slice(&[0xff, 0xff]);
                bytes[64 + 44..][..4].copy_from_slice(&segments.to_le_bytes());
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            file.set_len(1 << 42).unwrap();
            open_stream(&file).unwrap().map(drop)
        };
        assert!(of(3, 0).is_some() && of(3, 70).is_some());
        for (sections, segments) in [(1 << 35, 0), (u64::MAX, 0), (1 << 16, 0), (3, u32::MAX)] {
            assert_eq!(of(sections, segments), None, "{sections} {segments}");
        }
    }

    #[test]
    fn damaged_files_are_read_to_an_end() {
        let shell = std::fs::read("/bin/sh").unwrap();
        for program in [arm_program(b"\x06\x0a\x0a\x04"), shell] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&program).unwrap();
            let read = || ElfFile::read(&file).unwrap();
            let whole = read();
            assert!(whole.as_ref().is_some_and(|elf| elf.is_complete));
            // The header, the segments behind it, and the sections at the end.
            let end = program.len();
            let places = (0..end.min(1024)).chain(end.saturating_sub(2400).max(1024)..end);
            for place in places {
                for value in [0, 1, 0x7f, 0x80, 0xff, !program[place]] {
                    file.write_all_at(&[value], place as u64).unwrap();
                    read();
                }
                file.write_all_at(&program[place..=place], place as u64).unwrap();
            }
            assert_eq!(read(), whole);
            for length in (0..end).rev().filter(|length| *length < 1024 || length % 997 == 0) {
                file.set_len(length as u64).unwrap();
                let is_read = read().is_some_and(|elf| elf.is_complete);
                assert!(!is_read || length > 84, "{length}: less than the headers");
            }
        }
    }

    #[test]
    fn names_the_machine_in_both_byte_orders() {
        let mut bytes = vec![0; 64];
        bytes[6] = 1;
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[16], bytes[18]) = (2, 183);
        let name = |bytes: &[u8]| read(bytes).unwrap().architecture.to_string();
        assert_eq!(name(&bytes), "aarch64");
        assert_eq!(machine_number("aarch64"), Some(183));
        assert_eq!(
            (machine_number("armv7l"), machine_number("x86_64-v3"), machine_number("any")),
            (Some(40), Some(62), None)
        );
        bytes[5] = 2;
        bytes[16..20].copy_from_slice(&[0, 2, 0, 22]);
        assert_eq!(name(&bytes), "s390x");
        bytes[18..20].copy_from_slice(&[1, 244]);
        assert_eq!(name(&bytes), "machine-500");
    }
}
