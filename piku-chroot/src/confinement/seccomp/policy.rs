//! What the command may ask of the kernel, as data. A list of what is refused, by intent, and closed at its end: what is
//! newer than this list is not there, so that libraries do without it, as they do on an older kernel.
//!
//! Docker's and systemd's lists were read for it. What real programs need is not in it: `mbind` of the JVM, `memfd_create`,
//! threads, shared memory, `seccomp` and Landlock for sandboxes of their own.

use nix::libc::{EAFNOSUPPORT, EPERM, EPROTONOSUPPORT, c_int};

use self::CallAnswer::{Allow, Ask, Refuse};
use super::assembler::WordQuestion::{self, Equals, HasAny};
use super::numbers::{self, CallArchitecture, SystemCall};

/// The last number that programs need: `futex_requeue` of Linux 6.7. What is newer has nothing to ask that a library cannot
/// do without, and is not there until somebody has looked at it. On x86-64 the numbers with the x32 bit lie above too.
pub(super) const LAST: u32 = 456;

/// Returns the numbers above the last one that stay.
pub(super) fn above(architecture: CallArchitecture) -> &'static [u32] {
    match architecture {
        // breakpoint, cacheflush, set_tls, get_tls: what a program that makes code cannot do without.
        CallArchitecture::Arm => &[0x000f_0001, 0x000f_0002, 0x000f_0005, 0x000f_0006],
        CallArchitecture::X86_64 | CallArchitecture::Aarch64 => &[],
    }
}

/// Returns the numbers that nobody has yet, first and last. On x86-64 the two before them are the kernel's own, for probes
/// that an administrator set.
pub(super) fn unassigned(architecture: CallArchitecture) -> &'static [(u32, u32)] {
    match architecture {
        CallArchitecture::X86_64 => &[(337, 423)],
        CallArchitecture::Aarch64 => &[(244, 259), (295, 423)],
        CallArchitecture::Arm => &[],
    }
}

/// Refused with EPERM, whatever the arguments.
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
    // Other namespaces, and files without the way to them.
    numbers::SETNS,
    numbers::OPEN_BY_HANDLE_AT,
    // Other processes.
    numbers::PTRACE,
    numbers::PROCESS_VM_READV,
    numbers::PROCESS_VM_WRITEV,
    numbers::KCMP,
    numbers::PIDFD_GETFD,
    // Keys are of the user, and the user's other programs have the same.
    numbers::KEYCTL,
    numbers::ADD_KEY,
    numbers::REQUEST_KEY,
    // Large parts of the kernel, in which most holes are found.
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
    // For 64 bits of time on a machine of 32.
    numbers::CLOCK_SETTIME64,
    numbers::VHANGUP,
    // Hardware, and what is left of older kernels.
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

/// Answered with ENOSYS, so that who asks does without.
pub(super) const NOT_THERE: &[SystemCall] = &[
    // Its flags lie in memory, where no filter can read them; C libraries go back to clone.
    numbers::CLONE3,
    // Of other processes; the one for itself is madvise.
    numbers::PROCESS_MADVISE,
];

/// It depends on an argument.
pub(super) const CHECKED: &[(SystemCall, ArgumentCheck)] = &[
    // The kernel looks at the lower half of the flags only.
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
    // Linux itself, 32 bits, old version numbers and both, and the question which it is. The others switch protections off.
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
    // Typing on a terminal for its owner, and drivers for it. The kernel looks at the lower half only.
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
];

/// The kinds of sockets.
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

/// The protocols of the internet that programs use. The others are large and rarely tried parts of the kernel, and two of
/// them, MPTCP (262) and SMC (256), speak TCP past Landlock's rules about ports.
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

/// `NETLINK_ROUTE`, with which the C library lists addresses, and no other family: the rest sets the kernel up.
const NETLINK: ArgumentCheck = ArgumentCheck {
    argument: 2,
    cases: &[(Equals(0), Allow)],
    otherwise: Refuse(EPERM),
    ..ArgumentCheck::ARGUMENT_0
};

/// The answer to a call.
#[derive(Clone, Copy)]
pub(super) enum CallAnswer {
    /// The kernel may see it.
    Allow,
    /// It fails with this error number.
    Refuse(c_int),
    /// Another argument decides.
    Ask(&'static ArgumentCheck),
}

/// A question about an argument's lower 32 bits.
pub(super) struct ArgumentCheck {
    /// Which.
    pub(super) argument: u32,
    /// The answer when one of its upper 32 bits is set, where the kernel looks at them.
    pub(super) upper: Option<c_int>,
    /// The first that is true decides.
    pub(super) cases: &'static [(WordQuestion, CallAnswer)],
    /// When none is.
    pub(super) otherwise: CallAnswer,
}

impl ArgumentCheck {
    /// The first argument, whatever it is.
    const ARGUMENT_0: Self = Self { argument: 0, upper: None, cases: &[], otherwise: Allow };
}

/// `CLONE_NEW…`: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACES: u32 = 0x7e02_0000;
/// What unshare may do: `CLONE_FS`, `CLONE_FILES`, `CLONE_SYSVSEM`, and `CLONE_VM`, `CLONE_SIGHAND`, `CLONE_THREAD`, which mean
/// nothing to a process with one thread. `CLONE_NEWTIME` is 0x80.
const OWN_COPIES: u32 = 0x200 | 0x400 | 0x4_0000 | 0x100 | 0x800 | 0x1_0000;

// The C libraries have them in different types.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const TIOCSETD: u32 = 0x5423;
