//! The jail's own `/proc`, in which only its own processes are. What sets the kernel up is read-only there: with the
//! host's root as its user a process may write it without any capability.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::MountAttrFlags;

use crate::caller::Identity;
use crate::diagnosis::{Step, explain};
use crate::root::folder::Folder;
use crate::root::tree::{self, READ_ONLY, Tree};
use crate::root::{devices, filesystem};

/// Read-only for everybody.
const ALWAYS: [&str; 2] = ["sys", "sysrq-trigger"];
/// For root: what else it owns.
const FOR_ROOT: [&str; 9] =
    ["acpi", "asound", "bus", "dynamic_debug", "fs", "irq", "latency_stats", "mtrr", "scsi"];

/// Empty for everybody: the keys that the caller's user has, by name and number.
const MASKED: [&str; 2] = ["keys", "key-users"];
/// For root: what all memory is used for.
const MASKED_FOR_ROOT: [&str; 3] = ["kpagecgroup", "kpagecount", "kpageflags"];

/// A new one, of this process namespace.
pub(crate) fn new() -> Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    filesystem::new("proc", &[], attributes).map_err(|err| explain(Step::Proc, &err))
}

/// Mounts it.
pub(crate) fn mount(root: &Folder, identity: Identity) -> Result<()> {
    root.make_folder(Path::new("proc"))?;
    root.mount(Path::new("proc"), new()?)?;
    let more = if identity.uid.is_root() { &FOR_ROOT[..] } else { &[] };
    for name in ALWAYS.iter().chain(more) {
        let path = Path::new("proc").join(name);
        // Not every kernel has them all.
        let Ok(place) = root.find(&path) else { continue };
        let restrict = || tree::attach(Tree::copy(&place, tree::is_folder(&place)?, READ_ONLY)?, &place);
        restrict().with_context(|| format!("cannot restrict /{}", path.display()))?;
    }
    let more = if identity.uid.is_root() { &MASKED_FOR_ROOT[..] } else { &[] };
    for name in MASKED.iter().chain(more) {
        let path = Path::new("proc").join(name);
        let Ok(place) = root.find(&path) else { continue };
        let mask = || tree::attach(devices::null()?, &place);
        mask().with_context(|| format!("cannot mask /{}", path.display()))?;
    }
    Ok(())
}
