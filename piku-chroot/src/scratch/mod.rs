//! `--scratch`: makes /app writable for one jail. What the command changes there is kept on disk, in a folder
//! that ends with the jail, except for the paths of `--keep`, which are in the data.

mod discarded;
pub(crate) mod folder;
mod kept;
pub(crate) mod overlay;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::Mode;
use rustix::process::umask;

pub use self::kept::check_kept_path;

use self::folder::ScratchPlace;
use self::overlay::{OverlayAttempt, UPPER};
use crate::errors::quoted;
use crate::ids::JailIds;
use crate::plan::{APP, JailMount, JailPlan, MountContent};
use crate::root::tree::{self, HostTree, READ_ONLY, WRITABLE};

/// Name of the overlay of /app in the folder of a jail; those of other trees are numbers.
const APP_OVERLAY: &str = "app";

/// Detached mounts that make /app writable.
#[derive(Debug, Default)]
pub(crate) struct WritableApp {
    /// Overlays, by the path of the mount that each replaces.
    overlays: Vec<(PathBuf, HostTree)>,
    /// Directories of the data, by their places in the jail; without overlays also files.
    binds: Vec<(PathBuf, HostTree)>,
    /// Set if this machine cannot mount overlays.
    is_read_only: bool,
}

impl WritableApp {
    /// Mounts the overlays, and copies the paths of `--keep` from the release to the data where the data
    /// does not have them.
    pub(crate) fn prepare(plan: &JailPlan, ids: JailIds, scratch: Option<&ScratchPlace>) -> Result<Self> {
        let Some(scratch) = scratch else { return Ok(Self::default()) };
        if !plan.keep.is_empty() {
            // Directories in the data can be entered by the web server.
            umask(Mode::from_raw_mode(0o022));
            let _alone = scratch.lock_common()?;
            kept::copy_to_data(plan, ids).context("--keep")?;
        }
        let mut made = Self::default();
        for (number, mount) in plan.mounts.iter().enumerate().filter(|(_, mount)| plan.is_overlaid(mount)) {
            let Some(src) = source_of(mount) else { continue };
            let lower = tree::open_source(src).context(mount.option)?;
            if !tree::is_folder(&lower)? {
                continue;
            }
            let is_app = mount.dst == Path::new(APP);
            if ids.own.is_some() && is_app {
                kept::share_with_group(src, ids, false).context(mount.option)?;
            }
            let folder =
                scratch.folder.join(if is_app { APP_OVERLAY.to_owned() } else { number.to_string() });
            overlay::make_directories(&folder, &lower, ids.command()).context("--scratch")?;
            kept::make_places(plan, mount, src, &folder.join(UPPER), ids).context("--keep")?;
            let attributes = if plan.keep_only { READ_ONLY } else { WRITABLE };
            match overlay::mount_over(&lower, &folder, attributes).context("--scratch")? {
                OverlayAttempt::Mounted(fd) => {
                    made.overlays.push((mount.dst.clone(), HostTree::of_folder(fd)));
                }
                OverlayAttempt::Refused(_) => {
                    let binds = kept::open_in_data(plan, false).context("--keep")?;
                    return Ok(Self { overlays: Vec::new(), binds, is_read_only: true });
                }
            }
        }
        made.binds = kept::open_in_data(plan, true).context("--keep")?;
        Ok(made)
    }

    /// Takes the overlay that replaces a mount.
    pub(crate) fn take_overlay(&mut self, mount: &JailMount) -> Option<HostTree> {
        let at = self.overlays.iter().position(|(dst, _)| *dst == mount.dst)?;
        Some(self.overlays.swap_remove(at).1)
    }

    /// Returns the mounts that follow all others.
    pub(crate) fn binds(&self) -> &[(PathBuf, HostTree)] {
        &self.binds
    }

    /// Returns whether /app was to be writable and is not.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only
    }
}

/// Makes the home directory with the command's own rights, if it is in the data.
pub(crate) fn make_home(plan: &JailPlan) {
    use std::os::unix::fs::DirBuilderExt;
    if plan.data_source().is_some() && plan.home.starts_with(crate::plan::DATA) {
        // Without a home directory the command still runs, and sees the reason itself.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&plan.home);
    }
}

/// Returns the host's path of a tree.
fn source_of(mount: &JailMount) -> Option<&Path> {
    match &mount.content {
        MountContent::Tree { src, .. } => Some(src),
        _ => None,
    }
}

/// Returns the context of an error about a path of `--keep`.
fn describe_path(path: &Path) -> String {
    format!("cannot keep {}", quoted(path))
}
