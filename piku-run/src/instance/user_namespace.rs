//! The user namespace that the jails of an app with its own user share. The supervisor keeps its descriptor; running
//! instances keep the namespace itself when the supervisor ends.

#![expect(clippy::disallowed_methods, reason = "the registry of own users, which only piku writes")]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use piku_chroot::jail;
use piku_layout::name::AppName;

/// State of the file of ids: another one may have other ids for the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RegistryState {
    inode: u64,
    modified: (i64, i64),
}

/// A namespace for the next jails, made when it pays.
#[derive(Debug, Default)]
pub(crate) struct SharedUserNamespace {
    /// Purpose of the namespace as of the last start: the ids and the groups.
    wanted: Option<(RegistryState, Vec<u32>)>,
    made: Option<Rc<OwnedFd>>,
}

impl SharedUserNamespace {
    /// Returns the namespace for the next jail, whose user is in these groups of the host. `None` means that the jail
    /// makes its own: at the first start, which is the only one of many apps, and if none can be made; the jail then
    /// says why.
    pub(crate) fn for_next(
        &mut self,
        app: &AppName,
        registry: &Path,
        mut groups: Vec<u32>,
    ) -> Option<Rc<OwnedFd>> {
        groups.sort_unstable();
        groups.dedup();
        let wanted = RegistryState::read(registry).map(|state| (state, groups));
        if wanted.is_none() || self.wanted != wanted {
            (self.wanted, self.made) = (wanted, None);
            return None;
        }
        if self.made.is_none() {
            let (_, groups) = self.wanted.as_ref()?;
            self.made = jail::make_user_namespace(app.as_str(), registry, groups).ok().map(Rc::new);
        }
        self.made.clone()
    }
}

impl RegistryState {
    /// Reads the state of the file; `None` if there is none, as before the first start on this machine.
    fn read(registry: &Path) -> Option<Self> {
        let meta = fs::metadata(registry).ok()?;
        Some(Self { inode: meta.ino(), modified: (meta.mtime(), meta.mtime_nsec()) })
    }
}
