//! The devices that every program may expect, and no others. A user namespace cannot make devices, so the host's own are
//! shown, each alone; terminals and shared memory are new.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, major, minor, openat, statat};
use rustix::mount::MountAttrFlags;

use crate::filesystem;
use crate::place::Places;
use crate::root::Placed;
use crate::tree::{self, DEVICE, Tree};

/// Names and numbers, as the kernel's list of devices has them.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links, and where they lead.
const LINKS: [(&str, &str); 5] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
    ("dev/ptmx", "pts/ptmx"),
];

/// Makes the places below `/dev`, mounts the terminals, and hands back the devices.
pub(crate) fn make(places: &Places) -> Result<Vec<Placed>> {
    for (link, target) in LINKS {
        places.link(Path::new(link), Path::new(target))?;
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let terminals = filesystem::new("devpts", &[("ptmxmode", "0666"), ("mode", "0620")], attributes)
        .context("cannot make /dev/pts")?;
    tree::attach(terminals, places.folder(Path::new("dev/pts"))?).context("cannot mount /dev/pts")?;
    DEVICES.into_iter().map(|(name, major, minor)| device(places, name, major, minor)).collect()
}

fn device(places: &Places, name: &str, wanted_major: u32, wanted_minor: u32) -> Result<Placed> {
    let path = Path::new("/dev").join(name);
    let open = || -> Result<OwnedFd> {
        let fd = openat(CWD, &path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = statat(&fd, c"", AtFlags::EMPTY_PATH)?;
        let number = (major(stat.st_rdev), minor(stat.st_rdev));
        let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        ensure!(character && number == (wanted_major, wanted_minor), "it is not that device");
        Ok(fd)
    };
    let context = || format!("cannot let in '{}'", path.display());
    let tree = Tree::copy(open().with_context(context)?, DEVICE).with_context(context)?;
    places.file(&path, b"")?;
    Ok((path, tree))
}
