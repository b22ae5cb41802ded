//! Archives of the files of a base, rewritten: as root's, without devices, set-uid bits, extended attributes and
//! what belongs to one machine.

#![expect(clippy::disallowed_methods, reason = "an archive of the operator")]

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use tar::{Archive, Builder, Entry, EntryType};

use super::super::super::write::append;
use super::super::layer_content::{self, owned};
use super::BasePackage;
use super::entry_names::EntryNames;
use crate::errors::image as errors;
use crate::step::interrupt;

/// Debian's list of installed packages.
pub(super) const STATUS: &str = "var/lib/dpkg/status";
/// No list of packages is longer, in bytes.
pub(super) const LONGEST_STATUS: u64 = 32 << 20;
/// First bytes of what zstd has compressed.
pub(super) const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// More entries and bytes than a base has: an archive of a few bytes can become any number of them.
const MOST_ENTRIES: u64 = 2_000_000;
pub(super) const MOST_BYTES: u64 = 16 << 30;
/// Directories whose content comes from the machine that runs the image.
const RUNTIME: [&str; 4] = ["dev", "proc", "sys", "run"];
/// Files about the machine that made the archive, or about when.
const OF_MACHINE: [&str; 12] = [
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/apt/sources.list",
    "etc/apt/sources.list.d",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "var/cache/apt",
    "var/cache/ldconfig",
    "var/lib/apt",
    "var/log",
];

/// Facts about the files of a base.
#[derive(Default)]
pub(in super::super) struct RootFacts {
    pub(super) has_shell: bool,
    status: Vec<u8>,
}

impl RootFacts {
    /// Returns the packages of the system.
    pub(super) fn packages(&self) -> Vec<BasePackage> {
        parse_status(&self.status)
    }
}

/// Rewrites an archive of the operator.
pub(in super::super) fn rewrite_file(path: &Path, out: &mut impl Write) -> anyhow::Result<RootFacts> {
    let file = File::open(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    let input = decompress(file).with_context(|| format!("cannot read '{}'", path.display()))?;
    rewrite(input, out, |_| true).map_err(|err| {
        if is_unreadable(&err) { errors::no_base(path, "it is no complete tar archive").into() } else { err }
    })
}

/// Error of what is no tar archive, or not all of one.
#[derive(Debug)]
pub(super) struct UnreadableArchive;

impl fmt::Display for UnreadableArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no complete tar archive")
    }
}

impl std::error::Error for UnreadableArchive {}

/// Returns whether an archive could not be read, and not what is made of it written.
pub(super) fn is_unreadable(err: &anyhow::Error) -> bool {
    err.downcast_ref::<UnreadableArchive>().is_some()
}

/// Opens an archive that is plain or compressed by zstd.
fn decompress(file: File) -> anyhow::Result<Box<dyn Read>> {
    let mut head = [0; 4];
    let mut file = BufReader::with_capacity(1 << 16, file);
    let read = (&mut file).take(4).read(&mut head)?;
    match head {
        ZSTD => Ok(Box::new(zstd::Decoder::new(io::Cursor::new(ZSTD).chain(file))?)),
        [0x1f, 0x8b, ..] => Err(errors::compressed("gzip", "gunzip").into()),
        [0xfd, b'7', b'z', b'X'] => Err(errors::compressed("xz", "unxz").into()),
        _ => Ok(Box::new(io::Cursor::new(head[..read].to_vec()).chain(file))),
    }
}

/// Rewrites the entries that are `wanted`.
pub(super) fn rewrite(
    input: impl Read,
    out: &mut impl Write,
    wanted: impl FnMut(&Path) -> bool,
) -> anyhow::Result<RootFacts> {
    let mut tar = Builder::new(out);
    let facts = rewrite_into(input, &mut tar, wanted)?;
    tar.into_inner().and_then(Write::flush).context("cannot write the image")?;
    Ok(facts)
}

/// Rewrites the entries that are `wanted` into an archive that is not ended.
pub(super) fn rewrite_into(
    input: impl Read,
    tar: &mut Builder<impl Write>,
    mut wanted: impl FnMut(&Path) -> bool,
) -> anyhow::Result<RootFacts> {
    let mut facts = RootFacts::default();
    let mut names = EntryNames::default();
    let (mut count, mut bytes) = (0, 0_u64);
    for entry in Archive::new(input).entries().map_err(|_| UnreadableArchive)?.raw(true) {
        interrupt::check()?;
        let mut entry = entry.map_err(|_| UnreadableArchive)?;
        if names.take(&mut entry)? {
            continue;
        }
        let (name, target) = names.apply(&entry)?;
        let cannot = || format!("cannot pack '{}' of the base", name.display());
        count += 1;
        bytes = bytes.saturating_add(entry.size());
        if count > MOST_ENTRIES || bytes > MOST_BYTES {
            return Err(errors::large_base(MOST_BYTES, MOST_ENTRIES)).with_context(cannot);
        }
        let Some(path) = plain_path(&name).with_context(cannot)? else { continue };
        if is_of_machine(&path) || !wanted(&path) {
            continue;
        }
        if layer_content::is_whiteout(&path) {
            return Err(errors::whiteout(&path)).with_context(cannot);
        }
        facts.has_shell |= ["bin/sh", "usr/bin/sh"].iter().any(|shell| path == Path::new(shell));
        rewrite_entry(entry, &path, target, tar, &mut facts).with_context(cannot)?;
    }
    Ok(facts)
}

fn rewrite_entry<R: Read, W: Write>(
    mut entry: Entry<'_, R>,
    path: &Path,
    target: Option<PathBuf>,
    tar: &mut Builder<W>,
    facts: &mut RootFacts,
) -> anyhow::Result<()> {
    let kind = entry.header().entry_type();
    let (mode, time) = (entry.header().mode()? & 0o1777, entry.header().mtime()?);
    match kind {
        EntryType::Directory => append(tar, &mut owned(kind, mode, 0, 0, 0), path, io::empty()),
        EntryType::Regular | EntryType::Continuous => {
            let size = entry.size();
            if path == Path::new(STATUS) && size <= LONGEST_STATUS {
                entry.read_to_end(&mut facts.status)?;
                let mut header = owned(EntryType::Regular, mode, time, size, 0);
                return append(tar, &mut header, path, facts.status.as_slice());
            }
            append(tar, &mut owned(EntryType::Regular, mode, time, size, 0), path, entry)
        }
        EntryType::Symlink => {
            let target = target.context("a link without a target")?;
            let mut header = owned(kind, 0o777, 0, 0, 0);
            tar.append_link(&mut header, path, target).context("cannot write the image")
        }
        EntryType::Link => {
            let target = target.context("a link without a target")?;
            let target = plain_path(&target)?.context("a hard link to the top of the archive")?;
            let mut header = owned(kind, mode, time, 0, 0);
            tar.append_link(&mut header, path, target).context("cannot write the image")
        }
        // Devices, pipes, and headers of no file.
        _ => Ok(()),
    }
}

/// Returns the path without the dot in front; `None` of the top itself.
///
/// # Errors
/// Fails if the path leads out of the archive.
fn plain_path(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                bail!("'{}' leads out of the archive", path.display())
            }
        }
    }
    Ok((plain.components().count() > 0).then_some(plain))
}

/// Returns whether the file says something of the machine that made the archive, or comes from the one that runs
/// the image.
pub(in super::super) fn is_of_machine(path: &Path) -> bool {
    OF_MACHINE.iter().any(|name| path.starts_with(name))
        || RUNTIME.iter().any(|top| path.starts_with(top) && path != Path::new(top))
}

/// Reads the installed packages from Debian's list.
pub(super) fn parse_status(text: &[u8]) -> Vec<BasePackage> {
    let text = String::from_utf8_lossy(text);
    let mut packages: Vec<BasePackage> = text.split("\n\n").filter_map(parse_package).collect();
    packages.sort_by(|one, other| (&one.name, &one.architecture).cmp(&(&other.name, &other.architecture)));
    packages
}

fn parse_package(paragraph: &str) -> Option<BasePackage> {
    let field = |name: &str| {
        let mut lines = paragraph.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .map(|value| value.trim().to_owned())
    };
    let is_installed = field("Status")?.ends_with(" installed");
    let package = BasePackage {
        name: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
    };
    is_installed.then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_of_no_machine() {
        let mut tar = Builder::new(Vec::new());
        let mut add = |name: &str, kind: EntryType, mode: u32, text: &str| {
            let mut header = owned(kind, mode, 5, text.len() as u64, 42);
            append(&mut tar, &mut header, Path::new(name), text.as_bytes()).unwrap();
        };
        let status = "Package: dash\nStatus: install ok installed\nVersion: 0.5\nArchitecture: amd64\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n";
        add("./bin", EntryType::Directory, 0o755, "");
        add("./bin/sh", EntryType::Regular, 0o6755, "sh");
        add("./dev", EntryType::Directory, 0o755, "");
        add("./dev/null", EntryType::Char, 0o666, "");
        add("./etc/hostname", EntryType::Regular, 0o644, "secret");
        add("./tmp", EntryType::Directory, 0o1777, "");
        add("./var/lib/dpkg/status", EntryType::Regular, 0o644, status);
        let bytes = tar.into_inner().unwrap();
        let mut out = Vec::new();
        let facts = rewrite(bytes.as_slice(), &mut out, |_| true).unwrap();
        let names: Vec<String> = Archive::new(out.as_slice())
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                format!(
                    "{} {:o} {}",
                    entry.path().unwrap().display(),
                    header.mode().unwrap(),
                    header.uid().unwrap()
                )
            })
            .collect();
        assert_eq!(
            names,
            ["bin 755 0", "bin/sh 755 0", "dev 755 0", "tmp 1777 0", "var/lib/dpkg/status 644 0"]
        );
        assert!(facts.has_shell);
        let package =
            BasePackage { name: "dash".into(), version: "0.5".into(), architecture: "amd64".into() };
        assert_eq!(facts.packages(), [package]);
    }

    #[test]
    fn paths_stay_in_the_archive() {
        let plain_path = |path: &str| plain_path(Path::new(path)).ok();
        assert_eq!(plain_path("./usr/bin"), Some(Some("usr/bin".into())));
        assert_eq!(plain_path("/usr"), Some(Some("usr".into())));
        assert_eq!(plain_path("../etc"), None);
        assert_eq!(plain_path("./"), Some(None));
    }

    /// Rewrites an archive of one entry; `before` is in front of it.
    fn rewritten(before: &[(EntryType, &[u8])], kind: EntryType, name: &str, size: u64) -> String {
        let mut tar = Builder::new(Vec::new());
        for (kind, text) in before {
            let mut header = owned(*kind, 0o644, 0, text.len() as u64, 0);
            header.set_cksum();
            tar.append(&header, *text).unwrap();
        }
        let mut header = owned(kind, 0o644, 0, size, 0);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, io::empty()).unwrap();
        let bytes = tar.into_inner().unwrap();
        let mut out = Vec::new();
        if let Err(err) = rewrite(bytes.as_slice(), &mut out, |_| true) {
            return format!("{err:#}");
        }
        let mut archive = Archive::new(out.as_slice());
        let paths = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
        paths.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn hostile_archives_are_refused_with_the_place() {
        let file = |name: &str, size| rewritten(&[], EntryType::Regular, name, size);
        assert_eq!(file("a/b", 0), "a/b");
        assert_eq!(
            file("a/../../etc", 0),
            "cannot pack 'a/../../etc' of the base: 'a/../../etc' leads out of the archive"
        );
        assert!(
            file("a/.wh.b", 0)
                .starts_with("cannot pack 'a/.wh.b' of the base: 'a/.wh.b' cannot be in an image")
        );
        assert!(
            file("a", MOST_BYTES + 1)
                .starts_with("cannot pack 'a' of the base: the base has more than 16.0 GiB")
        );
        assert!(rewritten(&[], EntryType::GNUSparse, "a", 0).contains("'a' of the base is sparse"));
        // Names in front of an entry.
        let long = [b'x'; 5000];
        assert_eq!(rewritten(&[(EntryType::GNULongName, b"long\0")], EntryType::Regular, "a", 0), "long");
        assert_eq!(rewritten(&[(EntryType::XHeader, b"13 path=long\n")], EntryType::Regular, "a", 0), "long");
        // The value of an attribute may be binary.
        let attribute = b"27 SCHILY.xattr.user.x=\n1\0\n13 path=long\n";
        assert_eq!(rewritten(&[(EntryType::XHeader, attribute)], EntryType::Regular, "a", 0), "long");
        for (kind, text, why) in [
            (EntryType::XHeader, &b"99 path=long\n"[..], "it is no complete tar archive"),
            (EntryType::XHeader, b"3 path=long\n", "it is no complete tar archive"),
            (EntryType::GNULongName, &long[..], "a name in the base is longer than 4096 bytes"),
            (EntryType::XHeader, b"zz\n", "it is no complete tar archive"),
            (EntryType::XHeader, b"11 path=..\n", "'..' leads out of the archive"),
            (EntryType::XHeader, b"22 GNU.sparse.major=1\n", "'a' of the base is sparse"),
            (EntryType::XHeader, b"20 size=99999999999\n", "'a' of the base has more than 8 GiB"),
        ] {
            let told = rewritten(&[(kind, text)], EntryType::Regular, "a", 0);
            assert!(told.contains(why), "{told}");
        }
    }
}
