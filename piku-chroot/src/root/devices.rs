//! The devices that every program may expect, and no others. A user namespace cannot make devices, so those
//! of the host are mounted one by one; terminals and shared memory are new.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, fstat, major, minor};
use rustix::mount::MountAttrFlags;

use crate::plan::JailPlan;
use crate::root::filesystem;
use crate::root::folder::OpenedFolder;
use crate::root::tree::{self, DEVICE, HostTree};

/// Names and numbers of devices, from the kernel's list.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Symlinks and their targets.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

pub(crate) fn make_entries(dev: &OpenedFolder, plan: &JailPlan) -> Result<()> {
    let ours = |name: &str| !plan.is_mount_point(&Path::new("/dev").join(name));
    for (link, target) in LINKS.iter().filter(|(link, _)| ours(link)) {
        dev.make_symlink(Path::new(link), Path::new(target))?;
    }
    dev.make_dir(Path::new("pts"))?;
    for (name, major, minor) in DEVICES.iter().filter(|(name, ..)| ours(name)) {
        let tree =
            copy_device(name, *major, *minor).with_context(|| format!("cannot mount '/dev/{name}'"))?;
        dev.make_file(Path::new(name))?;
        dev.mount(Path::new(name), tree)?;
    }
    Ok(())
}

/// Mounts a jail's own terminals.
pub(crate) fn mount_terminals(root: &OpenedFolder) -> Result<()> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let terminals =
        filesystem::new_filesystem("devpts", &[("ptmxmode", "0666"), ("mode", "0620")], attributes)
            .context("cannot make /dev/pts")?;
    tree::attach_mount(terminals, root.open_mount_point(Path::new("dev/pts"))?)
}

/// Copies the mount of a device of the host and checks its number.
fn copy_device(name: &str, wanted_major: u32, wanted_minor: u32) -> Result<HostTree> {
    let tree = HostTree::copy_entry(CWD, &Path::new("/dev").join(name), false, DEVICE)?;
    let stat = fstat(&tree).map_err(io::Error::from)?;
    let number = (major(stat.st_rdev), minor(stat.st_rdev));
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    ensure!(character && number == (wanted_major, wanted_minor), "it is another device");
    Ok(tree)
}
