//! The calls of Landlock.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::libc;

/// The version of Landlock's interface.
pub(crate) fn landlock_version() -> io::Result<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: no memory is handed over.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, LANDLOCK_CREATE_RULESET_VERSION)
    };
    if version == -1 {
        Err(io::Error::last_os_error())
    } else {
        u32::try_from(version).map_err(io::Error::other)
    }
}

/// A set of rules for Landlock.
pub(crate) struct LandlockRuleset(OwnedFd);

/// `struct landlock_ruleset_attr` of linux/landlock.h.
#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scopes: u64,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: libc::c_int,
}

impl LandlockRuleset {
    /// Creates a ruleset that denies these rights on files and on TCP ports, but for what is allowed later, and guards these
    /// scopes.
    pub(crate) fn new(files: u64, network: u64, scopes: u64) -> io::Result<Self> {
        let attributes = RulesetAttributes { files, network, scopes };
        // SAFETY: the structure outlives the call, and its size is the one that is told. An older kernel takes a longer one
        // when the rest of it is zero.
        let fd = unsafe {
            let size = size_of::<RulesetAttributes>();
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size, 0)
        };
        match fd {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the kernel has just made this descriptor for us, closed at exec, and nobody else knows of it.
            fd => Ok(Self(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) })),
        }
    }

    /// Allows these rights on this file or beneath this folder.
    pub(crate) fn allow(&self, parent: impl AsFd, allowed: u64) -> io::Result<()> {
        const LANDLOCK_RULE_PATH_BENEATH: libc::c_int = 1;
        let rule = PathBeneath { allowed, parent: parent.as_fd().as_raw_fd() };
        let ruleset = self.0.as_raw_fd();
        // SAFETY: both descriptors are open, and the structure, packed as the kernel has it, outlives the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset,
                LANDLOCK_RULE_PATH_BENEATH,
                &raw const rule,
                0,
            )
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Allows these rights on this TCP port.
    pub(crate) fn allow_port(&self, port: u16, allowed: u64) -> io::Result<()> {
        const LANDLOCK_RULE_NET_PORT: libc::c_int = 2;
        let rule = NetPort { allowed, port: port.into() };
        let ruleset = self.0.as_raw_fd();
        // SAFETY: the descriptor is open, and the structure, laid out as the kernel has it, outlives the call.
        let result = unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_NET_PORT, &raw const rule, 0)
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Puts the rules on this process and all that it starts.
    pub(crate) fn restrict_self(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open; no memory is handed over.
        let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
