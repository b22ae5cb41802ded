//! Trees to folders. Each file is made new, by name, below the descriptor of the folder it lies in; so what a strange tree
//! has made before, such as a link of the same name, is never followed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::{Oid, Repository, Tree, TreeEntry};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;
use piku_procfile::disk::{self, Need};
use piku_procfile::failure::Failure;

use super::link::{self, Refusal};
use super::modules::Modules;
use crate::git;
use crate::talk::quoted;

/// Folders in folders; every one keeps a descriptor open.
const DEEPEST: usize = 200;
/// A small commit can name the same tree again and again until the disk is full.
const MOST_ENTRIES: u64 = 1_000_000;
/// How a Git LFS pointer begins; none is longer than a kilobyte.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
const LONGEST_POINTER: usize = 1024;

/// An export under way.
pub(super) struct Walk {
    modules: Modules,
    /// Where to.
    dir: PathBuf,
    /// What all the trees take that were counted.
    need: Need,
    pointers: usize,
    first_pointer: String,
}

/// Where the walk stands in one repository.
struct At<'r> {
    repo: &'r Repository,
    /// The root of this repository's tree: there lies its `.gitmodules`.
    top: &'r Tree<'r>,
    /// The path of that root in the whole export; empty, or ends with a slash.
    prefix: &'r str,
}

impl Walk {
    /// An export from the bare repository at `repo`, which also keeps what is fetched for submodules.
    pub(super) fn new(repo: &Path, dir: &Path) -> Self {
        Self {
            modules: Modules::beside(repo),
            dir: dir.to_owned(),
            need: Need::default(),
            pointers: 0,
            first_pointer: String::new(),
        }
    }

    /// Counts a repository's tree before it is written, each of its trees once however often it is named. Refuses what
    /// the disk has no room for.
    fn count(&mut self, repo: &Repository, tree: &Tree<'_>) -> anyhow::Result<()> {
        let need = need(repo, tree, 0, &mut HashMap::new())?;
        self.need += need;
        if self.need.files > MOST_ENTRIES {
            return Err(Failure::new(format!("the commit holds more than {MOST_ENTRIES} files")).into());
        }
        disk::check(&self.dir, need, "what was pushed")
    }

    /// Writes the whole tree into the empty folder.
    pub(super) fn root(&mut self, repo: &Repository, tree: &Tree<'_>) -> anyhow::Result<()> {
        let dir = File::open(&self.dir).with_context(|| format!("cannot open '{}'", self.dir.display()))?;
        self.count(repo, tree)?;
        self.folder(&At { repo, top: tree, prefix: "" }, tree, dir.as_fd(), "", 0)
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

    /// `path` is the folder's own, empty or with a slash at its end; `depth` the number of slashes.
    fn folder(
        &mut self,
        at: &At<'_>,
        tree: &Tree<'_>,
        dir: BorrowedFd<'_>,
        path: &str,
        depth: usize,
    ) -> anyhow::Result<()> {
        if depth > DEEPEST {
            return Err(too_deep().into());
        }
        for entry in tree {
            let name = entry.name_bytes();
            let path = format!("{path}{}", String::from_utf8_lossy(name));
            check_name(name, &path)?;
            self.entry(at, &entry, dir, &path, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        at: &At<'_>,
        entry: &TreeEntry<'_>,
        dir: BorrowedFd<'_>,
        path: &str,
        depth: usize,
    ) -> anyhow::Result<()> {
        let name = entry.name_bytes();
        let made = || format!("cannot write {}", quoted(path));
        match entry.filemode_raw() & 0o170_000 {
            0o040_000 => {
                let below = new_folder(dir, name).with_context(made)?;
                let tree =
                    at.repo.find_tree(entry.id()).map_err(git::plain).with_context(|| missing(path))?;
                self.folder(at, &tree, below.as_fd(), &format!("{path}/"), depth + 1)
            }
            0o100_000 => {
                let executable = entry.filemode_raw() & 0o100 != 0;
                let blob =
                    at.repo.find_blob(entry.id()).map_err(git::plain).with_context(|| missing(path))?;
                self.note_pointer(blob.content(), path);
                new_file(dir, name, if executable { 0o755 } else { 0o644 }, blob.content()).with_context(made)
            }
            0o120_000 => {
                let blob =
                    at.repo.find_blob(entry.id()).map_err(git::plain).with_context(|| missing(path))?;
                let target = blob.content();
                link::check(target, depth).map_err(|refusal| refused_link(path, target, refusal))?;
                symlinkat(target, dir, name).map_err(twice).with_context(made)
            }
            0o160_000 => self.submodule(at, entry.id(), dir, name, path, depth),
            kind => Err(Failure::new(format!("{} is of the unknown kind {kind:o}", quoted(path))).into()),
        }
    }

    fn submodule(
        &mut self,
        at: &At<'_>,
        commit: Oid,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &str,
        depth: usize,
    ) -> anyhow::Result<()> {
        let inner = path.strip_prefix(at.prefix).unwrap_or(path);
        let repo = self.modules.get(at.repo, at.top, inner, path, commit)?;
        let tree = repo
            .find_commit(commit)
            .and_then(|commit| commit.tree())
            .map_err(git::plain)
            .with_context(|| missing(path))?;
        self.count(&repo, &tree)?;
        let below = new_folder(dir, name).with_context(|| format!("cannot write {}", quoted(path)))?;
        let prefix = format!("{path}/");
        let at = At { repo: &repo, top: &tree, prefix: &prefix };
        self.folder(&at, &tree, below.as_fd(), &prefix, depth + 1)
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

/// What the files and folders in a tree and all below it take.
fn need(
    repo: &Repository,
    tree: &Tree<'_>,
    depth: usize,
    known: &mut HashMap<Oid, Need>,
) -> anyhow::Result<Need> {
    if depth > DEEPEST {
        return Err(too_deep().into());
    }
    let objects = repo.odb().map_err(git::plain).context("cannot read the repository")?;
    let mut sum = Need::default();
    for entry in tree {
        let unreadable = || missing(&String::from_utf8_lossy(entry.name_bytes()));
        let one = match (known.get(&entry.id()), entry.filemode_raw() & 0o170_000) {
            (Some(known), _) => *known,
            (None, 0o040_000) => {
                let tree = repo.find_tree(entry.id()).map_err(git::plain).with_context(unreadable)?;
                let mut folder = Need::of(0);
                folder += need(repo, &tree, depth + 1, known)?;
                folder
            }
            // Another repository's: counted when it is there.
            (None, 0o160_000) => Need::of(0),
            (None, _) => {
                let (size, _) =
                    objects.read_header(entry.id()).map_err(git::plain).with_context(unreadable)?;
                Need::of(u64::try_from(size).unwrap_or(u64::MAX))
            }
        };
        known.insert(entry.id(), one);
        sum += one;
    }
    Ok(sum)
}

fn too_deep() -> Failure {
    Failure::new(format!("the tree has folders deeper than {DEEPEST}"))
}

/// git itself makes no such name; somebody who writes trees by hand may.
fn check_name(name: &[u8], path: &str) -> Result<(), Failure> {
    let bad = name.is_empty()
        || name == b"."
        || name == b".."
        || name.eq_ignore_ascii_case(b".git")
        || name.contains(&b'/')
        || name.contains(&0);
    if bad {
        let failure = Failure::new(format!("a commit may hold no file named {}", quoted(path)));
        return Err(failure.hint("git makes no such commit; make it anew from a clean clone"));
    }
    Ok(())
}

fn missing(path: &str) -> String {
    format!("cannot read {} from the repository", quoted(path))
}

fn refused_link(path: &str, target: &[u8], refusal: Refusal) -> Failure {
    let target = quoted(&String::from_utf8_lossy(target));
    let why = match refusal {
        Refusal::Outside => "leads out of the app",
        Refusal::UpAfterDown => "goes down and up again, so that it could lead out of the app",
        Refusal::NoPath => "is no path",
    };
    let failure = Failure::new(format!("the link {} to {target} {why}", quoted(path)));
    failure.hint("a link may point within the repository, or below /app or /data")
}

fn new_folder(dir: BorrowedFd<'_>, name: &[u8]) -> anyhow::Result<OwnedFd> {
    mkdirat(dir, name, Mode::from_bits_truncate(0o755)).map_err(twice)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

fn new_file(dir: BorrowedFd<'_>, name: &[u8], mode: u32, content: &[u8]) -> anyhow::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(dir, name, flags, Mode::from_bits_truncate(mode)).map_err(twice)?;
    File::from(file).write_all(content)?;
    Ok(())
}

/// The folder was empty: what is there is from this very tree.
fn twice(errno: Errno) -> anyhow::Error {
    match errno {
        Errno::EEXIST => anyhow::anyhow!("the commit holds two files of this name"),
        errno => errno.into(),
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
