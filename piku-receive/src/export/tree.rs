//! Trees to folders. Each file is made new, by name, in the folder it lies in; so what a strange tree has made before, such as a
//! link of the same name, is never followed. What a tree comes to is counted before anything of it is written.

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

/// Folders in folders; every one keeps a descriptor open.
const DEEPEST: usize = 200;
/// The longest path in bytes: what is put in front of it later on has to fit into the kernel's 4096 too.
const LONGEST_PATH: usize = 3500;
/// A small commit can name the same tree again and again until the disk is full.
const MOST_ENTRIES: u64 = 1_000_000;
/// How a Git LFS pointer begins; none is longer than a kilobyte.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
const LONGEST_POINTER: usize = 1024;

/// An export under way.
pub(super) struct ExportWalk {
    modules: SubmoduleRepos,
    /// Where to.
    top: TreeHandle,
    /// The disk space that stays free, in bytes.
    reserve: u64,
    /// What all the trees take that were counted.
    need: SpaceNeeded,
    pointers: usize,
    first_pointer: String,
}

/// Where the walk stands in one repository.
struct WalkPosition<'r> {
    repo: &'r Repository,
    /// The root of this repository's tree: there lies its `.gitmodules`.
    top: &'r Tree<'r>,
    /// The path of that root in the whole export; empty, or ends with a slash.
    prefix: &'r str,
    /// The files that are larger than [`LARGE`], and how large.
    large: HashMap<Oid, u64>,
    blobs: BlobReader,
}

/// The folder that is written to.
struct ExportFolder<'a> {
    dir: &'a TreeHandle,
    /// Its path, empty or with a slash at its end.
    path: &'a str,
    /// The number of slashes.
    depth: usize,
}

impl ExportWalk {
    /// An export from the bare repository at `repo`, which also keeps what is fetched for submodules, into an empty folder.
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

    /// Counts a repository's tree before it is written, each of its trees once however often it is named. Refuses what
    /// the disk has no room for. Returns the large files.
    fn count(&mut self, repo: &Repository, tree: &Tree<'_>) -> anyhow::Result<HashMap<Oid, u64>> {
        let mut count = TreeCount { repo, known: HashMap::new(), large: HashMap::new() };
        let need = count.need(tree, 0)?;
        self.need += need;
        if self.need.files > MOST_ENTRIES {
            return Err(UserError::new(format!("the commit holds more than {MOST_ENTRIES} files")).into());
        }
        free_space::check_keeping(self.top.path(), need, self.reserve, "what was pushed")?;
        Ok(count.large)
    }

    /// Writes the whole tree.
    pub(super) fn root(&mut self, repo: &Repository, tree: &Tree<'_>) -> anyhow::Result<()> {
        let large = self.count(repo, tree)?;
        let top = self.top.clone();
        let mut at = WalkPosition { repo, top: tree, prefix: "", large, blobs: BlobReader::new(repo.path()) };
        self.folder(&mut at, tree, &ExportFolder { dir: &top, path: "", depth: 0 })
    }

    /// The line that warns of Git LFS pointers, if there are any.
    pub(super) fn pointers(&self) -> Option<String> {
        let more = match self.pointers {
            0 => return None,
            1 => "is a pointer".to_owned(),
            n => format!("and {} more are pointers", n - 1),
        };
        let first = quoted(&self.first_pointer);
        Some(format!(
            "{first} {more} to Git LFS, deployed as such: piku has no LFS; 'git lfs migrate export --everything --include=…' brings the files back"
        ))
    }

    fn folder(
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
            self.entry(at, &entry, folder, &path)?;
        }
        Ok(())
    }

    fn entry(
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
                let below = new_folder(dir, name).with_context(unwritten)?;
                let tree = repo
                    .find_tree(entry.id())
                    .map_err(repository::plain_error)
                    .with_context(|| missing(path))?;
                let path = format!("{path}/");
                self.folder(at, &tree, &ExportFolder { dir: &below, path: &path, depth: folder.depth + 1 })
            }
            0o100_000 => {
                let mode = if entry.filemode_raw() & 0o100 == 0 { 0o644 } else { 0o755 };
                let mut file = dir.create_file(name, mode).map_err(twice).with_context(unwritten)?;
                if let Some(bytes) = large {
                    return at.blobs.copy(entry.id(), bytes, &mut file).with_context(unwritten);
                }
                let blob = repo
                    .find_blob(entry.id())
                    .map_err(repository::plain_error)
                    .with_context(|| missing(path))?;
                self.note_pointer(blob.content(), path);
                file.write_all(blob.content()).with_context(unwritten)
            }
            0o120_000 => {
                let refuse = |target: &[u8], refusal| refused_link(path, target, refusal);
                if large.is_some() {
                    return Err(refuse(b"a target of megabytes", LinkRefusal::NoPath).into());
                }
                let blob = repo
                    .find_blob(entry.id())
                    .map_err(repository::plain_error)
                    .with_context(|| missing(path))?;
                let target = blob.content();
                link::check(target, folder.depth).map_err(|refusal| refuse(target, refusal))?;
                dir.symlink(OsStr::from_bytes(target), name).map_err(twice).with_context(unwritten)
            }
            0o160_000 => self.submodule(at, entry.id(), folder, name, path),
            kind => Err(UserError::new(format!("{} is of the unknown kind {kind:o}", quoted(path))).into()),
        }
    }

    fn submodule(
        &mut self,
        at: &WalkPosition<'_>,
        commit: Oid,
        folder: &ExportFolder<'_>,
        name: &OsStr,
        path: &str,
    ) -> anyhow::Result<()> {
        let inner = path.strip_prefix(at.prefix).unwrap_or(path);
        let repo = self.modules.get(at.repo, at.top, inner, path, commit)?;
        let tree = repo
            .find_commit(commit)
            .and_then(|commit| commit.tree())
            .map_err(repository::plain_error)
            .with_context(|| missing(path))?;
        let large = self.count(&repo, &tree)?;
        let below = new_folder(folder.dir, name).with_context(|| format!("cannot write {}", quoted(path)))?;
        let prefix = format!("{path}/");
        let blobs = BlobReader::new(repo.path());
        let mut at = WalkPosition { repo: &repo, top: &tree, prefix: &prefix, large, blobs };
        self.folder(&mut at, &tree, &ExportFolder { dir: &below, path: &prefix, depth: folder.depth + 1 })
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

/// A repository's trees that are being counted.
struct TreeCount<'r> {
    repo: &'r Repository,
    /// The space that each object takes, with all below it.
    known: HashMap<Oid, SpaceNeeded>,
    large: HashMap<Oid, u64>,
}

impl TreeCount<'_> {
    /// Returns what the files and folders in a tree and all below it take.
    fn need(&mut self, tree: &Tree<'_>, depth: usize) -> anyhow::Result<SpaceNeeded> {
        if depth > DEEPEST {
            return Err(too_deep().into());
        }
        let objects =
            self.repo.odb().map_err(repository::plain_error).context("cannot read the repository")?;
        let mut sum = SpaceNeeded::default();
        for entry in tree {
            let unreadable = || missing(&String::from_utf8_lossy(entry.name_bytes()));
            let one = match (self.known.get(&entry.id()), entry.filemode_raw() & 0o170_000) {
                (Some(known), _) => *known,
                (None, 0o040_000) => {
                    let tree = self
                        .repo
                        .find_tree(entry.id())
                        .map_err(repository::plain_error)
                        .with_context(unreadable)?;
                    let mut folder = SpaceNeeded::of(0);
                    folder += self.need(&tree, depth + 1)?;
                    folder
                }
                // Another repository's: counted when it is there.
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

/// git itself makes no such name; somebody who writes trees by hand may.
fn check_name(name: &[u8], path: &str) -> Result<(), UserError> {
    let bad = name.is_empty()
        || name == b"."
        || name == b".."
        || name.eq_ignore_ascii_case(b".git")
        || name.contains(&b'/')
        || name.contains(&0);
    if bad {
        let failure = UserError::new(format!("a commit may hold no file named {}", quoted(path)));
        return Err(failure.hint("git makes no such commit; make it anew from a clean clone"));
    }
    if path.len() > LONGEST_PATH {
        let what = format!("the path {} is longer than {LONGEST_PATH} bytes", quoted(path));
        return Err(UserError::new(what).hint("give its folders shorter names"));
    }
    Ok(())
}

fn missing(path: &str) -> String {
    format!("cannot read {} from the repository", quoted(path))
}

fn refused_link(path: &str, target: &[u8], refusal: LinkRefusal) -> UserError {
    let target = quoted(&String::from_utf8_lossy(target));
    let why = match refusal {
        LinkRefusal::Outside => "leads out of the app",
        LinkRefusal::UpAfterDown => "goes down and up again, so that it could lead out of the app",
        LinkRefusal::NoPath => "is no path",
    };
    let failure = UserError::new(format!("the link {} to {target} {why}", quoted(path)));
    failure.hint("a link may point within the repository, or below /app or /data")
}

fn new_folder(dir: &TreeHandle, name: &OsStr) -> anyhow::Result<TreeHandle> {
    dir.create_dir(name).map_err(twice)?;
    Ok(dir.subtree(name)?)
}

/// The folder was empty: what is there is from this very tree.
fn twice(err: TreeError) -> anyhow::Error {
    match err.kind() {
        ErrorKind::AlreadyExists => anyhow::anyhow!("the commit holds two files of this name"),
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
