//! Landlock: a second guard beside the mounts, and the only guard for those parts of a shared network that
//! have no file: abstract sockets and TCP ports.
//!
//! The `landlock` crate makes the system calls: this program needs no unsafe code for them, and the crate
//! can refuse a right that the kernel lacks. Its default, to leave such a right out, is not used: every
//! right is a hard requirement. [`LandlockSupport::probe`] asks for each protection once, so that a missing
//! one is reported or refused, and [`restrict`] asks only for what the kernel has. The crate works in static
//! programs, has bindings for 32-bit ARM, and adds no measurable time to the start of a jail.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use landlock::{
    AccessFs, AccessNet, AddRuleError, AddRulesError, BitFlags, CompatLevel, Compatible, NetPort,
    PathBeneath, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, make_bitflags,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fstat, openat};
use rustix::io::Errno;
use rustix::stdio;

use crate::cli::NetworkOption;
use crate::plan::JailPlan;

/// Directories that every jail can write to: terminals and shared memory, and the settings of its own
/// processes.
const WRITABLE: [&str; 2] = ["/dev", "/proc"];

/// Rights to change the entries of a directory.
const CHANGE_DIRECTORY: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    RemoveDir | RemoveFile | MakeChar | MakeDir | MakeReg | MakeSock | MakeFifo | MakeBlock | MakeSym | Refer
});

/// Protections of Landlock that this kernel has.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each of the kernel's features")]
pub(crate) struct LandlockSupport {
    /// Files cannot be changed (Linux 5.19: older versions forbid to move a file between directories).
    pub(crate) files: bool,
    /// Files cannot be truncated (Linux 6.2).
    pub(crate) truncation: bool,
    /// TCP ports cannot be bound (Linux 6.7).
    pub(crate) ports: bool,
    /// Abstract sockets cannot be reached (Linux 6.12).
    pub(crate) sockets: bool,
}

impl LandlockSupport {
    pub(crate) fn probe() -> Self {
        Self {
            files: strict_ruleset().handle_access(AccessFs::Refer).is_ok(),
            truncation: strict_ruleset().handle_access(AccessFs::Truncate).is_ok(),
            ports: strict_ruleset().handle_access(AccessNet::BindTcp).is_ok(),
            sockets: strict_ruleset().scope(Scope::AbstractUnixSocket).is_ok(),
        }
    }

    /// Returns the rights on a single file that the kernel can take away.
    fn file_rights(self) -> BitFlags<AccessFs> {
        let truncate = if self.truncation { AccessFs::Truncate.into() } else { BitFlags::EMPTY };
        truncate | AccessFs::WriteFile
    }
}

/// Returns whether `--listen` can be enforced on this machine.
#[must_use]
pub fn can_restrict_ports() -> bool {
    LandlockSupport::probe().ports
}

/// Restricts this process to change files only beneath the writable mounts of the jail, and to bind only its
/// own ports. Reading and executing is up to the mounts.
pub(crate) fn restrict(plan: &JailPlan, support: LandlockSupport) -> Result<()> {
    if !support.files {
        return Ok(());
    }
    // In a network that pasta connects, the ports belong to this jail alone.
    let restrict_ports = support.ports && !plan.listen.is_empty() && plan.net != NetworkOption::Own;
    let mut ruleset = make_ruleset(support, restrict_ports).context("cannot make a Landlock ruleset")?;
    // A rule holds for everything below its path, and for what is mounted there.
    let is_covered = |path: &PathBuf| WRITABLE.iter().any(|dir| path.starts_with(dir));
    let places = plan.writable_places().into_iter().filter(|path| !is_covered(path));
    for path in WRITABLE.map(PathBuf::from).into_iter().chain(places) {
        // A path that cannot be opened, perhaps because an app is moving it, gets no rights. A kept path that
        // is a symlink leads to the data, which is writable.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(fd) = openat(CWD, &path, flags, Mode::empty()) else { continue };
        let stat = fstat(&fd).map_err(io::Error::from)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            continue;
        }
        let is_directory = kind == FileType::Directory;
        let more = if is_directory { CHANGE_DIRECTORY } else { BitFlags::EMPTY };
        (&mut ruleset)
            .add_rule(PathBeneath::new(fd, support.file_rights() | more))
            .with_context(|| format!("Landlock: '{}'", path.display()))?;
    }
    // A command may open them again as /dev/stdout, wherever they are: a log of the host, for one.
    for fd in [stdio::stdin(), stdio::stdout(), stdio::stderr()] {
        if fcntl_getfl(fd).is_ok_and(|flags| flags.intersects(OFlags::WRONLY | OFlags::RDWR)) {
            allow_file(&mut ruleset, fd, support).context("Landlock: an inherited descriptor")?;
        }
    }
    if restrict_ports {
        // Port 0 stands for the ports that the kernel picks.
        for port in plan.listen.iter().copied().chain([0]) {
            (&mut ruleset)
                .add_rule(NetPort::new(port, AccessNet::BindTcp))
                .with_context(|| format!("Landlock: port {port}"))?;
        }
    }
    // The flag no_new_privs is set already.
    let status =
        ruleset.no_new_privs(false).restrict_self().context("cannot restrict the command by Landlock")?;
    ensure!(status.ruleset == RulesetStatus::FullyEnforced, "Landlock enforces only a part of its rules");
    Ok(())
}

/// Returns a ruleset that fails on every right that the kernel does not know.
fn strict_ruleset() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

fn make_ruleset(support: LandlockSupport, restrict_ports: bool) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = strict_ruleset().handle_access(support.file_rights() | CHANGE_DIRECTORY)?;
    if restrict_ports {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
    }
    if support.sockets {
        // Not `Scope::Signal`: the process namespace leaves nothing for it to guard, and it would
        // refuse `kill(getppid(), 0)` to a program that asks whether its parent lives.
        ruleset = ruleset.scope(Scope::AbstractUnixSocket)?;
    }
    ruleset.create()
}

/// Allows to write to an open file. Pipes and sockets without a name need no rule, and the kernel refuses one
/// for them.
fn allow_file(
    ruleset: &mut RulesetCreated,
    fd: BorrowedFd,
    support: LandlockSupport,
) -> Result<(), RulesetError> {
    match ruleset.add_rule(PathBeneath::new(fd, support.file_rights())) {
        Err(RulesetError::AddRules(AddRulesError::Fs(AddRuleError::AddRuleCall { source, .. })))
            if source.raw_os_error() == Some(Errno::BADFD.raw_os_error()) =>
        {
            Ok(())
        }
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use landlock::ABI;

    #[test]
    fn each_right_to_write_is_handled() {
        let newest = LandlockSupport { files: true, truncation: true, ports: true, sockets: true };
        let handled = newest.file_rights() | CHANGE_DIRECTORY;
        assert_eq!(AccessFs::from_write(ABI::V3), handled);
        let old = LandlockSupport { truncation: false, ..newest };
        assert_eq!(AccessFs::from_write(ABI::V2), old.file_rights() | CHANGE_DIRECTORY);
        assert!(!handled.intersects(AccessFs::from_read(ABI::V3)));
    }
}
