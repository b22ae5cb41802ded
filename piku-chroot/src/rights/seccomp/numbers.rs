//! The numbers of system calls, which differ from architecture to architecture. Written out for all of them: a filter may
//! have to know the calls of a userland that this program was not built for.

/// An architecture whose calls are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    X86_64,
    Aarch64,
    /// 32 bits, with the EABI.
    Arm,
}

impl Architecture {
    /// The one that this program was built for, and whose calls it makes itself; `None` where nobody made the list fit.
    pub(super) const OWN: Option<Self> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else if cfg!(target_arch = "arm") {
        Some(Self::Arm)
    } else {
        None
    };

    /// Returns the other one whose programs the same kernel can run. The 32-bit calls of x86 are none: `socketcall` has its
    /// arguments in memory, where no filter can read them.
    pub(super) fn sister(self) -> Option<Self> {
        match self {
            Self::X86_64 => None,
            Self::Aarch64 => Some(Self::Arm),
            Self::Arm => Some(Self::Aarch64),
        }
    }

    /// Returns its `AUDIT_ARCH_…` of linux/audit.h.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Returns its class (32 or 64 bits) and its `e_machine` in an ELF header.
    pub(super) fn elf(self) -> (u8, u16) {
        match self {
            Self::X86_64 => (2, 62),
            Self::Aarch64 => (2, 183),
            Self::Arm => (1, 40),
        }
    }
}

/// A system call, by its number on each architecture.
#[derive(Clone, Copy)]
pub(super) struct Call {
    x86_64: u32,
    aarch64: u32,
    arm: u32,
}

/// It does not exist there.
const NONE: u32 = u32::MAX;

impl Call {
    const fn new(x86_64: u32, aarch64: u32, arm: u32) -> Self {
        Self { x86_64, aarch64, arm }
    }

    /// Creates a call with a number from 424 on, which is the same everywhere.
    const fn everywhere(number: u32) -> Self {
        Self::new(number, number, number)
    }

    /// Returns its number, where it exists.
    pub(super) fn number(self, architecture: Architecture) -> Option<u32> {
        let number = match architecture {
            Architecture::X86_64 => self.x86_64,
            Architecture::Aarch64 => self.aarch64,
            Architecture::Arm => self.arm,
        };
        (number != NONE).then_some(number)
    }
}

pub(super) const MOUNT: Call = Call::new(165, 40, 21);
pub(super) const UMOUNT2: Call = Call::new(166, 39, 52);
pub(super) const PIVOT_ROOT: Call = Call::new(155, 41, 218);
pub(super) const CHROOT: Call = Call::new(161, 51, 61);
pub(super) const OPEN_TREE: Call = Call::everywhere(428);
pub(super) const MOVE_MOUNT: Call = Call::everywhere(429);
pub(super) const FSOPEN: Call = Call::everywhere(430);
pub(super) const FSCONFIG: Call = Call::everywhere(431);
pub(super) const FSMOUNT: Call = Call::everywhere(432);
pub(super) const FSPICK: Call = Call::everywhere(433);
pub(super) const MOUNT_SETATTR: Call = Call::everywhere(442);
pub(super) const SETNS: Call = Call::new(308, 268, 375);
pub(super) const OPEN_BY_HANDLE_AT: Call = Call::new(304, 265, 371);
pub(super) const PTRACE: Call = Call::new(101, 117, 26);
pub(super) const PROCESS_VM_READV: Call = Call::new(310, 270, 376);
pub(super) const PROCESS_VM_WRITEV: Call = Call::new(311, 271, 377);
pub(super) const KCMP: Call = Call::new(312, 272, 378);
pub(super) const PIDFD_GETFD: Call = Call::everywhere(438);
pub(super) const KEYCTL: Call = Call::new(250, 219, 311);
pub(super) const ADD_KEY: Call = Call::new(248, 217, 309);
pub(super) const REQUEST_KEY: Call = Call::new(249, 218, 310);
pub(super) const BPF: Call = Call::new(321, 280, 386);
pub(super) const PERF_EVENT_OPEN: Call = Call::new(298, 241, 364);
pub(super) const USERFAULTFD: Call = Call::new(323, 282, 388);
pub(super) const IO_URING_SETUP: Call = Call::everywhere(425);
pub(super) const IO_URING_ENTER: Call = Call::everywhere(426);
pub(super) const IO_URING_REGISTER: Call = Call::everywhere(427);
pub(super) const FANOTIFY_INIT: Call = Call::new(300, 262, 367);
pub(super) const LOOKUP_DCOOKIE: Call = Call::new(212, 18, 249);
pub(super) const REBOOT: Call = Call::new(169, 142, 88);
pub(super) const KEXEC_LOAD: Call = Call::new(246, 104, 347);
pub(super) const KEXEC_FILE_LOAD: Call = Call::new(320, 294, 401);
pub(super) const INIT_MODULE: Call = Call::new(175, 105, 128);
pub(super) const FINIT_MODULE: Call = Call::new(313, 273, 379);
pub(super) const DELETE_MODULE: Call = Call::new(176, 106, 129);
pub(super) const SWAPON: Call = Call::new(167, 224, 87);
pub(super) const SWAPOFF: Call = Call::new(168, 225, 115);
pub(super) const ACCT: Call = Call::new(163, 89, 51);
pub(super) const SYSLOG: Call = Call::new(103, 116, 103);
pub(super) const QUOTACTL: Call = Call::new(179, 60, 131);
pub(super) const QUOTACTL_FD: Call = Call::everywhere(443);
pub(super) const SETHOSTNAME: Call = Call::new(170, 161, 74);
pub(super) const SETDOMAINNAME: Call = Call::new(171, 162, 121);
pub(super) const SETTIMEOFDAY: Call = Call::new(164, 170, 79);
pub(super) const CLOCK_SETTIME: Call = Call::new(227, 112, 262);
pub(super) const CLOCK_SETTIME64: Call = Call::new(NONE, NONE, 404);
pub(super) const VHANGUP: Call = Call::new(153, 58, 111);
pub(super) const IOPL: Call = Call::new(172, NONE, NONE);
pub(super) const IOPERM: Call = Call::new(173, NONE, NONE);
pub(super) const MODIFY_LDT: Call = Call::new(154, NONE, NONE);
pub(super) const USELIB: Call = Call::new(134, NONE, 86);
pub(super) const USTAT: Call = Call::new(136, NONE, 62);
pub(super) const SYSFS: Call = Call::new(139, NONE, 135);
pub(super) const SYSCTL: Call = Call::new(156, NONE, 149);
pub(super) const PCICONFIG_IOBASE: Call = Call::new(NONE, NONE, 271);
pub(super) const PCICONFIG_READ: Call = Call::new(NONE, NONE, 272);
pub(super) const PCICONFIG_WRITE: Call = Call::new(NONE, NONE, 273);
pub(super) const CLONE3: Call = Call::everywhere(435);
pub(super) const PROCESS_MADVISE: Call = Call::everywhere(440);
pub(super) const CLONE: Call = Call::new(56, 220, 120);
pub(super) const UNSHARE: Call = Call::new(272, 97, 337);
pub(super) const PERSONALITY: Call = Call::new(135, 92, 136);
pub(super) const SOCKET: Call = Call::new(41, 198, 281);
pub(super) const SOCKETPAIR: Call = Call::new(53, 199, 288);
pub(super) const IOCTL: Call = Call::new(16, 29, 54);

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc;

    /// The C library's own numbers, as far as it has them wherever this is built.
    #[test]
    fn the_numbers_are_those_of_this_machine() {
        let Some(own) = Architecture::OWN else { return };
        for (call, number) in [
            (MOUNT, libc::SYS_mount),
            (UMOUNT2, libc::SYS_umount2),
            (PIVOT_ROOT, libc::SYS_pivot_root),
            (CHROOT, libc::SYS_chroot),
            (SETNS, libc::SYS_setns),
            (OPEN_BY_HANDLE_AT, libc::SYS_open_by_handle_at),
            (PTRACE, libc::SYS_ptrace),
            (PROCESS_VM_READV, libc::SYS_process_vm_readv),
            (PROCESS_VM_WRITEV, libc::SYS_process_vm_writev),
            (KCMP, libc::SYS_kcmp),
            (KEYCTL, libc::SYS_keyctl),
            (ADD_KEY, libc::SYS_add_key),
            (REQUEST_KEY, libc::SYS_request_key),
            (BPF, libc::SYS_bpf),
            (PERF_EVENT_OPEN, libc::SYS_perf_event_open),
            (USERFAULTFD, libc::SYS_userfaultfd),
            (FANOTIFY_INIT, libc::SYS_fanotify_init),
            (LOOKUP_DCOOKIE, libc::SYS_lookup_dcookie),
            (REBOOT, libc::SYS_reboot),
            (KEXEC_LOAD, libc::SYS_kexec_load),
            (INIT_MODULE, libc::SYS_init_module),
            (FINIT_MODULE, libc::SYS_finit_module),
            (DELETE_MODULE, libc::SYS_delete_module),
            (SWAPON, libc::SYS_swapon),
            (SWAPOFF, libc::SYS_swapoff),
            (ACCT, libc::SYS_acct),
            (SYSLOG, libc::SYS_syslog),
            (QUOTACTL, libc::SYS_quotactl),
            (SETHOSTNAME, libc::SYS_sethostname),
            (SETDOMAINNAME, libc::SYS_setdomainname),
            (SETTIMEOFDAY, libc::SYS_settimeofday),
            (CLOCK_SETTIME, libc::SYS_clock_settime),
            (VHANGUP, libc::SYS_vhangup),
            (CLONE, libc::SYS_clone),
            (UNSHARE, libc::SYS_unshare),
            (PERSONALITY, libc::SYS_personality),
            (SOCKET, libc::SYS_socket),
            (SOCKETPAIR, libc::SYS_socketpair),
            (IOCTL, libc::SYS_ioctl),
        ] {
            assert_eq!(call.number(own), u32::try_from(number).ok(), "{number}");
        }
    }
}
