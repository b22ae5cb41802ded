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
    pub(crate) fn read_self() -> io::Result<Option<Self>> {
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
mod tests;
