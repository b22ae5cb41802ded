//! Writes trees to directories. Every file is created by name in its open directory, so that an entry that
//! the tree created before, such as a symlink, is never followed. The size of a tree is checked before
//! anything is written.
//!
//! Of an earlier export, files stay that are in the new tree too and have not been changed since, by the
//! index. All others are removed.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use git2::{Blob, Oid, Repository, Tree};
use piku_files::free_space::SpaceNeeded;
use piku_files::source_index::{FileMark, IndexContent, IndexEntry, IndexFile, IndexFolder, SourceKind};
use piku_files::{NewFiles, TreeHandle};
use piku_release::removals;
use piku_report::user_error::UserError;

use super::ExportOptions;
use super::blobs::BlobReader;
use super::count::{TreeCount, too_deep};
use super::entry::{ExportFolder, NewEntry, object_name, remove_others};
use super::link::{self, LinkRefusal};
use super::pointers::{self, PointerCount};
use super::submodules::SubmoduleRepos;
use crate::client::quoted;
use crate::repository;

/// Deepest nesting of directories; each level keeps a descriptor open.
pub(super) const DEEPEST: usize = 200;
/// Longest path in bytes: a prefix is added later, and the kernel allows 4096.
const LONGEST_PATH: usize = 3500;
/// Largest number of files: a small commit can repeat the same tree until the disk is full.
const MOST_ENTRIES: u64 = 1_000_000;
/// Beginning of an ELF file.
const NATIVE: &[u8] = b"\x7fELF";

pub(super) struct ExportWalk {
    modules: SubmoduleRepos,
    top: TreeHandle,
    /// Disk space that must stay free, in bytes.
    reserve: u64,
    /// Space for all new entries that were counted.
    need: SpaceNeeded,
    /// Number of all entries that were counted.
    entries: u64,
    pub(super) pointers: PointerCount,
    /// New files whose content is being written to the disk; `None` if the caller does that.
    written: Option<NewFiles>,
}

/// Position of the walk in one repository.
struct WalkPosition<'r> {
    repo: &'r Repository,
    /// Root of this repository's tree, with its `.gitmodules`.
    top: &'r Tree<'r>,
    /// Path of that root in the export: empty, or with a slash at its end.
    prefix: &'r str,
    /// Sizes of the files above [`LARGE`](super::blobs::LARGE).
    large: HashMap<Oid, u64>,
    blobs: BlobReader,
}

impl ExportWalk {
    /// Creates an export from the bare repository at `repo`, which also keeps fetched submodules, to a
    /// directory that is empty or holds an earlier export. With `written`, the content of new files is written
    /// to the disk.
    pub(super) fn new(
        repo: &Path,
        top: TreeHandle,
        options: &ExportOptions,
        written: Option<NewFiles>,
    ) -> Self {
        Self {
            modules: SubmoduleRepos::beside(repo, options),
            top,
            reserve: options.settings.reserve_bytes(),
            need: SpaceNeeded::default(),
            entries: 0,
            pointers: PointerCount::default(),
            written,
        }
    }

    /// Counts the space for a tree, each subtree once, and fails if the disk has too little. Returns the
    /// large files.
    fn count_tree(
        &mut self,
        repo: &Repository,
        tree: &Tree<'_>,
        old: Option<&IndexFolder>,
    ) -> anyhow::Result<HashMap<Oid, u64>> {
        let mut count = TreeCount::new(repo);
        let size = count.tree_size(tree, old, 0)?;
        self.need += size.need;
        self.entries = self.entries.saturating_add(size.entries);
        if self.entries > MOST_ENTRIES {
            return Err(UserError::new(format!("the commit holds more than {MOST_ENTRIES} files")).into());
        }
        removals::check_space_keeping(self.top.path(), size.need, self.reserve, "what was pushed")?;
        Ok(count.large)
    }

    /// Writes the root tree with everything below it. Of an earlier export, `old` is the index. Returns the
    /// new one.
    pub(super) fn write_root(
        &mut self,
        repo: &Repository,
        tree: &Tree<'_>,
        old: Option<&IndexFolder>,
    ) -> anyhow::Result<IndexFolder> {
        let large = self.count_tree(repo, tree, old)?;
        let top = self.top.clone();
        let mut at = WalkPosition { repo, top: tree, prefix: "", large, blobs: BlobReader::new(repo.path()) };
        let folder = ExportFolder { dir: &top, path: "", depth: 0, old, is_new: old.is_none() };
        self.write_folder(&mut at, tree, &folder)
    }

    /// Waits until the content of new files is on the disk.
    pub(super) fn write_out(&mut self) -> anyhow::Result<()> {
        self.written
            .iter_mut()
            .try_for_each(NewFiles::finish)
            .with_context(|| format!("cannot write '{}'", self.top.path().display()))
    }

    fn write_folder(
        &mut self,
        at: &mut WalkPosition<'_>,
        tree: &Tree<'_>,
        folder: &ExportFolder<'_>,
    ) -> anyhow::Result<IndexFolder> {
        if folder.depth > DEEPEST {
            return Err(too_deep().into());
        }
        let present = if folder.is_new { Vec::new() } else { remove_others(folder, tree)? };
        let olds = folder.old.map(IndexFolder::by_name).unwrap_or_default();
        let mut seen = HashSet::new();
        let mut index =
            IndexFolder { object: object_name(tree.id()), entries: Vec::with_capacity(tree.len()) };
        for entry in tree {
            let name = entry.name_bytes();
            let path = format!("{}{}", folder.path, String::from_utf8_lossy(name));
            check_name(name, &path)?;
            let new = NewEntry {
                entry: &entry,
                name: OsStr::from_bytes(name),
                path: &path,
                old: olds.get(name).copied(),
                present: present
                    .binary_search_by(|there| there.name.as_bytes().cmp(name))
                    .ok()
                    .map(|found| present[found].kind),
            };
            if !seen.insert(name.to_vec()) {
                let what =
                    format!("cannot write {}: the commit contains two files of this name", quoted(&path));
                return Err(anyhow::Error::msg(what));
            }
            let content = self.write_entry(at, folder, &new)?;
            index.entries.push(IndexEntry { name: name.to_vec(), content });
        }
        Ok(index)
    }

    fn write_entry(
        &mut self,
        at: &mut WalkPosition<'_>,
        folder: &ExportFolder<'_>,
        new: &NewEntry<'_>,
    ) -> anyhow::Result<IndexContent> {
        let mode = new.entry.filemode_raw();
        let kind = match mode & 0o170_000 {
            0o040_000 => return self.write_tree(at, folder, new),
            0o160_000 => return self.write_submodule(at, folder, new),
            0o120_000 => SourceKind::Link,
            0o100_000 if mode & 0o100 == 0 => SourceKind::File,
            0o100_000 => SourceKind::Program,
            kind => {
                let what = format!("{} is of the unknown kind {kind:o}", quoted(new.path));
                return Err(UserError::new(what).into());
            }
        };
        let file = match new.unchanged(folder.dir, kind) {
            Some(old) => old.clone(),
            None => self.write_file(at, folder, new, kind)?,
        };
        if file.is_pointer {
            self.pointers.add(new.path);
        }
        Ok(IndexContent::File(file))
    }

    fn write_tree(
        &mut self,
        at: &mut WalkPosition<'_>,
        folder: &ExportFolder<'_>,
        new: &NewEntry<'_>,
    ) -> anyhow::Result<IndexContent> {
        let below = new.open_folder(folder.dir)?;
        if let Some(old) = new.unchanged_folder(&below) {
            self.pointers.add_folder(new.path, old);
            return Ok(IndexContent::Folder(Arc::clone(old)));
        }
        let tree = at
            .repo
            .find_tree(new.entry.id())
            .map_err(repository::plain_error)
            .with_context(|| unreadable_message(new.path))?;
        let path = format!("{}/", new.path);
        let inner = new.inner_folder(&below, &path, folder.depth);
        self.write_folder(at, &tree, &inner).map(Arc::new).map(IndexContent::Folder)
    }

    fn write_file(
        &mut self,
        at: &mut WalkPosition<'_>,
        folder: &ExportFolder<'_>,
        new: &NewEntry<'_>,
        kind: SourceKind,
    ) -> anyhow::Result<IndexFile> {
        let (dir, name, id) = (folder.dir, new.name, new.entry.id());
        let unwritten = || format!("cannot write {}", quoted(new.path));
        if new.present.is_some() {
            dir.remove_all(name).with_context(unwritten)?;
        }
        let blob = match at.large.get(&id) {
            Some(_) => None,
            None => Some(
                at.repo
                    .find_blob(id)
                    .map_err(repository::plain_error)
                    .with_context(|| unreadable_message(new.path))?,
            ),
        };
        let begin = match &blob {
            _ if kind == SourceKind::Link => {
                write_link(folder, new, blob.as_ref())?;
                FileBegin::default()
            }
            Some(blob) => {
                let mut file = create_file(folder, new, kind)?;
                file.write_all(blob.content()).with_context(unwritten)?;
                self.add_written(file).with_context(unwritten)?;
                FileBegin::of_content(blob.content())
            }
            None => {
                let bytes = at.large.get(&id).copied().unwrap_or_default();
                let mut file = create_file(folder, new, kind)?;
                at.blobs.copy_blob(id, bytes, &mut file).with_context(unwritten)?;
                let mut start = [0; NATIVE.len()];
                let written = dir.open_file_nofollow(name)?.file;
                (&written).take(start.len() as u64).read_exact(&mut start).with_context(unwritten)?;
                self.add_written(file).with_context(unwritten)?;
                FileBegin { is_native: start == *NATIVE, is_pointer: false }
            }
        };
        let FileBegin { is_native, is_pointer } = begin;
        let mark = FileMark::of(&dir.symlink_metadata(name)?);
        Ok(IndexFile { object: object_name(id), kind, is_native, is_pointer, mark })
    }

    fn add_written(&mut self, file: File) -> io::Result<()> {
        self.written.as_mut().map_or(Ok(()), |written| written.add(file))
    }

    fn write_submodule(
        &mut self,
        at: &WalkPosition<'_>,
        folder: &ExportFolder<'_>,
        new: &NewEntry<'_>,
    ) -> anyhow::Result<IndexContent> {
        let (commit, path) = (new.entry.id(), new.path);
        let inner = path.strip_prefix(at.prefix).unwrap_or(path);
        let repo = self.modules.fetch_repository(at.repo, at.top, inner, path, commit)?;
        let tree = repo
            .find_commit(commit)
            .and_then(|commit| commit.tree())
            .map_err(repository::plain_error)
            .with_context(|| unreadable_message(path))?;
        let large = self.count_tree(&repo, &tree, new.old_folder().map(AsRef::as_ref))?;
        let below = new.open_folder(folder.dir)?;
        let prefix = format!("{path}/");
        let blobs = BlobReader::new(repo.path());
        let mut at = WalkPosition { repo: &repo, top: &tree, prefix: &prefix, large, blobs };
        let inner = new.inner_folder(&below, &prefix, folder.depth);
        self.write_folder(&mut at, &tree, &inner).map(Arc::new).map(IndexContent::Folder)
    }
}

/// Facts that the first bytes of a file tell.
#[derive(Debug, Clone, Copy, Default)]
struct FileBegin {
    is_native: bool,
    /// True for a Git LFS pointer.
    is_pointer: bool,
}

impl FileBegin {
    fn of_content(content: &[u8]) -> Self {
        Self { is_native: content.starts_with(NATIVE), is_pointer: pointers::is_pointer(content) }
    }
}

fn create_file(folder: &ExportFolder<'_>, new: &NewEntry<'_>, kind: SourceKind) -> anyhow::Result<File> {
    let mode = if kind == SourceKind::Program { 0o755 } else { 0o644 };
    folder.dir.create_file(new.name, mode).with_context(|| format!("cannot write {}", quoted(new.path)))
}

/// Writes a symlink, whose target is not among the large files.
fn write_link(folder: &ExportFolder<'_>, new: &NewEntry<'_>, blob: Option<&Blob<'_>>) -> anyhow::Result<()> {
    let refuse = |target: &[u8], refusal| link_error(new.path, target, refusal);
    let Some(blob) = blob else {
        return Err(refuse(b"a target of megabytes", LinkRefusal::NoPath).into());
    };
    let target = blob.content();
    link::check_link(target, folder.depth).map_err(|refusal| refuse(target, refusal))?;
    folder
        .dir
        .symlink(OsStr::from_bytes(target), new.name)
        .with_context(|| format!("cannot write {}", quoted(new.path)))
}

/// Refuses names that git does not create, but a hand-written tree can contain.
fn check_name(name: &[u8], path: &str) -> Result<(), UserError> {
    let bad = name.is_empty()
        || name == b"."
        || name == b".."
        || name.eq_ignore_ascii_case(b".git")
        || name.contains(&b'/')
        || name.contains(&0);
    if bad {
        let failure = UserError::new(format!("a commit must not contain a file named {}", quoted(path)));
        return Err(failure.hint("git does not create such a commit; commit again from a clean clone"));
    }
    if path.len() > LONGEST_PATH {
        let what = format!("the path {} is longer than {LONGEST_PATH} bytes", quoted(path));
        return Err(UserError::new(what).hint("give its folders shorter names"));
    }
    Ok(())
}

pub(super) fn unreadable_message(path: &str) -> String {
    format!("cannot read {} from the repository", quoted(path))
}

fn link_error(path: &str, target: &[u8], refusal: LinkRefusal) -> UserError {
    let target = quoted(&String::from_utf8_lossy(target));
    let why = match refusal {
        LinkRefusal::Outside => "leads out of the app",
        LinkRefusal::UpAfterDown => "goes down and up again, so that it could lead out of the app",
        LinkRefusal::NoPath => "is not a path",
    };
    let failure = UserError::new(format!("the link {} to {target} {why}", quoted(path)));
    failure.hint("a link may point within the repository, or below /app or /data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_would_not_write() {
        for bad in [&b""[..], b".", b"..", b".git", b".GIT", b".Git", b"a/b", b"/", b"a\0b"] {
            assert!(check_name(bad, "x").is_err(), "{bad:?}");
        }
        for good in [&b"a"[..], b".gitignore", b".gitmodules", b"...", b"-rf", b"a b", b"\xff", b"a\nb"] {
            assert!(check_name(good, "x").is_ok(), "{good:?}");
        }
    }
}
