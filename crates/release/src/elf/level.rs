//! The level of its family that a program was compiled for, where its file says one: the build attributes of
//! ARM, the program properties of GNU, the settings that Go's linker writes down.
//!
//! A compiler's mark says what the newest of the linked instructions needs. Code that is entered only where
//! the processor has them, as OpenSSL's, is marked the same.

use elf::abi::{EM_ARM, EM_X86_64, PT_GNU_PROPERTY};
use elf::section::SectionHeader;

use super::{LONGEST, Stream, read_name, read_section};

/// `sh_type` of `.ARM.attributes`.
const SHT_ARM_ATTRIBUTES: u32 = 0x7000_0003;
/// Names of attributes: the version of the architecture and of the floating point unit.
const TAG_CPU_ARCH: u64 = 6;
const TAG_FP_ARCH: u64 = 10;
/// Section with the build information of a Go program.
const GO_BUILD_INFO: &str = ".go.buildinfo";
const GOARM: &[u8] = b"build\tGOARM=";
const GOAMD64: &[u8] = b"build\tGOAMD64=v";
/// The property "needs these levels of the architecture", a bit each.
const X86_ISA_1_NEEDED: u32 = 0xc000_8002;

/// Returns the level; 0 if the file contains none.
pub(super) fn read(stream: &mut Stream<'_>) -> u8 {
    let level = match stream.ehdr.e_machine {
        EM_ARM => arm_attributes(stream).or_else(|| go_setting(stream, GOARM)),
        EM_X86_64 => x86_properties(stream).or_else(|| go_setting(stream, GOAMD64)),
        _ => None,
    };
    level.unwrap_or(0)
}

fn arm_attributes(stream: &mut Stream<'_>) -> Option<u8> {
    let header =
        stream.section_headers().iter().find(|header| header.sh_type == SHT_ARM_ATTRIBUTES).copied()?;
    let is_little = matches!(stream.ehdr.endianness, elf::endian::AnyEndian::Little);
    arm_version(read_section(stream, &header)?, is_little)
}

/// Reads build attributes: a letter, then sections of a length and a vendor, in them lists of a scope and a
/// length.
fn arm_version(bytes: &[u8], is_little: bool) -> Option<u8> {
    let number = |bytes: &[u8]| {
        let bytes = bytes.first_chunk::<4>().copied()?;
        usize::try_from(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }).ok()
    };
    let mut rest = bytes.strip_prefix(b"A")?;
    while let Some(length) = number(rest).filter(|length| (4..=rest.len()).contains(length)) {
        let (vendor, next) = rest.split_at(length);
        rest = next;
        let Some(lists) = vendor[4..].strip_prefix(b"aeabi\0") else { continue };
        // The first list applies to the whole file.
        let (scope, lists) = lists.split_first()?;
        let length = number(lists)?.checked_sub(1)?;
        if *scope == 1 {
            return level_of_attributes(lists.get(4..length)?);
        }
    }
    None
}

/// Returns the version of the architecture that has all that the attributes name.
fn level_of_attributes(mut list: &[u8]) -> Option<u8> {
    let mut version = None;
    while !list.is_empty() {
        let tag = uleb(&mut list)?;
        let is_text = matches!(tag, 4 | 5) || tag > 32 && tag % 2 == 1;
        if tag == 32 {
            uleb(&mut list)?;
        }
        if is_text || tag == 32 {
            let end = list.iter().position(|byte| *byte == 0)?;
            list = &list[end + 1..];
            continue;
        }
        let value = uleb(&mut list)?;
        let needs = match (tag, value) {
            (TAG_CPU_ARCH, 0..=5) => 5,
            // 6, 6KZ and 6K; 6T2 has instructions that a Pi's processor lacks.
            (TAG_CPU_ARCH, 6 | 7 | 9) => 6,
            (TAG_CPU_ARCH, 8 | 10..=13) | (TAG_FP_ARCH, 3..=6) => 7,
            (TAG_CPU_ARCH, _) | (TAG_FP_ARCH, 7..) => 8,
            _ => continue,
        };
        version = version.max(Some(needs));
    }
    version
}

/// Reads a number of 7 bits a byte, the lowest first.
fn uleb(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn x86_properties(stream: &mut Stream<'_>) -> Option<u8> {
    let header = stream.segments().iter().find(|header| header.p_type == PT_GNU_PROPERTY).copied()?;
    x86_level((header.p_filesz <= LONGEST).then(|| stream.segment_data(&header).ok())??)
}

/// Reads a note of properties: three lengths, a name of four bytes, then properties of a type and a length
/// each.
fn x86_level(note: &[u8]) -> Option<u8> {
    let number = |at: usize| note.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let mut at = 16;
    while let (Some(kind), Some(length)) = (number(at), number(at + 4)) {
        if kind == X86_ISA_1_NEEDED {
            let bits = number(at + 8)?;
            return u8::try_from(32 - bits.leading_zeros()).ok();
        }
        // Padded to 8 bytes.
        at = usize::try_from(length).ok()?.checked_next_multiple_of(8)?.checked_add(at + 8)?;
        if at >= note.len() {
            break;
        }
    }
    None
}

/// Returns the number behind this setting of a Go program.
fn go_setting(stream: &mut Stream<'_>, setting: &[u8]) -> Option<u8> {
    let names = stream.section_headers().get(usize::from(stream.ehdr.e_shstrndx)).copied()?;
    let names = read_section(stream, &names)?.to_vec();
    let is_info = |header: &&SectionHeader| read_name(&names, header.sh_name) == Some(GO_BUILD_INFO);
    let header = stream.section_headers().iter().find(is_info).copied()?;
    let info = read_section(stream, &header)?;
    let found = info.windows(setting.len()).position(|window| window == setting)?;
    info.get(found + setting.len()).filter(|digit| digit.is_ascii_digit()).map(|digit| digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the section of a program with these attributes.
    fn attributes(list: &[u8]) -> Vec<u8> {
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
        let file = [&[1][..], &length(5 + list.len()), list].concat();
        let aeabi = [&length(10 + file.len())[..], b"aeabi\0", &file].concat();
        let other = [&length(9)[..], b"gnu\0\x01"].concat();
        [b"A", &other[..], &aeabi].concat()
    }

    #[test]
    fn the_version_of_arm_is_that_of_the_instructions_and_of_the_floats() {
        let of = |list: &[u8]| arm_version(&attributes(list), true);
        // As Debian's armhf, Raspbian and Debian's armel have it, from `readelf -A`.
        assert_eq!(of(b"\x057-A\0\x06\x0a\x07A\x08\x01\x09\x02\x0a\x04\x1c\x01"), Some(7));
        assert_eq!(of(b"\x056\0\x06\x06\x08\x01\x09\x01\x0a\x02\x1c\x01"), Some(6));
        assert_eq!(of(b"\x055TE\0\x06\x04\x08\x01\x09\x01"), Some(5));
        assert_eq!(of(b"\x06\x08"), Some(7));
        assert_eq!(of(b"\x06\x0e"), Some(8));
        assert_eq!(of(b"\x06\x09\x0a\x03"), Some(7));
        assert_eq!(of(b"\x20\x01gnu\0\x43\x322.09\0\x06\x0a"), Some(7));
        assert_eq!(of(b"\x1c\x01"), None);
    }

    #[test]
    fn attributes_that_lead_nowhere_say_nothing() {
        let good = attributes(b"\x057-A\0\x06\x0a");
        assert_eq!(arm_version(&good, true), Some(7));
        for length in 0..good.len() {
            assert_eq!(arm_version(&good[..length], true), None, "{length}");
        }
        assert_eq!(arm_version(&good, false), None);
        assert_eq!(arm_version(b"A\xff\xff\xff\xffaeabi\0", true), None);
        assert_eq!(arm_version(b"A\x00\x00\x00\x00aeabi\0", true), None);
        assert_eq!(level_of_attributes(&[0xff; 20]), None);
    }

    #[test]
    fn the_levels_of_a_pc_are_a_property() {
        let note = |kind: u32, bits: u32| {
            let mut note = [4_u32, 32, 5].map(u32::to_le_bytes).concat();
            note.extend_from_slice(b"GNU\0");
            // One before it.
            note.extend([0xc000_0002_u32, 4, 3, 0].map(u32::to_le_bytes).concat());
            note.extend([kind, 4, bits, 0].map(u32::to_le_bytes).concat());
            note
        };
        assert_eq!(x86_level(&note(X86_ISA_1_NEEDED, 0b1)), Some(1));
        assert_eq!(x86_level(&note(X86_ISA_1_NEEDED, 0b111)), Some(3));
        assert_eq!(x86_level(&note(0xc001_0002, 0b111)), None);
        assert_eq!(x86_level(&note(X86_ISA_1_NEEDED, 0b111)[..38]), None);
        assert_eq!(x86_level(&[0xff; 40]), None);
    }
}
