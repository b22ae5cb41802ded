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
