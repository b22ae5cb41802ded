//! The user namespace that the jails of an app with its own user share. The supervisor keeps its descriptor; running
//! instances keep the namespace itself when the supervisor ends.

#![expect(
    clippy::disallowed_methods,
    reason = "the registry of own users and the host's files of subordinate ids"
)]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use piku_chroot::{SUBORDINATE_ID_FILES, jail};
use piku_layout::name::AppName;

/// State of a file of ids: another one may have other ids for the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IdFileState {
    inode: u64,
    modified: (i64, i64),
}

/// Everything that the ids and the groups of a namespace follow from.
#[derive(Debug, PartialEq, Eq)]
struct NamespacePurpose {
    /// The file of own users.
    registry: IdFileState,
    /// The files of the host by which piku may use the ids; `None` for a missing one.
    allowed: [Option<IdFileState>; 2],
    groups: Vec<u32>,
}

/// A namespace for the next jails, made when it pays.
#[derive(Debug, Default)]
pub(crate) struct SharedUserNamespace {
    /// Purpose of the namespace as of the last start.
    wanted: Option<NamespacePurpose>,
    made: Option<Rc<OwnedFd>>,
    /// Set if none could be made or used, until another one is wanted.
    given_up: bool,
    /// Set if the jails would not join one.
    apart: bool,
}

impl SharedUserNamespace {
    /// Returns the namespace for the next jail, whose user is in these groups of the host. `None` means that the jail
    /// makes its own: at the first start, which is the only one of many apps, and after a failure.
    ///
    /// # Errors
    /// Fails if none can be made, once for the same ids and groups. The jail makes its own, or says why it cannot.
    pub(crate) fn for_next(
        &mut self,
        app: &AppName,
        registry: &Path,
        mut groups: Vec<u32>,
    ) -> anyhow::Result<Option<Rc<OwnedFd>>> {
        if self.apart {
            return Ok(None);
        }
        groups.sort_unstable();
        groups.dedup();
        let wanted = NamespacePurpose::read(registry, groups);
        if wanted.is_none() || self.wanted != wanted {
            *self = Self { wanted, ..Self::default() };
            return Ok(None);
        }
        if let (None, false, Some(wanted)) = (&self.made, self.given_up, &self.wanted) {
            let made = jail::make_user_namespace(app.as_str(), registry, &wanted.groups);
            self.given_up = made.is_err();
            self.made = Some(Rc::new(made?));
        }
        Ok(self.made.clone())
    }

    /// Makes none from here on: no cgroup limits the number of processes, and the jails would not join it.
    pub(crate) fn keep_apart(&mut self) {
        (self.apart, self.made) = (true, None);
    }

    /// Lets the next jails make their own: one could not be made in this namespace.
    pub(crate) fn give_up(&mut self) {
        if self.made.take().is_some() {
            self.given_up = true;
        }
    }
}

impl NamespacePurpose {
    /// Returns `None` if there is no registry, as before the first start on this machine.
    fn read(registry: &Path, groups: Vec<u32>) -> Option<Self> {
        let allowed = SUBORDINATE_ID_FILES.map(|file| IdFileState::read(Path::new(file)));
        Some(Self { registry: IdFileState::read(registry)?, allowed, groups })
    }
}

impl IdFileState {
    /// Reads the state of the file; `None` if there is none.
    fn read(file: &Path) -> Option<Self> {
        let meta = fs::metadata(file).ok()?;
        Some(Self { inode: meta.ino(), modified: (meta.mtime(), meta.mtime_nsec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_for_the_same_ids() {
        let dir = tempfile::tempdir().unwrap();
        let registry = dir.path().join("registry");
        let app: AppName = "blog".parse().unwrap();
        let mut shared = SharedUserNamespace::default();
        let mut next = || shared.for_next(&app, &registry, vec![7]);
        assert!(next().unwrap().is_none(), "there is no registry");
        // piku-chroot cannot be run, or refuses this file.
        fs::write(&registry, "damaged").unwrap();
        assert!(next().unwrap().is_none(), "the first start");
        assert!(next().is_err());
        assert!(next().unwrap().is_none());
        fs::write(dir.path().join("new"), "damaged too").unwrap();
        fs::rename(dir.path().join("new"), &registry).unwrap();
        assert!(next().unwrap().is_none(), "the first start with other ids");
        assert!(next().is_err());
        fs::write(&registry, "damaged in place").unwrap();
        shared.keep_apart();
        for _ in 0..3 {
            assert!(shared.for_next(&app, &registry, vec![7]).unwrap().is_none());
        }
    }
}
