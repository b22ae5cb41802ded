//! The lock and the folder for making a release, and the name of who makes it.

use std::fs::File;

use anyhow::Context;
use piku_files::FileLock;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_nss::UserAccount;

use crate::lock;

/// Prefix of the directory in which a release is made; a random suffix follows.
pub(crate) const ASIDE: &str = ".release.";

/// Returns the name of the caller: of its key, or of its user.
pub(crate) fn who() -> String {
    let given = ["PIKU_KEY", "SUDO_USER"].into_iter().find_map(|name| std::env::var(name).ok());
    let me = || UserAccount::find_by_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    given.filter(|name| !name.is_empty()).or_else(me).unwrap_or_default()
}

/// Takes the lock for making something of a release, such as another one or its image, which garbage collection
/// takes exclusively.
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "a folder of piku's own"))]
pub(crate) fn lock_new_release(root: &PikuRoot, dir: &AppDir) -> anyhow::Result<FileLock> {
    let path = dir.releases();
    lock::wait_for(root, "the removal of old releases", || {
        let folder = File::open(&path).with_context(|| format!("cannot open '{}'", path.display()))?;
        FileLock::try_shared(folder).with_context(|| format!("cannot lock '{}'", path.display()))
    })
}
