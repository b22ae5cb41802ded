mod resealed;

use std::collections::BTreeMap;
use std::io::{self, Read};

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

/// Keeps the parts in memory.
#[derive(Default)]
struct MemorySink(BTreeMap<String, Vec<u8>>);

impl PartSink for MemorySink {
    fn begin(&mut self, _: &BackupHead) -> anyhow::Result<()> {
        Ok(())
    }

    fn take(&mut self, part: &BackupPart, content: &mut dyn Read) -> anyhow::Result<()> {
        let mut all = Vec::new();
        content.read_to_end(&mut all)?;
        self.0.insert(part.to_string(), all);
        Ok(())
    }
}

/// Leaves all content unread.
struct LazySink;

impl PartSink for LazySink {
    fn begin(&mut self, _: &BackupHead) -> anyhow::Result<()> {
        Ok(())
    }

    fn take(&mut self, _: &BackupPart, _: &mut dyn Read) -> anyhow::Result<()> {
        Ok(())
    }
}

fn head(parts: &[BackupPart]) -> BackupHead {
    let saved = SavedApp {
        app: "blog".parse().unwrap(),
        branch: Some("main".to_owned()),
        commit: Some("a".repeat(40)),
        stopped: false,
        maintenance: false,
        services: Vec::new(),
    };
    let services = parts.iter().filter_map(|part| match part {
        BackupPart::Service(_, variable) => Some(SavedService {
            variable: variable.clone(),
            service: "postgres".parse().unwrap(),
            kind: "postgres".parse().unwrap(),
            version: "15".to_owned(),
            variables: vec![format!("{variable}_URL")],
        }),
        _ => None,
    });
    BackupHead {
        format: FORMAT,
        kind: BackupKind::Apps,
        at: "2026-11-29T08:00:00Z".parse().unwrap(),
        host: "pi".to_owned(),
        piku: "0.2.0".to_owned(),
        apps: vec![SavedApp { services: services.collect(), ..saved }],
        parts: parts.to_vec(),
        missing: Vec::new(),
    }
}

/// Returns a backup with these settings, this data and this dump.
fn backup(config: &[u8], data: &[u8], dump: &[u8]) -> Vec<u8> {
    let app = || "blog".parse().unwrap();
    let parts = [
        BackupPart::Config(app()),
        BackupPart::Data(app()),
        BackupPart::Service(app(), "DATABASE".to_owned()),
    ];
    let mut archive = ArchiveWriter::new(&head(&parts), Vec::new()).unwrap();
    archive.write_part(&parts[0], config).unwrap();
    for (part, content) in [(&parts[1], data), (&parts[2], dump)] {
        let mut stream = archive.stream_part(part).unwrap();
        stream.copy_from(&mut { content }, &mut archive).unwrap();
        stream.finish(&mut archive, LeftOut::default()).unwrap();
    }
    let (bytes, size) = archive.finish().unwrap();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

fn read(bytes: &[u8]) -> anyhow::Result<MemorySink> {
    let mut sink = MemorySink::default();
    read_archive(bytes, &mut sink).map(|_| sink)
}

/// Returns bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn parts_of_all_sizes_come_back() {
    for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7] {
        let data = noise(size);
        let bytes = backup(b"{}", &data, b"dump");
        let MemorySink(parts) = read(&bytes).unwrap();
        assert_eq!(parts["apps/blog/config.json"], b"{}");
        assert!(parts["apps/blog/data.tar"] == data, "{size}");
        assert_eq!(parts["apps/blog/services/DATABASE.dump"], b"dump");
        let (_, sums) = read_archive(bytes.as_slice(), &mut LazySink).unwrap();
        assert_eq!(sums[1].bytes, size as u64, "content that a sink leaves is read");
    }
}

#[test]
fn every_truncation_and_every_flip_of_a_small_backup_is_refused() {
    let bytes = backup(b"{\"A\":\"1\"}", b"data", b"dump");
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "cut off at {len}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(read(&changed).is_err(), "bit {bit} of byte {at}");
        }
    }
    let twice = [bytes.clone(), bytes.clone()].concat();
    assert!(format!("{:#}", read(&twice).err().unwrap()).contains("more follows"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn damage_of_a_large_backup_is_refused(
        size in 0..2 * PIECE + 9, place in 0.0..1.0f64, bit in 0u8..8, cut in any::<bool>()
    ) {
        let data = noise(size);
        let mut bytes = backup(b"{}", &data, &data);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in the file")]
        let at = (bytes.len() as f64 * place) as usize;
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << bit;
        }
        prop_assert!(read(&bytes).is_err(), "byte {at}");
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(read(&bytes).is_err());
        bytes = zstd::encode_all(bytes.as_slice(), 1).unwrap();
        prop_assert!(read(&bytes).is_err());
    }
}

#[test]
fn errors_name_the_place() {
    let bytes = backup(b"{}", &noise(PIECE), b"dump");
    let told = format!("{:#}", read(&bytes[..PIECE / 2]).err().unwrap());
    assert!(told.starts_with("the backup is damaged or cut off at byte "), "{told}");
    assert!(told.contains("in 'apps/blog/data.tar': it ends early"), "{told}");
    let told = format!("{:#}", read(&bytes[..bytes.len() - 3]).err().unwrap());
    assert!(told.ends_with("its last 3 bytes are missing"), "{told}");
    assert_eq!(format!("{:#}", read(b"PK\x03\x04").err().unwrap()), "this is no backup");
    assert_eq!(format!("{:#}", read(b"").err().unwrap()), "expected a backup, found nothing");
}

#[test]
fn tar_and_zstd_alone_can_read_it() {
    let bytes = backup(b"{}", &noise(PIECE + 5), b"dump");
    let plain = zstd::decode_all(bytes.as_slice()).unwrap();
    let mut tar = tar::Archive::new(plain.as_slice());
    let name = |entry: io::Result<tar::Entry<'_, &[u8]>>| entry.unwrap().path().unwrap().into_owned();
    let names: Vec<String> = tar.entries().unwrap().map(|entry| name(entry).display().to_string()).collect();
    assert_eq!(
        names,
        [
            "backup.json",
            "apps/blog/config.json",
            "apps/blog/data.tar/00000000",
            "apps/blog/data.tar/00000001",
            "apps/blog/services/DATABASE.dump/00000000",
            "sums.json/00000000"
        ]
    );
}

#[test]
fn heads_that_no_piku_writes_are_refused() {
    let good = serde_json::to_string(&head(&[BackupPart::Host])).unwrap();
    let refused = |text: &str| format!("{:#}", BackupHead::parse(text.as_bytes()).unwrap_err());
    assert!(refused(&good).contains("'host.tar' is in a backup of apps"), "{}", refused(&good));
    let dump = BackupPart::Service("blog".parse().unwrap(), "DATABASE".to_owned());
    let good = serde_json::to_string(&head(&[dump])).unwrap();
    assert!(BackupHead::parse(good.as_bytes()).is_ok());
    let bad = good.replace("DATABASE_URL", "PATH=x");
    assert!(refused(&bad).contains("bad name"), "{}", refused(&bad));
    let bad = good.replace("DATABASE.dump", "CACHE.dump");
    assert!(refused(&bad).contains("DATABASE.dump' is missing"), "{}", refused(&bad));
    let good = serde_json::to_string(&head(&[BackupPart::Config("blog".parse().unwrap())])).unwrap();
    assert!(BackupHead::parse(good.as_bytes()).is_ok());
    for (from, to, told) in [
        ("\"format\":1", "\"format\":2", "has format 2"),
        ("apps/blog/config.json", "apps/../config.json", "knows no part"),
        ("apps/blog/config.json", "apps/blog/../x", "knows no part"),
        ("apps/blog/config.json", "apps/shop/config.json", "of no app"),
        ("\"main\"", "\"--upload-pack=x\"", "no branch"),
        ("\"main\"", "\"a..b\"", "no branch"),
        ("aaaa", "aaag", "no commit"),
        ("\"pi\"", "\"\\u001b[2J\"", "cannot be printed"),
        ("\"blog\"", "\"../blog\"", "bad app name"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        assert!(refused(&bad).contains(told), "{}", refused(&bad));
    }
}

#[test]
fn what_a_part_lacks_comes_back_with_it() {
    let part = BackupPart::Data("blog".parse().unwrap());
    let mut head = head(std::slice::from_ref(&part));
    head.missing.push(MissingApp::new("shop".parse().unwrap(), "no\u{1b}disk\t!"));
    let write = |left_out: LeftOut| {
        let mut archive = ArchiveWriter::new(&head, Vec::new()).unwrap();
        archive.stream_part(&part).unwrap().finish(&mut archive, left_out).unwrap();
        archive.finish().unwrap().0
    };
    let mut left_out = LeftOut::default();
    left_out.add("./closed", "Permission denied");
    let (read_head, sums) = read_archive(write(left_out.clone()).as_slice(), &mut LazySink).unwrap();
    assert_eq!(sums[0].left_out.as_ref(), Some(&left_out));
    assert_eq!(read_head, head);
    let (_, sums) = read_archive(write(LeftOut::default()).as_slice(), &mut LazySink).unwrap();
    assert_eq!(sums[0].left_out, None);
    // Such as that of an attacker.
    left_out.files[0].name = "\u{1b}[2J".to_owned();
    let told = format!("{:#}", read(&write(left_out)).err().unwrap());
    assert!(told.contains("the list of what it lacks is bad"), "{told}");
}

#[test]
fn parts_are_written_in_the_order_of_the_head() {
    let app = || "blog".parse().unwrap();
    let parts = [BackupPart::Config(app()), BackupPart::Formation(app())];
    let mut archive = ArchiveWriter::new(&head(&parts), Vec::new()).unwrap();
    assert!(archive.write_part(&parts[1], b"{}").is_err());
    let archive = ArchiveWriter::new(&head(&parts), Vec::new()).unwrap();
    assert!(archive.finish().err().unwrap().to_string().contains("config.json' is missing"));
}
