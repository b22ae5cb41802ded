//! Landlock: a second guard beside the mounts, and the only one for what belongs to the network that is shared: abstract
//! sockets, which have no file, and TCP ports, of which a command may be allowed its own alone.
//!
//! Its three calls stand in `sys`: the crate for it is made to take whatever the kernel has, while here each version of
//! the kernel's interface means a layer that holds or is told of as missing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fstat, openat};
use rustix::io::Errno;
use rustix::stdio;

use crate::cli::NetworkOption;
use crate::plan::{JailPlan, MountContent};
use crate::sys::{self, LandlockRuleset};

/// Since this version a file may be moved from folder to folder under a ruleset (Linux 5.19).
const MOVES: u32 = 2;
/// Since this version it knows of shortening a file (Linux 6.2).
const TRUNCATES: u32 = 3;
/// Since this version it knows of TCP ports (Linux 6.7).
const PORTS: u32 = 4;
/// Since this version it knows of abstract sockets (Linux 6.12).
const SCOPES: u32 = 6;

/// `LANDLOCK_ACCESS_FS_WRITE_FILE` of linux/landlock.h.
const WRITE_FILE: u64 = 1 << 1;
/// To remove, make, link and move whatever lies in a folder: from `…_REMOVE_DIR` to `…_REFER`.
const CHANGE_FOLDER: u64 = 0x3ff0;
/// `LANDLOCK_ACCESS_FS_TRUNCATE`.
const TRUNCATE: u64 = 1 << 14;
/// `LANDLOCK_ACCESS_NET_BIND_TCP`.
const BIND_TCP: u64 = 1 << 0;
/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET`. Its sister for signals would guard nothing that the process namespace leaves
/// open, and takes `kill(getppid(), 0)` from a program that asks whether its parent lives.
const ABSTRACT_SOCKETS: u64 = 1 << 0;

/// What every jail can write to: terminals and shared memory, and its own processes' settings.
const WRITABLE: [&str; 2] = ["/dev", "/proc"];

/// The version of the kernel's interface; 0 without Landlock.
pub(crate) fn version() -> u32 {
    sys::landlock_version().unwrap_or(0)
}

/// Whether that version can guard files without harm.
pub(crate) fn guards_files(version: u32) -> bool {
    version >= MOVES
}

/// Returns whether `--listen` can be enforced on this machine.
#[must_use]
pub fn can_restrict_ports() -> bool {
    guards_ports(version())
}

/// Returns whether that version can restrict which TCP ports are bound.
pub(crate) fn guards_ports(version: u32) -> bool {
    version >= PORTS
}

/// Whether that version can keep the host's abstract sockets away.
pub(crate) fn guards_sockets(version: u32) -> bool {
    version >= SCOPES
}

/// From now on files can be changed only beneath what is writable in this jail. Reading and running is for the mounts to
/// decide.
pub(crate) fn restrict(plan: &JailPlan, version: u32) -> Result<()> {
    if !guards_files(version) {
        return Ok(());
    }
    let rights = GuardedTrees::of(version);
    let scope = if guards_sockets(version) { ABSTRACT_SOCKETS } else { 0 };
    // In a network that pasta connects, no port is another app's.
    let restrict_ports = guards_ports(version) && !plan.listen.is_empty() && plan.net != NetworkOption::Own;
    let network = if restrict_ports { BIND_TCP } else { 0 };
    let ruleset =
        LandlockRuleset::new(rights.folder, network, scope).context("cannot make a Landlock ruleset")?;
    let places = WRITABLE.map(Path::new).into_iter().chain(plan.mounts.iter().filter_map(writable));
    for place in places {
        // What cannot be opened, and be it because somebody moves it about right now, needs no leave to be written to.
        let Ok(fd) = openat(CWD, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { continue };
        allow(&ruleset, fd.as_fd(), &rights).with_context(|| format!("Landlock: '{}'", place.display()))?;
    }
    // Opened again as /dev/stdout they have to be writable wherever they lie: a log of the host's, for one.
    for fd in [stdio::stdin(), stdio::stdout(), stdio::stderr()] {
        if fcntl_getfl(fd).is_ok_and(|flags| flags.intersects(OFlags::WRONLY | OFlags::RDWR)) {
            allow_file(&ruleset, fd, &rights).context("Landlock: an inherited descriptor")?;
        }
    }
    if restrict_ports {
        // Port 0 asks for any free one of the kernel's ephemeral range.
        for port in plan.listen.iter().copied().chain([0]) {
            ruleset.allow_port(port, BIND_TCP).with_context(|| format!("Landlock: port {port}"))?;
        }
    }
    ruleset.restrict_self().context("cannot restrict the command by Landlock")
}

/// What there is to guard.
#[derive(Debug, PartialEq, Eq)]
struct GuardedTrees {
    /// In and below a folder.
    folder: u64,
    /// Of a file alone.
    file: u64,
}

impl GuardedTrees {
    /// As far as this version knows it.
    fn of(version: u32) -> Self {
        let file = WRITE_FILE | if version >= TRUNCATES { TRUNCATE } else { 0 };
        Self { folder: file | CHANGE_FOLDER, file }
    }
}

/// Where a mount that can be written to stands.
fn writable(mount: &crate::plan::JailMount) -> Option<&Path> {
    match mount.what {
        MountContent::Tree { writable, .. } => writable.then_some(&mount.dst),
        MountContent::Memory { .. } => Some(&mount.dst),
    }
}

/// Lets this and all beneath it be written to.
fn allow(ruleset: &LandlockRuleset, fd: BorrowedFd, rights: &GuardedTrees) -> io::Result<()> {
    let folder = FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory;
    ruleset.allow(fd, if folder { rights.folder } else { rights.file })
}

/// Lets one file be written to. Pipes and sockets without a name need no leave, and the kernel takes none for them.
fn allow_file(ruleset: &LandlockRuleset, fd: BorrowedFd, rights: &GuardedTrees) -> io::Result<()> {
    match ruleset.allow(fd, rights.file) {
        Err(err) if err.raw_os_error() == Some(Errno::BADFD.raw_os_error()) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_version_knows() {
        assert_eq!(GuardedTrees::of(2), GuardedTrees { folder: 0x3ff2, file: 0x2 });
        assert_eq!(GuardedTrees::of(3), GuardedTrees { folder: 0x7ff2, file: 0x4002 });
        assert_eq!(GuardedTrees::of(7), GuardedTrees::of(3));
        assert!(!guards_ports(3) && guards_ports(4));
        assert!(!guards_files(1) && guards_files(2) && !guards_sockets(5) && guards_sockets(6));
    }
}
