//! A release with the tree of one that is there: the way of a changed configuration and of a rollback. It is made aside, its
//! files shared with the old one's, and goes live through the same health check as any deploy.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use piku_build::release::{Origin, Release, TREE};
use piku_procfile::disk::{self, Need};
use piku_procfile::failure::{BUSY, Failure};
use piku_procfile::layout::{AppDir, Root};
use piku_procfile::name::AppName;
use rustix::fs::{FlockOperation, flock};

use crate::collect::{self, Reach};
use crate::config::{Change, Config, store};
use crate::protocol::Request;
use crate::{client, delta, place};

/// What the folder of a release in the making is called, with something random behind.
pub(crate) const ASIDE: &str = ".release.";
/// More folders than this are synced by one call for the whole disk, which waits for what others write.
const FEW_FOLDERS: usize = 100;

/// A release to be made.
#[derive(Debug)]
pub(crate) struct Successor {
    /// The release whose tree it shares.
    pub(crate) tree_of: u64,
    /// The live release that it takes the place of, and of no other.
    pub(crate) after: u64,
    pub(crate) origin: Origin,
    /// What it is, in the place of a commit's first line.
    pub(crate) subject: String,
    /// What it runs with.
    pub(crate) config: Config,
    /// What the store takes in once it is live.
    pub(crate) change: Change,
}

impl Successor {
    /// Makes it and takes it live.
    ///
    /// # Errors
    /// When it cannot be made, or its instances do not come up; then nothing of it stays. Busy when the app changes just
    /// now, or another release has gone live since `after` was looked up.
    pub(crate) fn go(&self, root: &Root, app: &AppName) -> anyhow::Result<()> {
        let dir = root.app(app);
        self.make(root, app, &dir)?;
        collect::after(root, app, Reach::Releases);
        Ok(())
    }

    fn make(&self, root: &Root, app: &AppName, dir: &AppDir) -> anyhow::Result<()> {
        // Whoever collects what nothing needs leaves this one alone, and the layers it will need.
        let _making = making(dir)?;
        let old = dir.release(self.tree_of);
        let mut release = Release::read(&old)?;
        release.number = dir.next_number().context("cannot number the release")?;
        release.at = jiff::Timestamp::now();
        release.by = who();
        release.origin = self.origin;
        release.tree_of = Some(release.tree_of.unwrap_or(self.tree_of));
        release.subject.clone_from(&self.subject);
        // In a jail nobody can write to a release, so the old and the new one can share their files.
        let link = release.jailed;
        delta::unfold(dir, self.tree_of)?;
        let tree = old.join(TREE);
        disk::check(dir.path(), need(&tree, link)?, "a release with the same tree")?;

        let work = tempfile::Builder::new()
            .prefix(ASIDE)
            .tempdir_in(dir.path())
            .with_context(|| format!("cannot make a folder in '{}'", dir.path().display()))?;
        let new = work.path().join("release");
        place::make(&new)?;
        let mut folders = Vec::new();
        copy(&tree, &new.join(TREE), link, &mut folders)?;
        store::write_beside(&new, &self.config, &self.change)?;
        release.write(&new)?;
        settle(&new, link.then_some(&folders))?;
        client::detail(&format!("release {}, with the tree of release {}", release.number, self.tree_of));
        let request = Request::Deploy { dir: new, task: false, after: Some(self.after) };
        client::ask(root, app, &request)?;
        Ok(())
    }
}

/// Who asks: a key's name, or a user of this machine.
pub(crate) fn who() -> String {
    let given = ["PIKU_KEY", "SUDO_USER"].into_iter().find_map(|name| std::env::var(name).ok());
    let me = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    given.filter(|name| !name.is_empty()).or_else(me).unwrap_or_default()
}

/// Held by whoever makes a release of another's tree, and alone by whoever removes releases and layers.
fn making(dir: &AppDir) -> anyhow::Result<File> {
    let path = dir.releases();
    let folder = File::open(&path).with_context(|| format!("cannot open '{}'", path.display()))?;
    flock(&folder, FlockOperation::NonBlockingLockShared).map_err(|err| match err {
        rustix::io::Errno::WOULDBLOCK => {
            Failure::new("old releases are being removed just now").hint("try again").code(BUSY).into()
        }
        err => anyhow::Error::from(err).context(format!("cannot lock '{}'", path.display())),
    })?;
    Ok(folder)
}

/// What the tree takes once more.
fn need(tree: &Path, link: bool) -> anyhow::Result<Need> {
    let cannot = || format!("cannot read '{}'", tree.display());
    let mut need = Need::of(0) * 8;
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        need += Need::of(0);
        for entry in fs::read_dir(folder).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let kind = entry.file_type().with_context(cannot)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if !link || kind.is_symlink() {
                need += Need::of(entry.metadata().with_context(cannot)?.len());
            }
        }
    }
    Ok(need)
}

/// The same tree again; with `link` its files are the same files. Notes the folders that it makes.
fn copy(from: &Path, to: &Path, link: bool, folders: &mut Vec<std::path::PathBuf>) -> anyhow::Result<()> {
    let cannot = || format!("cannot copy '{}' to '{}'", from.display(), to.display());
    let metadata = fs::symlink_metadata(from).with_context(cannot)?;
    if metadata.is_symlink() {
        let target = fs::read_link(from).with_context(cannot)?;
        return std::os::unix::fs::symlink(target, to).with_context(cannot);
    }
    if !metadata.is_dir() {
        // A file has so many names at most, and there are file systems where it has one.
        if link && fs::hard_link(from, to).is_ok() {
            return Ok(());
        }
        // A pipe or a socket that a tool of the build has left: whom it led to is gone.
        if !metadata.is_file() {
            return Ok(());
        }
        fs::copy(from, to).with_context(cannot)?;
        return if link {
            File::open(to).and_then(|file| file.sync_all()).with_context(cannot)
        } else {
            Ok(())
        };
    }
    fs::create_dir(to).with_context(cannot)?;
    folders.push(to.to_owned());
    for entry in fs::read_dir(from).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        copy(&entry.path(), &to.join(entry.file_name()), link, folders)?;
    }
    // Last: the folder may be read-only.
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.permissions().mode())).with_context(cannot)
}

/// On the disk before anything says that it is live. Where all files are on it already, their new folders are enough.
fn settle(release: &Path, folders: Option<&Vec<std::path::PathBuf>>) -> anyhow::Result<()> {
    let sync = |path: &Path| -> anyhow::Result<()> {
        let folder = File::open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
        folder.sync_all().with_context(|| format!("cannot sync '{}'", path.display()))
    };
    match folders {
        Some(folders) if folders.len() <= FEW_FOLDERS => {
            folders.iter().rev().try_for_each(|folder| sync(folder))?;
            sync(release)
        }
        _ => {
            let folder =
                File::open(release).with_context(|| format!("cannot open '{}'", release.display()))?;
            nix::unistd::syncfs(folder).context("cannot sync the disk")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_tree_is_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("a");
        fs::create_dir_all(from.join("locked")).unwrap();
        fs::write(from.join("locked/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("locked/run"), fs::Permissions::from_mode(0o751)).unwrap();
        fs::set_permissions(from.join("locked"), fs::Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink("/nowhere", from.join("link")).unwrap();
        let overhead = 8;
        assert_eq!(need(&from, true).unwrap().files, overhead + 3, "two folders and the link");
        assert_eq!(need(&from, false).unwrap().files, overhead + 4);
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        nix::unistd::mkfifo(&from.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        for (link, same) in [(true, true), (false, false)] {
            let to = dir.path().join(format!("b{link}"));
            let mut folders = Vec::new();
            copy(&from, &to, link, &mut folders).unwrap();
            settle(&to, Some(&folders)).unwrap();
            assert_eq!(folders, [to.clone(), to.join("locked")]);
            let (old, new) = (from.join("locked/run"), to.join("locked/run"));
            let (old, new) = (fs::metadata(old).unwrap(), fs::metadata(new).unwrap());
            assert_eq!(old.ino() == new.ino(), same);
            assert_eq!(new.mode() & 0o777, 0o751);
            assert_eq!(fs::metadata(to.join("locked")).unwrap().mode() & 0o777, 0o555);
            assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
            for special in ["socket", "pipe"] {
                assert_eq!(to.join(special).symlink_metadata().is_ok(), link, "{special}");
            }
            place::remove(&to).unwrap();
        }
        place::remove(&from).unwrap();
    }
}
