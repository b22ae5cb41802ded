//! Backups whose archive was changed and then compressed and hashed again, as an attacker would: the outer hash is right,
//! so that what reads the archive itself has to find each change.

use std::io::Write;

use super::*;
use crate::entry_header::{BLOCK, EntryHeader, padding};

const CONFIG: &[u8] = b"{\"A\":\"1\"}";
const DATA: &[u8] = b"data";
const DUMP: &[u8] = b"dump";

/// Compresses an archive and adds the hash.
fn seal(archive: &[u8]) -> Vec<u8> {
    let mut bytes = zstd::encode_all(archive, 1).unwrap();
    let hash = Sha256::new().chain_update(&bytes);
    bytes.extend(trailer::render(hash));
    bytes
}

/// Returns the archive of a small backup, and what it has.
fn small() -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    let bytes = backup(CONFIG, DATA, DUMP);
    (zstd::decode_all(bytes.as_slice()).unwrap(), read(&bytes).unwrap().0)
}

/// Reads a changed archive. Only texts in its head may differ: a part with another content is refused, with the place.
fn check(archive: &[u8], parts: &BTreeMap<String, Vec<u8>>, change: &str) -> bool {
    let mut sink = MemorySink::default();
    match read_archive(seal(archive).as_slice(), &mut sink) {
        Ok(_) => {
            assert_eq!(&sink.0, parts, "{change}");
            true
        }
        Err(err) => {
            let told = format!("{err:#}");
            let names_place = told.starts_with("the backup is damaged or cut off at ");
            let is_of_head =
                ["bad head", "this backup has format "].iter().any(|begin| told.starts_with(begin));
            assert!(names_place || is_of_head, "{change}: {told}");
            false
        }
    }
}

/// Numbers that are the same in each run.
struct FixedNoise(u64);

impl FixedNoise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// Returns where each entry begins and ends, with its padding.
fn entries(archive: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(header) = EntryHeader::parse(archive[at..at + BLOCK].try_into().unwrap()) {
        let end = at + BLOCK + usize::try_from(header.size).unwrap() + padding(header.size);
        found.push((at, end));
        at = end;
    }
    found
}

#[test]
fn each_byte_of_the_archive_matters() {
    let (archive, parts) = small();
    assert!(check(&archive, &parts, "no change"));
    let mut noise = FixedNoise(1);
    let head_end = entries(&archive)[0].1;
    for at in 0..archive.len() {
        let mut changed = archive.clone();
        changed[at] ^= 1 << noise.below(8);
        let is_read = check(&changed, &parts, &format!("byte {at}"));
        assert!(!is_read || (BLOCK..head_end).contains(&at), "byte {at} is outside of the head");
    }
}

#[test]
fn entries_cannot_be_left_out_repeated_or_moved() {
    let (archive, parts) = small();
    let entries = entries(&archive);
    let join = |order: &[(usize, usize)]| {
        let mut joined: Vec<u8> =
            order.iter().flat_map(|(begin, end)| &archive[*begin..*end]).copied().collect();
        joined.extend([0; 2 * BLOCK]);
        joined
    };
    assert!(join(&entries) == archive);
    for first in 0..entries.len() {
        let mut order = entries.clone();
        order.remove(first);
        assert!(!check(&join(&order), &parts, &format!("without entry {first}")));
        for second in 0..entries.len() {
            let mut order = entries.clone();
            order.insert(second, entries[first]);
            assert!(!check(&join(&order), &parts, &format!("entry {first} also before {second}")));
            if first != second {
                let mut order = entries.clone();
                order.swap(first, second);
                assert!(!check(&join(&order), &parts, &format!("entries {first} and {second} are swapped")));
            }
        }
    }
    for len in (0..archive.len()).step_by(64) {
        assert!(!check(&archive[..len], &parts, &format!("cut off at {len}")));
    }
    let longer = [archive.as_slice(), &[0; BLOCK]].concat();
    assert!(!check(&longer, &parts, "a third block of zeros"));
}

#[test]
fn random_changes_are_refused_without_a_panic() {
    let (archive, parts) = small();
    let mut noise = FixedNoise(16);
    for round in 0..3000 {
        let mut changed = archive.clone();
        for _ in 0..=noise.below(4) {
            let at = noise.below(changed.len());
            let most = if noise.below(2) == 0 { 8 } else { 600 };
            let len = noise.below(most).min(changed.len() - at);
            match noise.below(5) {
                0 => changed[at..at + len].fill_with(|| noise.byte()),
                1 => changed[at..at + len].fill(0),
                2 => drop(changed.drain(at..at + len)),
                3 => {
                    let piece = changed[at..at + len].to_vec();
                    let to = noise.below(changed.len());
                    changed.splice(to..to, piece);
                }
                // A number in a header or in the JSON.
                _ => changed[at..at + len]
                    .iter_mut()
                    .filter(|byte| byte.is_ascii_digit())
                    .for_each(|byte| *byte = b'7'),
            }
        }
        check(&changed, &parts, &format!("round {round}"));
    }
}

#[test]
fn frames_are_not_put_together() {
    // A reader that goes on behind the first frame would take the parts of the second for those of its head.
    let (archive, _) = small();
    let mut bytes = Vec::new();
    for half in [&archive[..archive.len() / 2], &archive[archive.len() / 2..]] {
        bytes.write_all(&zstd::encode_all(half, 1).unwrap()).unwrap();
    }
    let hash = Sha256::new().chain_update(&bytes);
    bytes.extend(trailer::render(hash));
    let told = format!("{:#}", read(&bytes).err().unwrap());
    assert!(told.contains("it ends early"), "{told}");
}
