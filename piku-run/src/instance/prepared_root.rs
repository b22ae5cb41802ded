//! The prepared root of an app's jails. The supervisor keeps its descriptor; running instances keep only the user
//! namespace when the supervisor ends.

#![expect(
    clippy::disallowed_methods,
    reason = "the registry of own users and the host's files of subordinate ids"
)]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use piku_chroot::jail::PreparedSpec;
use piku_chroot::{HostRootWatch, SUBORDINATE_ID_FILES};

/// State of a file of ids: another one may have other ids for the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IdFileState {
    inode: u64,
    modified: (i64, i64),
}

/// Everything that a prepared root follows from.
#[derive(Debug, PartialEq, Eq)]
struct RootPurpose {
    spec: PreparedSpec,
    /// State of the host's mounts, programs and `/etc`.
    host: u64,
    /// The file of own users, and the files of the host by which piku may use the ids; `None` for a missing one.
    ids: [Option<IdFileState>; 3],
}

/// A prepared root for the next jails, made when it pays.
#[derive(Debug, Default)]
pub(crate) struct AppRoot {
    /// Watches the host once a jail was started.
    watch: Option<HostRootWatch>,
    /// Purpose of the prepared root as of the last start.
    wanted: Option<RootPurpose>,
    /// Set at the second start with the same purpose.
    is_due: bool,
    made: Option<Rc<OwnedFd>>,
    /// Set if none could be made or used, until another one is wanted.
    given_up: bool,
    /// Set if the jails of the app's own user would not join one.
    apart: bool,
}

impl AppRoot {
    /// Returns the prepared root for the next jail. `None` means that the jail makes its own: at the first two starts,
    /// since many apps have no other, and after a failure.
    pub(crate) fn for_next(&mut self, spec: PreparedSpec, registry: &Path) -> Option<Rc<OwnedFd>> {
        if self.apart && spec.has_own_user() {
            return None;
        }
        let wanted = self.read_purpose(spec, registry);
        if wanted.is_none() || self.wanted != wanted {
            (self.wanted, self.is_due, self.made, self.given_up) = (wanted, false, None, false);
            return None;
        }
        self.is_due = true;
        self.made.clone()
    }

    /// Makes one for the jail after this one. Takes as long as the start of a jail.
    ///
    /// # Errors
    /// Fails if none can be made, once for the same purpose.
    pub(crate) fn make_if_due(&mut self) -> anyhow::Result<()> {
        if let (None, false, true, Some(wanted)) = (&self.made, self.given_up, self.is_due, &self.wanted) {
            let spec = wanted.spec.clone();
            let before = self.mount_changes();
            let made = spec.make();
            self.given_up = made.is_err();
            let made = Rc::new(made?);
            // Otherwise it may show a mount that has gone again, and is made again after the next start.
            self.made = (before.is_some() && self.mount_changes() == before).then_some(made);
        }
        Ok(())
    }

    /// Returns the number of changes of the mounts of the host, if it is known.
    fn mount_changes(&mut self) -> Option<u64> {
        self.watch.as_mut()?.mount_changes().ok()
    }

    /// Makes none for an own user from here on: no cgroup limits the number of processes, and the jails would not join it.
    pub(crate) fn keep_apart(&mut self) {
        self.apart = true;
        if self.wanted.as_ref().is_some_and(|wanted| wanted.spec.has_own_user()) {
            (self.wanted, self.made) = (None, None);
        }
    }

    /// Lets the next jails make their own: one could not be made with this one.
    pub(crate) fn give_up(&mut self) {
        if self.made.take().is_some() {
            self.given_up = true;
        }
    }

    /// Returns `None` if the host cannot be looked at.
    fn read_purpose(&mut self, spec: PreparedSpec, registry: &Path) -> Option<RootPurpose> {
        if self.watch.is_none() {
            self.watch = HostRootWatch::open().ok();
        }
        let host = self.watch.as_mut()?.state().ok()?;
        let ids = if spec.has_own_user() {
            let [users, groups] = SUBORDINATE_ID_FILES.map(Path::new);
            [registry, users, groups].map(IdFileState::read)
        } else {
            [None; 3]
        };
        Some(RootPurpose { spec, host, ids })
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
    use piku_chroot::jail::JailSpec;

    use super::*;

    fn spec(name: &str, registry: &Path) -> PreparedSpec {
        JailSpec::new().own_user(name, registry).to_prepared(Some("/data/home")).unwrap()
    }

    #[test]
    fn a_failure_is_told_once_for_the_same_purpose() {
        let dir = tempfile::tempdir().unwrap();
        let registry = dir.path().join("registry");
        let mut root = AppRoot::default();
        let mut start = |name: &str| {
            assert!(root.for_next(spec(name, &registry), &registry).is_none());
            root.make_if_due()
        };
        // piku-chroot cannot be run, or refuses this file.
        fs::write(&registry, "damaged").unwrap();
        assert!(start("blog").is_ok(), "the first start");
        assert!(start("blog").is_err());
        assert!(start("blog").is_ok());
        fs::write(dir.path().join("new"), "damaged too").unwrap();
        fs::rename(dir.path().join("new"), &registry).unwrap();
        assert!(start("blog").is_ok(), "the first start with other ids");
        assert!(start("blog").is_err());
        assert!(start("shop").is_ok(), "the first start with other options");
        assert!(start("shop").is_err());
        root.keep_apart();
        for _ in 0..3 {
            assert!(root.for_next(spec("blog", &registry), &registry).is_none());
            assert!(root.make_if_due().is_ok());
        }
    }
}
