//! The policy of the filter, as data: a list of refused calls, by intent. Calls that are newer than this list
//! do not exist for the command; libraries then do without them, as on an older kernel.
//!
//! The lists of Docker and systemd were read for it. Calls that real programs need are allowed: `mbind` of
//! the JVM, `memfd_create`, threads, shared memory, and `seccomp` and Landlock for their own sandboxes.

use nix::libc::{EAFNOSUPPORT, EPERM, EPROTONOSUPPORT, c_int};

use self::CallAnswer::{Allow, Ask, Refuse};
use super::assembler::WordQuestion::{self, Equals, HasAny};
use super::numbers::{self, CallArchitecture, SystemCall};

/// Last number that programs need: `futex_requeue` of Linux 6.7. Libraries can do without newer calls, which
/// stay refused until they have been reviewed. On x86-64 the numbers with the x32 bit are above it too.
pub(super) const LAST: u32 = 456;

/// Returns the allowed numbers above [`LAST`].
pub(super) fn numbers_above(architecture: CallArchitecture) -> &'static [u32] {
    match architecture {
        // breakpoint, cacheflush, set_tls and get_tls, which programs that generate code need.
        CallArchitecture::Arm => &[0x000f_0001, 0x000f_0002, 0x000f_0005, 0x000f_0006],
        CallArchitecture::X86_64 | CallArchitecture::Aarch64 => &[],
    }
}

/// Returns the first and the last number of each unassigned range. On x86-64 the two numbers before it are
/// the kernel's own, for probes of an administrator.
pub(super) fn unassigned_ranges(architecture: CallArchitecture) -> &'static [(u32, u32)] {
    match architecture {
        CallArchitecture::X86_64 => &[(337, 423)],
        CallArchitecture::Aarch64 => &[(244, 259), (295, 423)],
        CallArchitecture::Arm => &[],
    }
}

/// Calls that fail with EPERM, whatever their arguments.
pub(super) const REFUSED: &[SystemCall] = &[
    // Mounts and roots.
    numbers::MOUNT,
    numbers::UMOUNT2,
    numbers::PIVOT_ROOT,
    numbers::CHROOT,
    numbers::OPEN_TREE,
    numbers::MOVE_MOUNT,
    numbers::FSOPEN,
    numbers::FSCONFIG,
    numbers::FSMOUNT,
    numbers::FSPICK,
    numbers::MOUNT_SETATTR,
    // Other namespaces, and files opened without their path.
    numbers::SETNS,
    numbers::OPEN_BY_HANDLE_AT,
    // Other processes.
    numbers::PTRACE,
    numbers::PROCESS_VM_READV,
    numbers::PROCESS_VM_WRITEV,
    numbers::KCMP,
    numbers::PIDFD_GETFD,
    // Keys belong to the user, whose other programs share them.
    numbers::KEYCTL,
    numbers::ADD_KEY,
    numbers::REQUEST_KEY,
    // Large parts of the kernel, in which most vulnerabilities are found.
    numbers::BPF,
    numbers::PERF_EVENT_OPEN,
    numbers::USERFAULTFD,
    numbers::IO_URING_SETUP,
    numbers::IO_URING_ENTER,
    numbers::IO_URING_REGISTER,
    numbers::FANOTIFY_INIT,
    numbers::LOOKUP_DCOOKIE,
    // The machine.
    numbers::REBOOT,
    numbers::KEXEC_LOAD,
    numbers::KEXEC_FILE_LOAD,
    numbers::INIT_MODULE,
    numbers::FINIT_MODULE,
    numbers::DELETE_MODULE,
    numbers::SWAPON,
    numbers::SWAPOFF,
    numbers::ACCT,
    numbers::SYSLOG,
    numbers::QUOTACTL,
    numbers::QUOTACTL_FD,
    numbers::SETHOSTNAME,
    numbers::SETDOMAINNAME,
    numbers::SETTIMEOFDAY,
    numbers::CLOCK_SETTIME,
    // 64-bit time on a 32-bit machine.
    numbers::CLOCK_SETTIME64,
    numbers::VHANGUP,
    // Hardware, and remains of older kernels.
    numbers::IOPL,
    numbers::IOPERM,
    numbers::MODIFY_LDT,
    numbers::PCICONFIG_IOBASE,
    numbers::PCICONFIG_READ,
    numbers::PCICONFIG_WRITE,
    numbers::USELIB,
    numbers::USTAT,
    numbers::SYSFS,
    numbers::SYSCTL,
];

/// Calls that fail with ENOSYS, so that callers do without them.
pub(super) const NOT_THERE: &[SystemCall] = &[
    // Its flags are in memory, which no filter can read; C libraries fall back to clone.
    numbers::CLONE3,
    // Acts on other processes; for itself a process has madvise.
    numbers::PROCESS_MADVISE,
];

/// Calls whose arguments decide.
pub(super) const CHECKED: &[(SystemCall, ArgumentCheck)] = &[
    // The kernel looks only at the lower half of the flags.
    (
        numbers::CLONE,
        ArgumentCheck { cases: &[(HasAny(NAMESPACES), Refuse(EPERM))], ..ArgumentCheck::ARGUMENT_0 },
    ),
    (
        numbers::UNSHARE,
        ArgumentCheck {
            upper: Some(EPERM),
            cases: &[(HasAny(!OWN_COPIES), Refuse(EPERM))],
            ..ArgumentCheck::ARGUMENT_0
        },
    ),
    // Linux itself, 32 bits, old version numbers, both, and the question which one is set. Others switch
    // protections off.
    (
        numbers::PERSONALITY,
        ArgumentCheck {
            cases: &[
                (Equals(0), Allow),
                (Equals(0x8), Allow),
                (Equals(0x2_0000), Allow),
                (Equals(0x2_0008), Allow),
                (Equals(u32::MAX), Allow),
            ],
            otherwise: Refuse(EPERM),
            ..ArgumentCheck::ARGUMENT_0
        },
    ),
    (numbers::SOCKET, FAMILIES),
    (numbers::SOCKETPAIR, FAMILIES),
    // Typing into a terminal for its owner, and line disciplines. The kernel looks only at the lower half.
    (
        numbers::IOCTL,
        ArgumentCheck {
            argument: 1,
            cases: &[
                (Equals(TIOCSTI), Refuse(EPERM)),
                (Equals(TIOCLINUX), Refuse(EPERM)),
                (Equals(TIOCSETD), Refuse(EPERM)),
            ],
            ..ArgumentCheck::ARGUMENT_0
        },
    ),
    (numbers::FCNTL, NO_LEASES),
    (numbers::FCNTL64, NO_LEASES),
    (numbers::MKNOD, ArgumentCheck { argument: 1, ..NO_DEVICES }),
    (numbers::MKNODAT, NO_DEVICES),
];

/// Refuses leases: any process that opens a leased file waits until its holder gives it back, or for 45 seconds. Apps may
/// own files that piku, nginx and the builds of other apps open.
const NO_LEASES: ArgumentCheck = ArgumentCheck {
    argument: 1,
    cases: &[(Equals(F_SETLEASE), Refuse(EPERM)), (Equals(F_SETDELEG), Refuse(EPERM))],
    ..ArgumentCheck::ARGUMENT_0
};

/// Refuses device nodes. The kernel lets anybody make the one with the numbers 0 and 0, overlayfs's mark of a removed file,
/// which archives of the app's files would have to carry. The bit is that of character and block devices, and of no type
/// that mknod makes otherwise; the kernel looks only at the lower half.
const NO_DEVICES: ArgumentCheck =
    ArgumentCheck { argument: 2, cases: &[(HasAny(S_IFCHR), Refuse(EPERM))], ..ArgumentCheck::ARGUMENT_0 };

/// Socket families.
const FAMILIES: ArgumentCheck = ArgumentCheck {
    cases: &[
        (Equals(1), Allow),            // AF_UNIX
        (Equals(2), Ask(&PROTOCOLS)),  // AF_INET
        (Equals(10), Ask(&PROTOCOLS)), // AF_INET6
        (Equals(16), Ask(&NETLINK)),   // AF_NETLINK
        (Equals(38), Refuse(EPERM)),   // AF_ALG
        (Equals(40), Refuse(EPERM)),   // AF_VSOCK
        (Equals(17), Refuse(EPERM)),   // AF_PACKET
    ],
    otherwise: Refuse(EAFNOSUPPORT),
    ..ArgumentCheck::ARGUMENT_0
};

/// Internet protocols that programs use. The others are large and rarely tested parts of the kernel, and two
/// of them, MPTCP (262) and SMC (256), carry TCP past Landlock's rules about ports.
const PROTOCOLS: ArgumentCheck = ArgumentCheck {
    argument: 2,
    cases: &[
        (Equals(0), Allow),   // the type's own: TCP or UDP
        (Equals(1), Allow),   // ICMP, for ping
        (Equals(6), Allow),   // TCP
        (Equals(17), Allow),  // UDP
        (Equals(58), Allow),  // ICMPv6
        (Equals(136), Allow), // UDP-Lite
    ],
    otherwise: Refuse(EPROTONOSUPPORT),
    ..ArgumentCheck::ARGUMENT_0
};

/// Allows only `NETLINK_ROUTE`, with which the C library lists addresses: the other families configure the
/// kernel.
const NETLINK: ArgumentCheck = ArgumentCheck {
    argument: 2,
    cases: &[(Equals(0), Allow)],
    otherwise: Refuse(EPERM),
    ..ArgumentCheck::ARGUMENT_0
};

/// Outcome of a check.
#[derive(Clone, Copy)]
pub(super) enum CallAnswer {
    Allow,
    /// The call fails with this error number.
    Refuse(c_int),
    /// Another argument decides.
    Ask(&'static ArgumentCheck),
}

/// A check of an argument's lower 32 bits.
pub(super) struct ArgumentCheck {
    /// Index of the argument.
    pub(super) argument: u32,
    /// Error if one of its upper 32 bits is set, for calls in which the kernel looks at them.
    pub(super) upper: Option<c_int>,
    /// The first question that is true decides.
    pub(super) cases: &'static [(WordQuestion, CallAnswer)],
    /// Outcome if none is true.
    pub(super) otherwise: CallAnswer,
}

impl ArgumentCheck {
    /// Allows any value of the first argument.
    const ARGUMENT_0: Self = Self { argument: 0, upper: None, cases: &[], otherwise: Allow };
}

/// `CLONE_NEW…`: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACES: u32 = 0x7e02_0000;
/// Flags that unshare may have: `CLONE_FS`, `CLONE_FILES`, `CLONE_SYSVSEM`, and `CLONE_VM`, `CLONE_SIGHAND`
/// and `CLONE_THREAD`, which mean nothing to a process with one thread. `CLONE_NEWTIME` is 0x80.
const OWN_COPIES: u32 = 0x200 | 0x400 | 0x4_0000 | 0x100 | 0x800 | 0x1_0000;

// C libraries define them with different types.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const TIOCSETD: u32 = 0x5423;
const S_IFCHR: u32 = 0o02_0000;
const F_SETLEASE: u32 = 1024;
/// Of Linux 6.19.
const F_SETDELEG: u32 = 1040;
