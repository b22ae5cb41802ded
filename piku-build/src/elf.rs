//! The few bytes of an ELF file that say whether this machine can run it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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

/// A program header that names the loader (`PT_INTERP`).
const INTERPRETER: u32 = 3;
/// No path of a loader is longer.
const LONGEST: u64 = 4096;

/// What an ELF file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    /// `e_machine`.
    pub(crate) machine: u16,
    /// The loader that a dynamic program asks for.
    pub(crate) loader: Option<PathBuf>,
}

impl Elf {
    /// Reads the header of an open file; `None` when it is no (whole) ELF file.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut head = [0; 64];
        let read = file.read_at(&mut head, 0)?;
        if read < 52 || !head.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let words = Words { wide: head[4] == 2, big: head[5] == 2 };
        let machine = words.u16(&head, 18);
        let loader = words.loader(file, &head).unwrap_or_default();
        Ok(Some(Self { machine, loader }))
    }

    /// The header of this very program: what runs it runs others of its kind.
    pub(crate) fn own() -> io::Result<Option<Self>> {
        Self::read(&File::open("/proc/self/exe")?)
    }

    /// The architecture's name.
    pub(crate) fn name(&self) -> String {
        let known = MACHINES.iter().find(|(machine, _)| *machine == self.machine);
        known.map_or_else(|| format!("machine {}", self.machine), |(_, name)| (*name).to_owned())
    }
}

/// How a file writes its numbers.
struct Words {
    /// 64 bits.
    wide: bool,
    /// The most significant byte first.
    big: bool,
}

impl Words {
    fn u16(&self, bytes: &[u8], at: usize) -> u16 {
        let two = [bytes[at], bytes[at + 1]];
        if self.big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let mut four = [0; 4];
        four.copy_from_slice(&bytes[at..at + 4]);
        if self.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    /// An address: 8 bytes at `wide`, or 4 at `narrow`.
    fn address(&self, bytes: &[u8], wide: usize, narrow: usize) -> u64 {
        if !self.wide {
            return u64::from(self.u32(bytes, narrow));
        }
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[wide..wide + 8]);
        if self.big { u64::from_be_bytes(eight) } else { u64::from_le_bytes(eight) }
    }

    /// The loader's path; `None` also where the file's numbers lead nowhere.
    fn loader(&self, file: &File, head: &[u8; 64]) -> io::Result<Option<PathBuf>> {
        let table = self.address(head, 32, 28);
        let (size, count) = if self.wide { (54, 56) } else { (42, 44) };
        let (size, count) = (self.u16(head, size), self.u16(head, count));
        if usize::from(size) < if self.wide { 56 } else { 32 } {
            return Ok(None);
        }
        for at in 0..u64::from(count) {
            let mut entry = [0; 56];
            let part = if self.wide { 56 } else { 32 };
            let from = table.saturating_add(at.saturating_mul(u64::from(size)));
            file.read_exact_at(&mut entry[..part], from)?;
            if self.u32(&entry, 0) != INTERPRETER {
                continue;
            }
            let (offset, length) = (self.address(&entry, 8, 4), self.address(&entry, 32, 16));
            let mut path = vec![0; usize::try_from(length.min(LONGEST)).unwrap_or(0)];
            file.read_exact_at(&mut path, offset)?;
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            return Ok(Some(Path::new(OsStr::from_bytes(&path[..end])).to_owned()));
        }
        Ok(None)
    }
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
        assert_eq!(read(&bytes).unwrap().loader, None);
    }

    #[test]
    fn names_the_machine_in_both_byte_orders() {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 183;
        assert_eq!(read(&bytes).unwrap().name(), "aarch64");
        bytes[5] = 2;
        bytes[18..20].copy_from_slice(&[0, 22]);
        assert_eq!(read(&bytes).unwrap().name(), "s390x");
        bytes[18..20].copy_from_slice(&[1, 244]);
        assert_eq!(read(&bytes).unwrap().name(), "machine 500");
    }
}
