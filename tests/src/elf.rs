//! ELF files made by hand.

/// Returns a static program for 32-bit ARM with these build attributes and without code.
pub fn arm_program(attributes: &[u8]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("a short length").to_le_bytes();
    let file = [&[1][..], &number(5 + attributes.len()), attributes].concat();
    let section = [&b"A"[..], &number(10 + file.len()), b"aeabi\0", &file].concat();
    let mut bytes = b"\x7fELF\x01\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2, 0, 40, 0, 1, 0, 0, 0]);
    // The header, a segment that loads all up to the sections, the attributes, the sections.
    let sections = (84 + section.len()).next_multiple_of(4);
    bytes.extend([0, 52, sections].map(number).concat());
    bytes.extend(number(0x0500_0400));
    bytes.extend([52_u16, 32, 1, 40, 2, 0].map(u16::to_le_bytes).concat());
    bytes.extend([1, 0, 0, 0, sections, sections, 4, 4].map(number).concat());
    bytes.extend_from_slice(&section);
    bytes.resize(sections + 40, 0);
    bytes.extend([0, 0x7000_0003, 0, 0, 84, section.len(), 0, 0, 1, 0].map(number).concat());
    bytes
}
