//! Bases for machines of another architecture, made without running one of their programs: their packages are unpacked,
//! and the files that the packages' scripts would make come from a base of this machine with the same packages.
//! Such files are accounts, certificates, and the links of `update-alternatives`; the architecture in their names
//! and texts is replaced.

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tar::{Archive, Builder, EntryType};

use super::super::super::write::append;
use super::super::blob::PackedFile;
use super::super::layer_content::owned;
use super::root_archive::{self, RootFacts};
use crate::step::interrupt;

/// Hook of mmdebstrap that lists the unpacked packages as installed ones.
pub(super) const LIST_PACKAGES: &str = r#"set -e
for deb in "$1"/var/cache/apt/archives/*.deb; do
    fields=$(dpkg-deb --field "$deb")
    printf '%s\n\n' "$fields" | sed '/^Package: /a Status: install ok installed'
done >"$1/var/lib/dpkg/status""#;
/// Debian's lists of the files of each package.
const LISTS: &str = "var/lib/dpkg/info";
/// Files that are made again where they are needed, or that are about the packages of one architecture.
const LEFT_OUT: [&str; 4] = ["etc/ld.so.cache", "var/cache", "var/lib/dpkg", "var/lib/systemd"];
/// Directories that are links to those of the same name below `/usr`.
const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];
/// Debian's architectures with the names of their directories of libraries.
const TRIPLETS: [(&str, &str); 9] = [
    ("amd64", "x86_64-linux-gnu"),
    ("arm64", "aarch64-linux-gnu"),
    ("armel", "arm-linux-gnueabi"),
    ("armhf", "arm-linux-gnueabihf"),
    ("i386", "i386-linux-gnu"),
    ("loong64", "loongarch64-linux-gnu"),
    ("ppc64el", "powerpc64le-linux-gnu"),
    ("riscv64", "riscv64-linux-gnu"),
    ("s390x", "s390x-linux-gnu"),
];
/// Size of the longest file that a package's script makes, in bytes.
const LONGEST: u64 = 64 << 20;
/// First bytes of a program.
const ELF: &[u8] = b"\x7fELF";

/// A base of this machine.
pub(super) struct NativeBase {
    /// Debian's name of its architecture.
    pub(super) architecture: String,
    pub(super) dir: PathBuf,
    pub(super) layer: PackedFile,
}

/// Rewriter of names and texts from one architecture to another.
struct ArchitectureNames<'a> {
    from: (&'a str, &'a str),
    to: (&'a str, &'a str),
}

/// Writes the unpacked packages of `input`, and what completes them.
pub(super) fn rewrite(
    input: impl Read,
    out: &mut impl Write,
    mut wanted: impl FnMut(&Path) -> bool,
    native: &NativeBase,
    architecture: &str,
) -> anyhow::Result<RootFacts> {
    let mut tar = Builder::new(out);
    let mut written = BTreeSet::new();
    let facts = root_archive::rewrite_into(input, &mut tar, |path| {
        let is_wanted = wanted(path);
        if is_wanted {
            written.insert(merged(path));
        }
        is_wanted
    })?;
    let names = ArchitectureNames::new(&native.architecture, architecture);
    complete(native, &names, &mut written, &mut tar)?;
    tar.into_inner().and_then(Write::flush).context("cannot write the image")?;
    Ok(facts)
}

/// Writes the files of the native base that belong to no package and are not `written`.
fn complete(
    native: &NativeBase,
    names: &ArchitectureNames<'_>,
    written: &mut BTreeSet<PathBuf>,
    tar: &mut Builder<impl Write>,
) -> anyhow::Result<()> {
    let of_packages = list_files(native)?;
    let cannot = || format!("cannot read '{}'", native.layer.path().display());
    let mut archive = Archive::new(reader(native));
    for entry in archive.entries().with_context(cannot)? {
        interrupt::check()?;
        let mut entry = entry.with_context(cannot)?;
        let path = entry.path().with_context(cannot)?.into_owned();
        let is_left_out = LEFT_OUT.iter().any(|left| path.starts_with(left));
        if is_left_out || of_packages.contains(&merged(&path)) {
            continue;
        }
        let Some(there) = names.replace_path(&path) else { continue };
        if written.contains(&merged(&there)) {
            continue;
        }
        let kind = entry.header().entry_type();
        let (mode, time) = (entry.header().mode()?, entry.header().mtime()?);
        match kind {
            EntryType::Directory => append(tar, &mut owned(kind, mode, 0, 0, 0), &there, std::io::empty())?,
            EntryType::Symlink => {
                let target = entry.link_name().with_context(cannot)?.unwrap_or_default();
                let Some(target) = names.replace_path(&target) else { continue };
                let mut header = owned(kind, mode, 0, 0, 0);
                tar.append_link(&mut header, &there, target).context("cannot write the image")?;
            }
            EntryType::Regular => {
                ensure!(
                    entry.size() <= LONGEST,
                    "'{}' of the base of this machine is too large",
                    path.display()
                );
                let mut content = Vec::new();
                entry.read_to_end(&mut content).with_context(cannot)?;
                let Some(content) = names.replace_content(content, there != path) else { continue };
                let mut header = owned(kind, mode, time, content.len() as u64, 0);
                append(tar, &mut header, &there, content.as_slice())?;
            }
            _ => continue,
        }
        written.insert(merged(&there));
    }
    Ok(())
}

/// Returns the paths of all files and directories of packages.
fn list_files(native: &NativeBase) -> anyhow::Result<BTreeSet<PathBuf>> {
    let cannot = || format!("cannot read '{}'", native.layer.path().display());
    let mut files = BTreeSet::new();
    let mut archive = Archive::new(reader(native));
    for entry in archive.entries().with_context(cannot)? {
        let mut entry = entry.with_context(cannot)?;
        let path = entry.path().with_context(cannot)?;
        if path.starts_with(LISTS) && path.extension().is_some_and(|kind| kind == "list") {
            let mut text = String::new();
            (&mut entry).take(LONGEST).read_to_string(&mut text).with_context(cannot)?;
            files.extend(text.lines().map(|line| merged(Path::new(line.trim_start_matches('/')))));
        }
    }
    ensure!(!files.is_empty(), "the base of this machine has no lists of the files of its packages");
    Ok(files)
}

fn reader(native: &NativeBase) -> BufReader<impl Read> {
    BufReader::with_capacity(1 << 16, native.layer.part(0, u64::MAX))
}

/// Returns the path by which a merged system knows it: `usr/bin/sh` for `bin/sh`.
fn merged(path: &Path) -> PathBuf {
    let is_below = |top: &&str| path.starts_with(top) && path != Path::new(top);
    if MERGED.iter().any(is_below) { Path::new("usr").join(path) } else { path.to_owned() }
}

impl<'a> ArchitectureNames<'a> {
    fn new(from: &'a str, to: &'a str) -> Self {
        let triplet = |name: &'a str| {
            let found = TRIPLETS.iter().find(|(debian, _)| *debian == name);
            (name, found.map_or("", |(_, triplet)| *triplet))
        };
        Self { from: triplet(from), to: triplet(to) }
    }

    fn replace(&self, text: &str) -> String {
        let text = match (self.from.1, self.to.1) {
            ("", _) | (_, "") => text.to_owned(),
            (from, to) => text.replace(from, to),
        };
        text.replace(&format!("-{}", self.from.0), &format!("-{}", self.to.0))
    }

    /// Returns the path for the other architecture; `None` if it is no UTF-8.
    fn replace_path(&self, path: &Path) -> Option<PathBuf> {
        path.to_str().map(|path| self.replace(path).into())
    }

    /// Returns the content for the other architecture; `None` of programs, and of binary files that are there for one
    /// architecture only.
    fn replace_content(&self, content: Vec<u8>, is_of_one: bool) -> Option<Vec<u8>> {
        if content.starts_with(ELF) {
            return None;
        }
        match String::from_utf8(content) {
            Ok(text) if !text.contains('\0') => Some(self.replace(&text).into_bytes()),
            Ok(text) => (!is_of_one).then(|| text.into_bytes()),
            Err(binary) => (!is_of_one).then(|| binary.into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entries = Vec<(String, String)>;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (path, kind, text) in entries {
            if *kind == EntryType::Symlink {
                tar.append_link(&mut owned(*kind, 0o777, 0, 0, 0), path, text).unwrap();
            } else {
                let mut header = owned(*kind, 0o644, 7, text.len() as u64, 0);
                append(&mut tar, &mut header, Path::new(path), text.as_bytes()).unwrap();
            }
        }
        tar.into_inner().unwrap()
    }

    fn list(bytes: &[u8]) -> Entries {
        let mut archive = Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let target = entry.link_name().unwrap().map(|target| format!("-> {}", target.display()));
            (entry.path().unwrap().display().to_string(), target.unwrap_or(text))
        });
        entries.collect()
    }

    #[test]
    fn files_of_scripts_come_from_the_base_of_this_machine() {
        use EntryType::{Directory, Regular, Symlink};
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("layer.tar");
        let native = archive(&[
            ("bin", Symlink, "usr/bin"),
            ("etc/passwd", Regular, "app:x:1000\n"),
            ("etc/alternatives/java", Symlink, "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"),
            ("etc/ld.so.cache", Regular, "cache"),
            ("usr/bin/dash", Regular, "\x7fELF of this machine"),
            ("usr/bin/made", Regular, "\x7fELF of this machine"),
            ("usr/lib/x86_64-linux-gnu/loaders", Regular, "/usr/lib/x86_64-linux-gnu/a.so\n"),
            ("usr/lib/x86_64-linux-gnu/binary", Regular, "a\0b"),
            ("usr/share/keys", Regular, "a\0b"),
            // Of a package, whose file for the other architecture has another name.
            ("usr/share/note", Regular, "a note"),
            ("usr/local/share/x", Directory, ""),
            ("var/lib/dpkg/info/dash.list", Regular, "/.\n/bin/dash\n/usr/share/doc\n/usr/share/note\n"),
            ("var/lib/dpkg/status", Regular, "Package: dash\n"),
        ]);
        #[expect(clippy::disallowed_methods, reason = "a file of the test")]
        std::fs::write(&layer, native).unwrap();
        let native = NativeBase {
            architecture: "amd64".to_owned(),
            dir: dir.path().to_owned(),
            layer: PackedFile::open(&layer).unwrap(),
        };
        let unpacked = archive(&[
            ("./bin", Symlink, "usr/bin"),
            ("./usr/bin/dash", Regular, "theirs"),
            ("./usr/share/doc/x", Regular, "not wanted"),
            (
                "./var/lib/dpkg/status",
                Regular,
                "Package: dash\nStatus: install ok installed\nVersion: 1\nArchitecture: arm64\n",
            ),
        ]);
        let mut out = Vec::new();
        let wanted = |path: &Path| !path.starts_with("usr/share/doc");
        let facts = rewrite(unpacked.as_slice(), &mut out, wanted, &native, "arm64").unwrap();
        assert_eq!(facts.packages()[0].architecture, "arm64");
        let found = list(&out);
        let found: Vec<_> = found.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        assert_eq!(
            [&found[..2], &found[3..]].concat(),
            [
                ("bin", "-> usr/bin"),
                ("usr/bin/dash", "theirs"),
                ("etc/passwd", "app:x:1000\n"),
                ("etc/alternatives/java", "-> /usr/lib/jvm/java-17-openjdk-arm64/bin/java"),
                ("usr/lib/aarch64-linux-gnu/loaders", "/usr/lib/aarch64-linux-gnu/a.so\n"),
                ("usr/share/keys", "a\0b"),
                ("usr/local/share/x", ""),
            ]
        );
        // One whose lists are missing would be taken for files of no package.
        let empty = NativeBase { layer: PackedFile::open(Path::new("/dev/null")).unwrap(), ..native };
        assert!(rewrite(unpacked.as_slice(), &mut Vec::new(), |_| true, &empty, "arm64").is_err());
    }
}
