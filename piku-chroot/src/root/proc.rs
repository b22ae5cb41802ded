//! The jail's own `/proc`, which shows only its own processes. Files that change the kernel's settings are
//! read-only: as the host's root, a process may write them without any capability.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::MountAttrFlags;

use crate::errors::diagnosis::{SetupStep, explain_step};
use crate::ids::caller::CallerIdentity;
use crate::root::filesystem;
use crate::root::folder::OpenedFolder;
use crate::root::tree::{HostTree, READ_ONLY};

/// Entries that are read-only for every user, and whether they are directories.
const READ_ONLY_FOR_ALL: [(&str, bool); 2] = [("sys", true), ("sysrq-trigger", false)];

/// Files that are covered by an empty one: the keys of the caller's user, and figures about the kernel, the
/// hardware and other users. No app needs them.
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
/// Directories that are covered by an empty one, for the same reason.
const MASKED_FOLDERS: [&str; 8] = ["acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "scsi"];
/// Files that only root can read or write, covered for root.
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
/// Covers of files and of directories, in the jail's `/var`. Not /dev/null: that would be one more device.
const EMPTY_FILE: &str = "null";
const EMPTY_FOLDER: &str = "empty";

/// Makes a `/proc` of this process namespace, which the kernel allows only where a whole one is visible.
pub(crate) fn new_proc() -> Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    filesystem::new_filesystem("proc", &[], attributes).map_err(|err| explain_step(SetupStep::Proc, &err))
}

/// Makes the directory for `/proc`, and the covers of its entries in `var`.
pub(crate) fn make_entries(root: &OpenedFolder, var: &OpenedFolder) -> Result<()> {
    root.make_dir(Path::new("proc"))?;
    var.make_file(Path::new(EMPTY_FILE))?;
    var.make_dir(Path::new(EMPTY_FOLDER))
}

/// Mounts a jail's own `/proc`, which [`new_proc`] has made.
pub(crate) fn mount_proc(root: &OpenedFolder, proc: OwnedFd, identity: CallerIdentity) -> Result<()> {
    root.mount(Path::new("proc"), &proc)?;
    let proc = OpenedFolder::new(proc);
    // Not every kernel has all of these entries.
    for (name, folder) in READ_ONLY_FOR_ALL {
        let restrict = || match HostTree::copy_existing(&proc, Path::new(name), folder, READ_ONLY)? {
            Some(tree) => proc.mount(Path::new(name), tree),
            None => Ok(()),
        };
        restrict().with_context(|| format!("cannot restrict /proc/{name}"))?;
    }
    let more = if identity.uid.is_root() { &MASKED_FOR_ROOT[..] } else { &[] };
    let var = root.open_or_make_dir(Path::new("var"))?;
    mask_entries(&proc, MASKED_FILES.iter().chain(more), &var, EMPTY_FILE)?;
    mask_entries(&proc, MASKED_FOLDERS.iter(), &var, EMPTY_FOLDER)
}

/// Covers these entries with the entry `empty` of `var`, as far as the kernel has them.
fn mask_entries<'a>(
    proc: &OpenedFolder,
    names: impl Iterator<Item = &'a &'static str>,
    var: &OpenedFolder,
    empty: &str,
) -> Result<()> {
    let mut cover: Option<HostTree> = None;
    for name in names.map(Path::new) {
        // No copy may be left over: to close a mount that was never attached takes a grace period of the kernel.
        if !proc.has_entry(name) {
            continue;
        }
        let next = match &cover {
            None => HostTree::copy_entry(var, Path::new(empty), false, READ_ONLY),
            Some(cover) => cover.copy_again(),
        };
        let masked = next.and_then(|next| {
            proc.mount(name, &next)?;
            Ok(next)
        });
        cover = Some(masked.with_context(|| format!("cannot mask /proc/{}", name.display()))?);
    }
    Ok(())
}
