//! What the command may ask of the kernel, as data. A list of what is refused, by intent, and closed at its end: what is
//! newer than this list is not there, so that libraries do without it, as they do on an older kernel.
//!
//! Docker's and systemd's lists were read for it. What real programs need is not in it: `mbind` of the JVM, `memfd_create`,
//! threads, shared memory, `seccomp` and Landlock for sandboxes of their own.

use nix::libc::{self, EAFNOSUPPORT, EPERM, EPROTONOSUPPORT, c_int, c_long};

use self::Answer::{Allow, Ask, Refuse};
use super::assembler::Question::{self, Equals, HasAny};

/// The filter's own architecture, `AUDIT_ARCH_…` of linux/audit.h; `None` where nobody made this list fit.
pub(super) const ARCHITECTURE: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64"))
{
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else {
    None
};

/// The last number that programs need: `futex_requeue` of Linux 6.7. What is newer has nothing to ask that a library cannot
/// do without, and is not there until somebody has looked at it. On x86-64 the numbers with the x32 bit lie above too.
pub(super) const LAST: u32 = 456;

/// Numbers above the last one that stay.
pub(super) const ABOVE: &[u32] = if cfg!(target_arch = "arm") {
    // breakpoint, cacheflush, set_tls, get_tls: what a program that makes code cannot do without.
    &[0x000f_0001, 0x000f_0002, 0x000f_0005, 0x000f_0006]
} else {
    &[]
};

/// Numbers that nobody has yet, first and last. On x86-64 the two before them are the kernel's own, for probes that an
/// administrator set.
pub(super) const UNASSIGNED: &[(u32, u32)] = if cfg!(target_arch = "x86_64") {
    &[(337, 423)]
} else if cfg!(target_arch = "aarch64") {
    &[(244, 259), (295, 423)]
} else {
    &[]
};

/// Refused with EPERM, whatever the arguments.
pub(super) const REFUSED: &[c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    OPEN_TREE,
    MOVE_MOUNT,
    FSOPEN,
    FSCONFIG,
    FSMOUNT,
    FSPICK,
    MOUNT_SETATTR,
    // Other namespaces, and files without the way to them.
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    PIDFD_GETFD,
    // Keys are of the user, and the user's other programs have the same.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Large parts of the kernel, in which most holes are found.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    IO_URING_SETUP,
    IO_URING_ENTER,
    IO_URING_REGISTER,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_quotactl,
    QUOTACTL_FD,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_vhangup,
];

/// The same, where they exist.
#[cfg(target_arch = "x86_64")]
pub(super) const REFUSED_HERE: &[c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
/// The same, where they exist.
#[cfg(target_arch = "arm")]
pub(super) const REFUSED_HERE: &[c_long] = &[
    libc::SYS_pciconfig_iobase,
    libc::SYS_pciconfig_read,
    libc::SYS_pciconfig_write,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    CLOCK_SETTIME64,
];
/// The same, where they exist.
#[cfg(not(any(target_arch = "x86_64", target_arch = "arm")))]
pub(super) const REFUSED_HERE: &[c_long] = &[];

/// Answered with ENOSYS, so that who asks does without.
pub(super) const NOT_THERE: &[c_long] = &[
    // Its flags lie in memory, where no filter can read them; C libraries go back to clone.
    CLONE3,
    // Of other processes; the one for itself is madvise.
    PROCESS_MADVISE,
];

/// It depends on an argument.
pub(super) const CHECKED: &[(c_long, Check)] = &[
    // The kernel looks at the lower half of the flags only.
    (libc::SYS_clone, Check { cases: &[(HasAny(NAMESPACES), Refuse(EPERM))], ..Check::ARGUMENT_0 }),
    (
        libc::SYS_unshare,
        Check { upper: Some(EPERM), cases: &[(HasAny(!OWN_COPIES), Refuse(EPERM))], ..Check::ARGUMENT_0 },
    ),
    // Linux itself, 32 bits, old version numbers and both, and the question which it is. The others switch protections off.
    (
        libc::SYS_personality,
        Check {
            cases: &[
                (Equals(0), Allow),
                (Equals(0x8), Allow),
                (Equals(0x2_0000), Allow),
                (Equals(0x2_0008), Allow),
                (Equals(u32::MAX), Allow),
            ],
            otherwise: Refuse(EPERM),
            ..Check::ARGUMENT_0
        },
    ),
    (libc::SYS_socket, FAMILIES),
    (libc::SYS_socketpair, FAMILIES),
    // Typing on a terminal for its owner, and drivers for it. The kernel looks at the lower half only.
    (
        libc::SYS_ioctl,
        Check {
            argument: 1,
            cases: &[
                (Equals(TIOCSTI), Refuse(EPERM)),
                (Equals(TIOCLINUX), Refuse(EPERM)),
                (Equals(TIOCSETD), Refuse(EPERM)),
            ],
            ..Check::ARGUMENT_0
        },
    ),
];

/// The kinds of sockets.
const FAMILIES: Check = Check {
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
    ..Check::ARGUMENT_0
};

/// The protocols of the internet that programs use. The others are large and rarely tried parts of the kernel, and two of
/// them, MPTCP (262) and SMC (256), speak TCP past Landlock's rules about ports.
const PROTOCOLS: Check = Check {
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
    ..Check::ARGUMENT_0
};

/// `NETLINK_ROUTE`, with which the C library lists addresses, and no other family: the rest sets the kernel up.
const NETLINK: Check =
    Check { argument: 2, cases: &[(Equals(0), Allow)], otherwise: Refuse(EPERM), ..Check::ARGUMENT_0 };

/// The answer to a call.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// The kernel may see it.
    Allow,
    /// It fails with this error number.
    Refuse(c_int),
    /// Another argument decides.
    Ask(&'static Check),
}

/// A question about an argument's lower 32 bits.
pub(super) struct Check {
    /// Which.
    pub(super) argument: u32,
    /// The answer when one of its upper 32 bits is set, where the kernel looks at them.
    pub(super) upper: Option<c_int>,
    /// The first that is true decides.
    pub(super) cases: &'static [(Question, Answer)],
    /// When none is.
    pub(super) otherwise: Answer,
}

impl Check {
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

// From 424 on the numbers are the same everywhere, and the libc crate has not all of them for every C library.
const IO_URING_SETUP: c_long = 425;
const IO_URING_ENTER: c_long = 426;
const IO_URING_REGISTER: c_long = 427;
const OPEN_TREE: c_long = 428;
const MOVE_MOUNT: c_long = 429;
const FSOPEN: c_long = 430;
const FSCONFIG: c_long = 431;
const FSMOUNT: c_long = 432;
const FSPICK: c_long = 433;
const CLONE3: c_long = 435;
const PIDFD_GETFD: c_long = 438;
const PROCESS_MADVISE: c_long = 440;
const MOUNT_SETATTR: c_long = 442;
const QUOTACTL_FD: c_long = 443;
/// The libc crate has it for some C libraries only.
const KEXEC_FILE_LOAD: c_long = if cfg!(target_arch = "x86_64") {
    320
} else if cfg!(target_arch = "arm") {
    401
} else {
    294
};
/// For 64 bits of time on a machine of 32.
#[cfg(target_arch = "arm")]
const CLOCK_SETTIME64: c_long = 404;
