//! Streams that no honest piku-build has packed.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use piku_tests::snapshot::{assert_redacted, str};
use tar::{Builder, EntryType, Header};

use super::pack::{pack, script, unpack};
use crate::support::names;

/// A stream that is being written.
type Tar = Builder<zstd::Encoder<'static, Vec<u8>>>;
/// A function that adds entries to a stream.
type Fill<'a> = &'a dyn Fn(&mut Tar);

/// A stream with this head and whatever a stranger puts behind it.
pub(super) fn stream(head: &str, fill: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 1).expect("it works"));
    put(&mut tar, "head.json", EntryType::Regular, 0o644, "", head.trim_end().as_bytes());
    fill(&mut tar);
    tar.into_inner().expect("it works").finish().expect("it works")
}

/// An entry as it is given, also where no honest tar would write it.
fn put(tar: &mut Builder<impl Write>, path: &str, kind: EntryType, mode: u32, target: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_gnu_mut().expect("it works").name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_gnu_mut().expect("it works").linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_mtime(0);
    header.set_cksum();
    tar.append(&header, content).expect("it works");
}

#[test]
fn hostile_streams_are_refused() {
    let world = script();
    let head = String::from_utf8(pack(&world, &["--part", "head"])).expect("it works");
    let file = EntryType::Regular;
    let link = EntryType::Symlink;
    let mut failures = String::new();
    for (path, kind, mode, target) in [
        ("app/../../evil", file, 0o644, ""),
        ("/evil", file, 0o644, ""),
        ("app/tool", file, 0o4755, ""),
        ("app/tool", file, 0o2755, ""),
        ("app/out", link, 0o777, "../../evil"),
        ("app/out", link, 0o777, "/etc/passwd"),
        ("app/hard", EntryType::Link, 0o644, "/etc/passwd"),
        ("app/disk", EntryType::Block, 0o644, ""),
        ("app/null", EntryType::Char, 0o644, ""),
        ("app/fifo", EntryType::Fifo, 0o644, ""),
        ("app/sub/x", file, 0o644, ""),
        ("evil", file, 0o644, ""),
        ("layers/abc/x", file, 0o644, ""),
    ] {
        let bytes = stream(&head, |tar| {
            put(tar, "app", EntryType::Directory, 0o755, "", b"");
            put(tar, path, kind, mode, target, b"");
        });
        failures += &unpack(&world, "1", &bytes).failure();
    }
    // Through a link of its own, twice the same, more than was said, and a hash that is not its own.
    let cases: [Fill; 4] = [
        &|tar| {
            put(tar, "app/to", link, 0o777, "/tmp", b"");
            put(tar, "app/to/evil", file, 0o644, "", b"");
        },
        &|tar| {
            put(tar, "app/x", file, 0o644, "", b"");
            put(tar, "app/x", file, 0o644, "", b"");
        },
        &|tar| put(tar, "app/x", file, 0o644, "", &vec![0; 2 << 20]),
        &|tar| put(tar, "sha256", file, 0o644, "", "0".repeat(64).as_bytes()),
    ];
    for fill in cases {
        let bytes = stream(&head, |tar| {
            put(tar, "app", EntryType::Directory, 0o755, "", b"");
            fill(tar);
        });
        failures += &unpack(&world, "1", &bytes).failure();
    }
    assert_redacted(
        &failures,
        &[],
        str![[r#"
piku-build: 'app/../../evil' leads out of the release
piku-build: '/evil' leads out of the release
piku-build: 'app/tool' is set-uid, set-gid or sticky (mode 4755)
piku-build: 'app/tool' is set-uid, set-gid or sticky (mode 2755)
piku-build: 'app/out' is a link out of the release, to '../../evil'
piku-build: 'app/out' is a link out of the release, to '/etc/passwd'
piku-build: 'app/hard' is neither a file nor a folder nor a link (type '1')
piku-build: 'app/disk' is neither a file nor a folder nor a link (type '4')
piku-build: 'app/null' is neither a file nor a folder nor a link (type '3')
piku-build: 'app/fifo' is neither a file nor a folder nor a link (type '6')
piku-build: 'app/sub/x': its folder is missing before it
piku-build: 'evil': no release has such a file
piku-build: 'layers/abc/x': the head of the stream does not list it
piku-build: 'app/to/evil': its folder is missing before it
piku-build: 'app/x': cannot write '[DIR]/there/.piku-build-[..]/release/app/x': File exists (os error 17)
piku-build: the stream holds more than its head says
piku-build: the stream is damaged: its hash is not that of its content

"#]],
    );
    let huge = head.replace("\"bytes\":", "\"bytes\":99999999999999");
    unpack(&world, "1", &stream(&huge, |_| ())).fails(str![[r#"
piku-build: not enough space on the disk of '[DIR]/there': what comes in needs about 9313225.7 GiB and a reserve of 64.0 MiB; [..] are free, [..] are missing
hint: run 'piku gc' to remove unused files, enlarge the disk, or lower disk_reserve in host.yaml

"#]]);
    assert!(names(&world.path("there")).iter().all(|name| name == "layers"));
    assert!(!world.path("evil").exists() && !Path::new("/tmp/evil").exists());

    // What leads out is not packed either.
    symlink("/etc/hostname", world.path("out/1/app/name")).expect("it works");
    world.run(&["pack", "out/1"]).fails(str![[r#"
piku-build: 'app/name' is a link out of the release, to '/etc/hostname'
hint: a release that is packed has links within it and to the system's own programs only: put a copy there

"#]]);
}
