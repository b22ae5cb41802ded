//! A release with the tree of an existing one, for a changed config or a rollback. It shares its files with
//! the old release and passes the same health checks as a deploy.

use std::fs::Permissions;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Context;
use piku_files::free_space::SpaceNeeded;
use piku_files::{FileKind, TreeEntry, TreeError, TreeHandle, WalkStep};
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_release::folded;
use piku_release::manifest::{BuiltRelease, ReleaseOrigin, TREE};
use piku_release::removals;
use piku_report::progress;

use crate::app_request;
use crate::config::{ConfigChange, ConfigValues, store};
use crate::garbage::{self, CollectScope};
use crate::ipc::protocol::SupervisorRequest;
use crate::process::ssh_session::session_address;
use crate::releases::{ASIDE, current, lock_new_release, who};

/// A release to make.
#[derive(Debug)]
pub(crate) struct ReleaseSuccessor {
    /// Release whose tree it shares.
    pub(crate) tree_of: u64,
    /// Live release that it replaces; it replaces no other.
    pub(crate) after: u64,
    pub(crate) origin: ReleaseOrigin,
    /// Description in place of a commit's first line.
    pub(crate) subject: String,
    pub(crate) config: ConfigValues,
    /// Change that the store applies once the release is live.
    pub(crate) change: ConfigChange,
}

impl ReleaseSuccessor {
    /// Makes the release and deploys it. Returns false, and nothing of it remains, if another release than
    /// `after` is live.
    ///
    /// # Errors
    /// Fails if it cannot be made or its instances do not come up; nothing of it remains then.
    #[must_use = "false says that the release is not live"]
    pub(crate) fn deploy(&self, root: &PikuRoot, app: &AppName) -> anyhow::Result<bool> {
        let dir = root.app(app);
        let is_live = self.build(root, app, &dir)?;
        garbage::collect_after_change(root, app, CollectScope::Releases);
        Ok(is_live)
    }

    fn build(&self, root: &PikuRoot, app: &AppName, dir: &AppDir) -> anyhow::Result<bool> {
        // Garbage collection spares this release and its layers.
        let _making = lock_new_release(root, dir)?;
        let old = dir.release(self.tree_of);
        let mut release = BuiltRelease::read(&old)?;
        release.number = dir.next_number().context("cannot number the release")?;
        release.at = jiff::Timestamp::now();
        release.by = who();
        release.origin = self.origin;
        release.tree_of = Some(release.tree_of.unwrap_or(self.tree_of));
        release.subject.clone_from(&self.subject);
        // A jail shows a release read-only, so both releases can share files.
        let link = release.jailed;
        folded::unfold(dir, self.tree_of)?;
        let tree = TreeHandle::open(&old)?.subtree(TREE)?;
        removals::check_space(dir.path(), space_needed(&tree, link)?, "a release with the same tree")?;

        let work = tempfile::Builder::new()
            .prefix(ASIDE)
            .tempdir_in(dir.path())
            .with_context(|| format!("cannot make a folder in '{}'", dir.path().display()))?;
        let new = work.path().join("release");
        current::create_dir(&new)?;
        let made = TreeHandle::open(&new)?;
        made.create_dir(TREE)?;
        copy_release(&tree, &made.subtree(TREE)?, link)?;
        store::write_beside(&new, &self.config, &self.change)?;
        release.write(&new)?;
        // Synced before anything refers to it. Shared files are synced already.
        made.write_out(Some(&TreeHandle::open(&old)?))?;
        progress::detail(&format!("release {}, with the tree of release {}", release.number, self.tree_of));
        let request = SupervisorRequest::Deploy {
            dir: new,
            task: false,
            after: Some(self.after),
            reached_at: session_address(),
        };
        app_request::ask_to_replace(root, app, &request)
    }
}

/// Returns the disk space for another copy of the tree.
fn space_needed(tree: &TreeHandle, link: bool) -> anyhow::Result<SpaceNeeded> {
    // The top of the tree is a directory too.
    let mut need = SpaceNeeded::of(0) * 9;
    tree.walk::<TreeError>(|entry| {
        let stat = entry.stat();
        if stat.is_dir() {
            need += SpaceNeeded::of(0);
        } else if stat.is_symlink() || (stat.is_file() && !link) {
            need += SpaceNeeded::of(stat.len);
        }
        Ok(WalkStep::Into)
    })?;
    Ok(need)
}

/// Copies a tree into an empty one; with `link`, files are hard-linked.
fn copy_release(from: &TreeHandle, to: &TreeHandle, link: bool) -> anyhow::Result<()> {
    let mut folders = vec![(PathBuf::new(), from.metadata("")?.mode)];
    from.walk(|entry| copy_entry(entry, to, link, &mut folders))?;
    // Last, since a directory may be read-only.
    for (path, mode) in folders.iter().rev() {
        to.set_mode(path, *mode)?;
    }
    Ok(())
}

fn copy_entry(
    entry: &TreeEntry<'_>,
    to: &TreeHandle,
    link: bool,
    folders: &mut Vec<(PathBuf, u32)>,
) -> anyhow::Result<WalkStep> {
    let (path, stat) = (entry.path(), entry.stat());
    match stat.kind {
        FileKind::Folder => {
            to.create_dir(path)?;
            folders.push((path.to_owned(), stat.mode));
        }
        FileKind::Link => to.symlink(entry.read_link()?, path)?,
        FileKind::Regular => {
            let mut file = entry.open_file()?;
            // The number of links is limited, on some file systems to one.
            if link && to.link_file(&file, path).is_ok() {
                return Ok(WalkStep::Into);
            }
            let mut copy = to.create_file(path, stat.mode & 0o777)?;
            let copied = io::copy(&mut (&mut file.file).take(file.stat.len), &mut copy);
            let copied = copied.and_then(|_| copy.set_permissions(Permissions::from_mode(stat.mode & 0o777)));
            copied.with_context(|| format!("cannot copy '{}'", path.display()))?;
        }
        // Leftovers of a build tool, useless in a copy.
        FileKind::Pipe | FileKind::Socket | FileKind::Device => {}
    }
    Ok(WalkStep::Into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    #[test]
    fn a_tree_is_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("a");
        fs::create_dir_all(from.join("locked")).unwrap();
        fs::write(from.join("locked/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("locked/run"), Permissions::from_mode(0o751)).unwrap();
        fs::set_permissions(from.join("locked"), Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink("/nowhere", from.join("link")).unwrap();
        let tree = TreeHandle::open(&from).unwrap();
        let overhead = 8;
        assert_eq!(space_needed(&tree, true).unwrap().files, overhead + 3, "two folders and the link");
        assert_eq!(space_needed(&tree, false).unwrap().files, overhead + 4);
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        nix::unistd::mkfifo(&from.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        for (link, same) in [(true, true), (false, false)] {
            let release = TreeHandle::create(&dir.path().join(format!("b{link}"))).unwrap();
            release.create_dir(TREE).unwrap();
            copy_release(&tree, &release.subtree(TREE).unwrap(), link).unwrap();
            release.write_out(Some(&tree)).unwrap();
            let to = release.path().join(TREE);
            let (old, new) = (from.join("locked/run"), to.join("locked/run"));
            let (old, new) = (fs::metadata(old).unwrap(), fs::metadata(new).unwrap());
            assert_eq!(old.ino() == new.ino(), same);
            assert_eq!(new.mode() & 0o777, 0o751);
            assert_eq!(fs::metadata(to.join("locked")).unwrap().mode() & 0o777, 0o555);
            assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
            for special in ["socket", "pipe"] {
                assert!(to.join(special).symlink_metadata().is_err(), "{special}");
            }
            current::remove_dir(release.path()).unwrap();
        }
        current::remove_dir(&from).unwrap();
    }

    #[test]
    fn links_out_of_the_tree_are_links_and_no_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let (from, victim) = (dir.path().join("a"), dir.path().join("victim"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(&victim, from.join("folder")).unwrap();
        std::os::unix::fs::symlink(victim.join("secret"), from.join("file")).unwrap();
        std::os::unix::fs::symlink(".", from.join("loop")).unwrap();
        let long = std::ffi::OsStr::from_bytes(&[0xfe; 255]);
        fs::write(from.join(long), "long").unwrap();
        fs::File::create(from.join("sparse")).unwrap().set_len(1 << 34).unwrap();
        let release = TreeHandle::create(&dir.path().join("b")).unwrap();
        copy_release(&TreeHandle::open(&from).unwrap(), &release, true).unwrap();
        assert_eq!(fs::read_link(release.path().join("folder")).unwrap(), victim);
        assert_eq!(fs::read(release.path().join(long)).unwrap(), b"long");
        assert_eq!(fs::metadata(victim.join("secret")).unwrap().nlink(), 1);
        // A tree that was replaced by a link is rejected.
        let whole = dir.path().join("release");
        fs::create_dir(&whole).unwrap();
        std::os::unix::fs::symlink(&victim, whole.join(TREE)).unwrap();
        assert!(TreeHandle::open(&whole).unwrap().subtree(TREE).is_err());
        current::remove_dir(&from).unwrap();
        assert_eq!(fs::read(victim.join("secret")).unwrap(), b"s");
    }
}
