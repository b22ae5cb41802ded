//! Editing of `authorized_keys`: one process at a time, written to a temporary file and renamed, with mode
//! 0600 and the owner kept.

#![expect(clippy::disallowed_methods, reason = "authorized_keys of piku's user, which apps cannot reach")]

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::{Gid, Uid, fchown};
use piku_files::{FileLock, atomic_file};

/// A running edit, which excludes others until it is dropped.
#[derive(Debug)]
pub(super) struct KeyFileEdit {
    path: PathBuf,
    text: Vec<u8>,
    _folder: FileLock,
}

impl KeyFileEdit {
    /// Locks and reads the file, which may be missing.
    pub(super) fn begin(path: &Path) -> anyhow::Result<Self> {
        // A symlink to the file is kept.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let dir = parent_or_current(&path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot create '{}'", dir.display()))?;
        let folder = File::open(dir).with_context(|| format!("cannot open '{}'", dir.display()))?;
        // The directory is locked: a lock file would stay in .ssh.
        let folder =
            FileLock::exclusive(folder).with_context(|| format!("cannot lock '{}'", dir.display()))?;
        let text = read_or_empty(&path)?;
        Ok(Self { path, text, _folder: folder })
    }

    /// Returns the lines that are UTF-8; other lines contain no keys.
    pub(super) fn text_lines(&self) -> Vec<String> {
        lines_of(&self.text)
    }

    pub(super) fn append(&mut self, line: &str) {
        if !self.text.is_empty() && !self.text.ends_with(b"\n") {
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(line.as_bytes());
        self.text.push(b'\n');
    }

    /// Removes matching lines and returns whether there was one.
    pub(super) fn remove_lines(&mut self, is: impl Fn(&str) -> bool) -> bool {
        let before = self.text.len();
        let kept: Vec<&[u8]> = self
            .text
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| !std::str::from_utf8(line).is_ok_and(|line| is(line.trim_end())))
            .collect();
        self.text = kept.concat();
        self.text.len() != before
    }

    /// Replaces the lines for which there is another text.
    pub(super) fn replace_lines(&mut self, change: impl Fn(&str) -> Option<String>) {
        let changed = |line: &[u8]| {
            let new = change(std::str::from_utf8(line).ok()?.trim_end())?;
            Some([new.as_bytes(), b"\n"].concat())
        };
        let lines = self.text.split_inclusive(|byte| *byte == b'\n');
        self.text =
            lines.map(|line| changed(line).unwrap_or_else(|| line.to_owned())).collect::<Vec<_>>().concat();
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.replace_file().with_context(|| format!("cannot write '{}'", self.path.display()))
    }

    fn replace_file(&self) -> io::Result<()> {
        let dir = parent_or_current(&self.path);
        let mut aside = tempfile::Builder::new().prefix(".authorized_keys.").tempfile_in(dir)?;
        aside.write_all(&self.text)?;
        aside.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
        if Uid::effective().is_root() {
            // sshd reads the file as its user, so the owner must stay the same when root edits it.
            let owner = fs::metadata(&self.path).or_else(|_| fs::metadata(dir))?;
            fchown(&aside, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))?;
        }
        aside.as_file().sync_all()?;
        aside.persist(&self.path).map_err(|err| err.error)?;
        atomic_file::sync_parent(&self.path)
    }
}

/// Returns the lines of a file that may be missing.
pub(super) fn read_lines(path: &Path) -> anyhow::Result<Vec<String>> {
    read_or_empty(path).map(|text| lines_of(&text))
}

fn lines_of(text: &[u8]) -> Vec<String> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| std::str::from_utf8(line).ok()).map(|line| line.trim_end().to_owned()).collect()
}

fn read_or_empty(path: &Path) -> anyhow::Result<Vec<u8>> {
    match fs::read(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.with_context(|| format!("cannot read '{}'", path.display())),
    }
}

fn parent_or_current(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_edited_stays_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/.ssh/authorized_keys");
        let foreign = b"# comment \r\n\n  ssh-rsa  odd \xff bytes\nlast line without end".to_vec();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &foreign).unwrap();
        let mut edit = KeyFileEdit::begin(&path).unwrap();
        edit.append("one");
        edit.append("two");
        edit.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), [&foreign[..], b"\none\ntwo\n"].concat());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let mut edit = KeyFileEdit::begin(&path).unwrap();
        assert!(edit.remove_lines(|line| line == "one"));
        assert!(!edit.remove_lines(|line| line == "one"));
        edit.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), [&foreign[..], b"\ntwo\n"].concat());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("kept-elsewhere");
        fs::write(&target, "").unwrap();
        let link = dir.path().join("authorized_keys");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut edit = KeyFileEdit::begin(&link).unwrap();
        edit.append("x");
        edit.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "x\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
