//! The jail's own `/proc`, in which only its own processes are. What sets the kernel up is read-only there: with the
//! host's root as its user a process may write it without any capability.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::MountAttrFlags;

use crate::errors::diagnosis::{SetupStep, explain};
use crate::ids::caller::CallerIdentity;
use crate::root::filesystem;
use crate::root::folder::OpenedFolder;
use crate::root::tree::{self, HostTree, READ_ONLY};

/// Read-only for everybody.
const READ_ONLY_FOR_ALL: [&str; 2] = ["sys", "sysrq-trigger"];

/// Files that look empty: the keys that the caller's user has, and what tells of the kernel and of the machine's hardware, or
/// in numbers that grow of what others do on it. No app needs them.
const MASKED_FILES: [&str; 12] = [
    "config.gz",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "key-users",
    "keys",
    "latency_stats",
    "modules",
    "sched_debug",
    "softirqs",
    "timer_stats",
];
/// Folders that look empty, for the same reason.
const MASKED_FOLDERS: [&str; 8] = ["acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "scsi"];
/// Files that root alone could read or write, and that look empty to it.
const MASKED_FOR_ROOT: [&str; 10] = [
    "kcore",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "mtrr",
    "pagetypeinfo",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
];
/// In the jail's `/var`: what is put over the files, and over the folders. A device over the files would be one more device.
const EMPTY_FILE: &str = "null";
const EMPTY_FOLDER: &str = "empty";

/// A new one, of this process namespace.
pub(crate) fn new() -> Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    filesystem::new("proc", &[], attributes).map_err(|err| explain(SetupStep::Proc, &err))
}

/// Mounts it.
pub(crate) fn mount(root: &OpenedFolder, identity: CallerIdentity) -> Result<()> {
    root.make_folder(Path::new("proc"))?;
    root.mount(Path::new("proc"), new()?)?;
    for name in READ_ONLY_FOR_ALL {
        let path = Path::new("proc").join(name);
        // Not every kernel has them all.
        let Ok(place) = root.find(&path) else { continue };
        let restrict = || tree::attach(HostTree::copy(&place, tree::is_folder(&place)?, READ_ONLY)?, &place);
        restrict().with_context(|| format!("cannot restrict /{}", path.display()))?;
    }
    let more = if identity.uid.is_root() { &MASKED_FOR_ROOT[..] } else { &[] };
    let var = root.folder(Path::new("var"))?;
    var.make_file(Path::new(EMPTY_FILE))?;
    var.make_folder(Path::new(EMPTY_FOLDER))?;
    let cover = |name: &str| HostTree::copy(var.find(Path::new(name))?, false, READ_ONLY);
    mask(root, MASKED_FILES.iter().chain(more), || cover(EMPTY_FILE))?;
    mask(root, MASKED_FOLDERS.iter(), || cover(EMPTY_FOLDER))
}

/// Puts one thing over all of these files, or folders, as far as this kernel has them.
fn mask<'a>(
    root: &OpenedFolder,
    names: impl Iterator<Item = &'a &'static str>,
    first: impl Fn() -> Result<HostTree>,
) -> Result<()> {
    let mut cover: Option<HostTree> = None;
    for name in names {
        let path = Path::new("proc").join(name);
        let Ok(place) = root.find(&path) else { continue };
        let next = cover.as_ref().map_or_else(&first, HostTree::again);
        let masked = next.and_then(|next| {
            tree::attach(&next, &place)?;
            Ok(next)
        });
        cover = Some(masked.with_context(|| format!("cannot mask /{}", path.display()))?);
    }
    Ok(())
}
