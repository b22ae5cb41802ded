//! Writes trees to directories. Every file is created by name in its open directory, so that an entry that
//! the tree created before, such as a symlink, is never followed. The size of a tree is checked before
//! anything is written.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context;
use git2::{Oid, Repository, Tree, TreeEntry};
use piku_files::free_space::{self, SpaceNeeded};
use piku_files::{TreeError, TreeHandle};
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use super::blobs::{BlobReader, LARGE};
use super::link::{self, LinkRefusal};
use super::submodules::SubmoduleRepos;
use crate::client::quoted;
use crate::repository;

/// Deepest nesting of directories; each level keeps a descriptor open.
const DEEPEST: usize = 200;
/// Longest path in bytes: a prefix is added later, and the kernel allows 4096.
const LONGEST_PATH: usize = 3500;
/// Largest number of files: a small commit can repeat the same tree until the disk is full.
const MOST_ENTRIES: u64 = 1_000_000;
/// Beginning of a Git LFS pointer, which is at most a kilobyte long.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
const LONGEST_POINTER: usize = 1024;

pub(super) struct ExportWalk {
    modules: SubmoduleRepos,
    top: TreeHandle,
    /// Disk space that must stay free, in bytes.
    reserve: u64,
    /// Space for all trees that were counted.
    need: SpaceNeeded,
    pointers: usize,
    first_pointer: String,
}

/// Position of the walk in one repository.
struct WalkPosition<'r> {
    repo: &'r Repository,
    /// Root of this repository's tree, with its `.gitmodules`.
    top: &'r Tree<'r>,
    /// Path of that root in the export: empty, or with a slash at its end.
    prefix: &'r str,
    /// Sizes of the files above [`LARGE`].
    large: HashMap<Oid, u64>,
    blobs: BlobReader,
}

struct ExportFolder<'a> {
    dir: &'a TreeHandle,
    /// Path: empty, or with a slash at its end.
    path: &'a str,
    /// Number of slashes in the path.
    depth: usize,
}

impl ExportWalk {
    /// Creates an export from the bare repository at `repo`, which also keeps fetched submodules, to an
    /// empty directory.
    pub(super) fn new(repo: &Path, top: TreeHandle, settings: &HostSettings) -> Self {
        Self {
            modules: SubmoduleRepos::beside(repo, settings),
            top,
            reserve: settings.reserve_bytes(),
            need: SpaceNeeded::default(),
            pointers: 0,
            first_pointer: String::new(),
        }
    }

    /// Counts the space for a tree, each subtree once, and fails if the disk has too little. Returns the
    /// large files.
    fn count_tree(&mut self, repo: &Repository, tree: &Tree<'_>) -> anyhow::Result<HashMap<Oid, u64>> {
        let mut count = TreeCount { repo, known: HashMap::new(), large: HashMap::new() };
        let need = count.space_needed(tree, 0)?;
        self.need += need;
        if self.need.files > MOST_ENTRIES {
            return Err(UserError::new(format!("the commit holds more than {MOST_ENTRIES} files")).into());
        }
        free_space::check_keeping(self.top.path(), need, self.reserve, "what was pushed")?;
        Ok(count.large)
    }

    /// Writes the root tree with everything below it.
    pub(super) fn write_root(&mut self, repo: &Repository, tree: &Tree<'_>) -> anyhow::Result<()> {
        let large = self.count_tree(repo, tree)?;
        let top = self.top.clone();
        let mut at = WalkPosition { repo, top: tree, prefix: "", large, blobs: BlobReader::new(repo.path()) };
        self.write_folder(&mut at, tree, &ExportFolder { dir: &top, path: "", depth: 0 })
    }

    /// Returns a warning about Git LFS pointers, if there are any.
    pub(super) fn lfs_warning(&self) -> Option<String> {
        let more = match self.pointers {
            0 => return None,
            1 => "is a pointer".to_owned(),
            n => format!("and {} more are pointers", n - 1),
        };
        let first = quoted(&self.first_pointer);
        Some(format!(
            "{first} {more} to Git LFS and deployed as such: piku does not support LFS; 'git lfs migrate export --everything --include=…' converts them"
        ))
    }

    fn write_folder(
        &mut self,
        at: &mut WalkPosition<'_>,
        tree: &Tree<'_>,
        folder: &ExportFolder<'_>,
    ) -> anyhow::Result<()> {
        if folder.depth > DEEPEST {
            return Err(too_deep().into());
        }
        for entry in tree {
            let name = entry.name_bytes();
            let path = format!("{}{}", folder.path, String::from_utf8_lossy(name));
            check_name(name, &path)?;
            self.write_entry(at, &entry, folder, &path)?;
        }
        Ok(())
    }

    fn write_entry(
        &mut self,
        at: &mut WalkPosition<'_>,
        entry: &TreeEntry<'_>,
        folder: &ExportFolder<'_>,
        path: &str,
    ) -> anyhow::Result<()> {
        let (repo, dir, name) = (at.repo, folder.dir, OsStr::from_bytes(entry.name_bytes()));
        let unwritten = || format!("cannot write {}", quoted(path));
        let large = at.large.get(&entry.id()).copied();
        match entry.filemode_raw() & 0o170_000 {
            0o040_000 => {
                let below = create_folder(dir, name).with_context(unwritten)?;
                let tree = repo
                    .find_tree(entry.id())
                    .map_err(repository::plain_error)
                    .with_context(|| unreadable_message(path))?;
                let path = format!("{path}/");
                self.write_folder(
                    at,
                    &tree,
                    &ExportFolder { dir: &below, path: &path, depth: folder.depth + 1 },
                )
            }
            0o100_000 => {
                let mode = if entry.filemode_raw() & 0o100 == 0 { 0o644 } else { 0o755 };
                let mut file =
                    dir.create_file(name, mode).map_err(duplicate_name_error).with_context(unwritten)?;
                if let Some(bytes) = large {
                    return at.blobs.copy_blob(entry.id(), bytes, &mut file).with_context(unwritten);
                }
                let blob = repo
                    .find_blob(entry.id())
                    .map_err(repository::plain_error)
                    .with_context(|| unreadable_message(path))?;
                self.note_pointer(blob.content(), path);
                file.write_all(blob.content()).with_context(unwritten)
            }
            0o120_000 => {
                let refuse = |target: &[u8], refusal| link_error(path, target, refusal);
                if large.is_some() {
                    return Err(refuse(b"a target of megabytes", LinkRefusal::NoPath).into());
                }
                let blob = repo
                    .find_blob(entry.id())
                    .map_err(repository::plain_error)
                    .with_context(|| unreadable_message(path))?;
                let target = blob.content();
                link::check_link(target, folder.depth).map_err(|refusal| refuse(target, refusal))?;
                dir.symlink(OsStr::from_bytes(target), name)
                    .map_err(duplicate_name_error)
                    .with_context(unwritten)
            }
            0o160_000 => self.write_submodule(at, entry.id(), folder, name, path),
            kind => Err(UserError::new(format!("{} is of the unknown kind {kind:o}", quoted(path))).into()),
        }
    }

    fn write_submodule(
        &mut self,
        at: &WalkPosition<'_>,
        commit: Oid,
        folder: &ExportFolder<'_>,
        name: &OsStr,
        path: &str,
    ) -> anyhow::Result<()> {
        let inner = path.strip_prefix(at.prefix).unwrap_or(path);
        let repo = self.modules.fetch_repository(at.repo, at.top, inner, path, commit)?;
        let tree = repo
            .find_commit(commit)
            .and_then(|commit| commit.tree())
            .map_err(repository::plain_error)
            .with_context(|| unreadable_message(path))?;
        let large = self.count_tree(&repo, &tree)?;
        let below =
            create_folder(folder.dir, name).with_context(|| format!("cannot write {}", quoted(path)))?;
        let prefix = format!("{path}/");
        let blobs = BlobReader::new(repo.path());
        let mut at = WalkPosition { repo: &repo, top: &tree, prefix: &prefix, large, blobs };
        self.write_folder(
            &mut at,
            &tree,
            &ExportFolder { dir: &below, path: &prefix, depth: folder.depth + 1 },
        )
    }

    fn note_pointer(&mut self, content: &[u8], path: &str) {
        if content.len() <= LONGEST_POINTER && content.starts_with(POINTER) {
            if self.pointers == 0 {
                path.clone_into(&mut self.first_pointer);
            }
            self.pointers += 1;
        }
    }
}

/// Counts the space for the trees of a repository.
struct TreeCount<'r> {
    repo: &'r Repository,
    /// Space for each object with everything below it.
    known: HashMap<Oid, SpaceNeeded>,
    large: HashMap<Oid, u64>,
}

impl TreeCount<'_> {
    /// Returns the space for the files and directories of a tree.
    fn space_needed(&mut self, tree: &Tree<'_>, depth: usize) -> anyhow::Result<SpaceNeeded> {
        if depth > DEEPEST {
            return Err(too_deep().into());
        }
        let objects =
            self.repo.odb().map_err(repository::plain_error).context("cannot read the repository")?;
        let mut sum = SpaceNeeded::default();
        for entry in tree {
            let unreadable = || unreadable_message(&String::from_utf8_lossy(entry.name_bytes()));
            let one = match (self.known.get(&entry.id()), entry.filemode_raw() & 0o170_000) {
                (Some(known), _) => *known,
                (None, 0o040_000) => {
                    let tree = self
                        .repo
                        .find_tree(entry.id())
                        .map_err(repository::plain_error)
                        .with_context(unreadable)?;
                    let mut folder = SpaceNeeded::of(0);
                    folder += self.space_needed(&tree, depth + 1)?;
                    folder
                }
                // A submodule is counted when it has been fetched.
                (None, 0o160_000) => SpaceNeeded::of(0),
                (None, _) => {
                    let (bytes, _) = objects
                        .read_header(entry.id())
                        .map_err(repository::plain_error)
                        .with_context(unreadable)?;
                    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                    if bytes > LARGE {
                        self.large.insert(entry.id(), bytes);
                    }
                    SpaceNeeded::of(bytes)
                }
            };
            self.known.insert(entry.id(), one);
            sum += one;
        }
        Ok(sum)
    }
}

fn too_deep() -> UserError {
    UserError::new(format!("the tree has folders deeper than {DEEPEST}"))
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

fn unreadable_message(path: &str) -> String {
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

fn create_folder(dir: &TreeHandle, name: &OsStr) -> anyhow::Result<TreeHandle> {
    dir.create_dir(name).map_err(duplicate_name_error)?;
    Ok(dir.subtree(name)?)
}

/// Returns the error for an entry that exists: since the directory was empty, it comes from the same tree.
fn duplicate_name_error(err: TreeError) -> anyhow::Error {
    match err.kind() {
        ErrorKind::AlreadyExists => anyhow::anyhow!("the commit contains two files of this name"),
        _ => err.into(),
    }
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
