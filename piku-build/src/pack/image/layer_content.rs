//! Content of a layer, and its form as a tar archive.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use piku_files::{FileStat, TreeFile, TreeHandle};
use tar::{Builder, EntryType, Header};

use super::super::write::{append, header, seconds};
use super::USER;
use super::base::root_archive;
use crate::errors::image as errors;
use crate::step::interrupt;

/// Prefix of the names by which a layer removes files of the layers below it.
const WHITEOUT: &[u8] = b".wh.";

/// Trees, files and directories of a layer.
#[derive(Default)]
pub(super) struct LayerContent {
    pub(super) trees: Vec<LayerTree>,
    pub(super) files: Vec<LayerFile>,
    /// Directories of the app's user.
    pub(super) folders: Vec<PathBuf>,
}

/// A tree in a layer.
pub(super) struct LayerTree {
    pub(super) tree: TreeHandle,
    /// Place in the image, without the slash in front.
    pub(super) at: PathBuf,
    pub(super) owner: u64,
    /// Paths below the tree that other layers cover.
    pub(super) hidden: Vec<PathBuf>,
    pub(super) kind: TreeKind,
}

/// Content of a tree, which decides about modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TreeKind {
    /// Files of a release: as git would have them, readable for the app whichever umask a build had.
    Release,
    /// A system of the operator, without set-uid bits and what belongs to one machine.
    System,
}

impl TreeKind {
    fn mode(self, stat: &FileStat) -> u32 {
        match self {
            Self::System => stat.mode & 0o1777,
            Self::Release if stat.is_dir() || stat.mode & 0o100 != 0 => 0o755,
            Self::Release => 0o644,
        }
    }
}

/// A file of piku's in a layer.
pub(super) struct LayerFile {
    /// Path in the image, without the slash in front.
    pub(super) path: PathBuf,
    pub(super) text: Vec<u8>,
    pub(super) mode: u32,
}

impl LayerContent {
    /// Returns a name for messages.
    pub(super) fn name(&self) -> String {
        self.trees.first().map_or_else(String::new, |tree| format!("'{}'", tree.tree.path().display()))
    }

    /// Writes the archive. Directories have no dates and files those of the release, which Python compares with
    /// those in its bytecode.
    pub(super) fn write(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut writer = LayerWriter { tar: Builder::new(out), folders: BTreeSet::new() };
        for path in &self.folders {
            writer.folder(path, 0o755, USER)?;
        }
        for file in &self.files {
            writer.parents(&file.path)?;
            let size = file.text.len() as u64;
            let mut header = owned(EntryType::Regular, file.mode, 0, size, 0);
            append(&mut writer.tar, &mut header, &file.path, file.text.as_slice())?;
        }
        for tree in &self.trees {
            writer.tree(tree)?;
        }
        writer.tar.into_inner().and_then(Write::flush).context("cannot write the image")
    }
}

/// Writer of a layer.
struct LayerWriter<W: Write> {
    tar: Builder<W>,
    /// The directories so far.
    folders: BTreeSet<PathBuf>,
}

impl<W: Write> LayerWriter<W> {
    fn tree(&mut self, part: &LayerTree) -> anyhow::Result<()> {
        self.parents(&part.at)?;
        part.tree.walk_sorted(Path::new(""), |below, stat| {
            interrupt::check()?;
            let is_left_out = part.hidden.iter().any(|hidden| below.starts_with(hidden))
                || part.kind == TreeKind::System && root_archive::is_of_machine(below);
            let name = if below == Path::new("") { part.at.clone() } else { part.at.join(below) };
            if is_left_out || name == Path::new("") {
                return Ok(());
            }
            self.entry(part, below, &name, stat)
                .with_context(|| format!("cannot pack '{}'", part.tree.path().join(below).display()))
        })
    }

    fn entry(&mut self, part: &LayerTree, below: &Path, name: &Path, stat: &FileStat) -> anyhow::Result<()> {
        if is_whiteout(name) {
            return Err(errors::whiteout(below).into());
        }
        if stat.is_dir() {
            self.folder(name, part.kind.mode(stat), part.owner)
        } else if stat.is_symlink() {
            let target = part.tree.read_link(below)?;
            let mut header = owned(EntryType::Symlink, 0o777, 0, 0, part.owner);
            self.tar.append_link(&mut header, name, &target).context("cannot write the image")
        } else if stat.is_file() {
            let TreeFile { file, stat } = part.tree.open_file_nofollow(below)?;
            let mut header =
                owned(EntryType::Regular, part.kind.mode(&stat), seconds(&stat), stat.len, part.owner);
            let mut content = CountedReader { content: io::Read::take(file, stat.len), bytes: 0 };
            let reader = BufReader::with_capacity(1 << 16, &mut content);
            append(&mut self.tar, &mut header, name, reader)?;
            ensure!(content.bytes == stat.len, "it became shorter while it was packed");
            Ok(())
        } else {
            // Pipes, sockets and devices; the search for requirements has named them.
            Ok(())
        }
    }

    /// Writes the directories above a path that are not there yet.
    fn parents(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
        above.reverse();
        for folder in above {
            let is_of_app = ["app", "data"].iter().any(|top| folder.starts_with(top));
            self.folder(folder, 0o755, if is_of_app { USER } else { 0 })?;
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path, mode: u32, owner: u64) -> anyhow::Result<()> {
        if !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        append(&mut self.tar, &mut owned(EntryType::Directory, mode, 0, 0, owner), path, io::empty())
    }
}

/// Returns whether a file of this name removes files of the layers below.
pub(super) fn is_whiteout(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(WHITEOUT))
}

/// Reader that counts, so that a file that becomes shorter is noticed.
struct CountedReader<R> {
    content: R,
    bytes: u64,
}

impl<R: io::Read> io::Read for CountedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Returns the header of an entry that belongs to a user and its group.
pub(super) fn owned(kind: EntryType, mode: u32, time: u64, size: u64, owner: u64) -> Header {
    let mut header = header(kind, mode, time, size);
    header.set_uid(owner);
    header.set_gid(owner);
    header
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn content(dir: &Path) -> LayerContent {
        let tree = TreeHandle::open(dir).unwrap();
        let part = LayerTree {
            tree,
            at: "app".into(),
            owner: USER,
            hidden: vec!["node_modules".into()],
            kind: TreeKind::Release,
        };
        let file = LayerFile { path: "usr/lib/piku/start".into(), text: b"x".to_vec(), mode: 0o755 };
        LayerContent { trees: vec![part], files: vec![file], folders: vec!["data".into()] }
    }

    #[test]
    fn archives_have_owners_and_modes_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/node_modules")).unwrap();
        fs::create_dir(dir.path().join("node_modules")).unwrap();
        fs::write(dir.path().join("node_modules/hidden"), "").unwrap();
        fs::write(dir.path().join("b/run"), "run").unwrap();
        fs::set_permissions(dir.path().join("b/run"), Permissions::from_mode(0o6700)).unwrap();
        fs::write(dir.path().join("a"), "a").unwrap();
        fs::set_permissions(dir.path().join("a"), Permissions::from_mode(0o600)).unwrap();
        symlink("/etc/ssl", dir.path().join("link")).unwrap();
        mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
        let mut bytes = Vec::new();
        content(dir.path()).write(&mut bytes).unwrap();
        let mut lines = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            let (header, path) = (entry.header(), entry.path().unwrap().display().to_string());
            lines.push(format!("{path} {:o} {}", header.mode().unwrap(), header.uid().unwrap()));
        }
        let expected = [
            "data 755 1000",
            "usr 755 0",
            "usr/lib 755 0",
            "usr/lib/piku 755 0",
            "usr/lib/piku/start 755 0",
            "app 755 1000",
            "app/a 644 1000",
            "app/b 755 1000",
            "app/b/node_modules 755 1000",
            "app/b/run 755 1000",
            "app/link 777 1000",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn names_that_remove_files_of_the_base_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".wh..wh..opq"), "").unwrap();
        let refused = content(dir.path()).write(&mut io::sink()).unwrap_err();
        assert!(format!("{refused:#}").contains("'.wh..wh..opq'"), "{refused:#}");
    }
}
