//! Numbers of system calls, which differ between architectures. All architectures are listed: a filter may
//! need the calls of programs for another architecture than that of piku-chroot.

/// An architecture whose calls are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallArchitecture {
    X86_64,
    Aarch64,
    /// 32-bit ARM with the EABI.
    Arm,
}

impl CallArchitecture {
    /// The architecture of this program; `None` if its calls are not listed.
    pub(super) const OWN: Option<Self> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else if cfg!(target_arch = "arm") {
        Some(Self::Arm)
    } else {
        None
    };

    /// Returns the other architecture whose programs the same kernel runs. Not 32-bit x86: the arguments of
    /// `socketcall` are in memory, which no filter can read.
    pub(super) fn other_architecture(self) -> Option<Self> {
        match self {
            Self::X86_64 => None,
            Self::Aarch64 => Some(Self::Arm),
            Self::Arm => Some(Self::Aarch64),
        }
    }

    /// Returns its `AUDIT_ARCH_…` of linux/audit.h.
    pub(super) fn audit_number(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Returns its class (32 or 64 bits) and its `e_machine` in an ELF header.
    pub(super) fn elf_class_and_machine(self) -> (u8, u16) {
        match self {
            Self::X86_64 => (2, 62),
            Self::Aarch64 => (2, 183),
            Self::Arm => (1, 40),
        }
    }
}

/// A system call, by its number on each architecture.
#[derive(Clone, Copy)]
pub(super) struct SystemCall {
    x86_64: u32,
    aarch64: u32,
    arm: u32,
}

/// Number of a call that the architecture lacks.
const NONE: u32 = u32::MAX;

impl SystemCall {
    const fn new(x86_64: u32, aarch64: u32, arm: u32) -> Self {
        Self { x86_64, aarch64, arm }
    }

    /// Returns a call with a number from 424 on, which is the same on every architecture.
    const fn unified(number: u32) -> Self {
        Self::new(number, number, number)
    }

    /// Returns its number; `None` if the architecture lacks it.
    pub(super) fn number(self, architecture: CallArchitecture) -> Option<u32> {
        let number = match architecture {
            CallArchitecture::X86_64 => self.x86_64,
            CallArchitecture::Aarch64 => self.aarch64,
            CallArchitecture::Arm => self.arm,
        };
        (number != NONE).then_some(number)
    }
}

pub(super) const MOUNT: SystemCall = SystemCall::new(165, 40, 21);
pub(super) const UMOUNT2: SystemCall = SystemCall::new(166, 39, 52);
pub(super) const PIVOT_ROOT: SystemCall = SystemCall::new(155, 41, 218);
pub(super) const CHROOT: SystemCall = SystemCall::new(161, 51, 61);
pub(super) const OPEN_TREE: SystemCall = SystemCall::unified(428);
pub(super) const MOVE_MOUNT: SystemCall = SystemCall::unified(429);
pub(super) const FSOPEN: SystemCall = SystemCall::unified(430);
pub(super) const FSCONFIG: SystemCall = SystemCall::unified(431);
pub(super) const FSMOUNT: SystemCall = SystemCall::unified(432);
pub(super) const FSPICK: SystemCall = SystemCall::unified(433);
pub(super) const MOUNT_SETATTR: SystemCall = SystemCall::unified(442);
pub(super) const SETNS: SystemCall = SystemCall::new(308, 268, 375);
pub(super) const OPEN_BY_HANDLE_AT: SystemCall = SystemCall::new(304, 265, 371);
pub(super) const PTRACE: SystemCall = SystemCall::new(101, 117, 26);
pub(super) const PROCESS_VM_READV: SystemCall = SystemCall::new(310, 270, 376);
pub(super) const PROCESS_VM_WRITEV: SystemCall = SystemCall::new(311, 271, 377);
pub(super) const KCMP: SystemCall = SystemCall::new(312, 272, 378);
pub(super) const PIDFD_GETFD: SystemCall = SystemCall::unified(438);
pub(super) const KEYCTL: SystemCall = SystemCall::new(250, 219, 311);
pub(super) const ADD_KEY: SystemCall = SystemCall::new(248, 217, 309);
pub(super) const REQUEST_KEY: SystemCall = SystemCall::new(249, 218, 310);
pub(super) const BPF: SystemCall = SystemCall::new(321, 280, 386);
pub(super) const PERF_EVENT_OPEN: SystemCall = SystemCall::new(298, 241, 364);
pub(super) const USERFAULTFD: SystemCall = SystemCall::new(323, 282, 388);
pub(super) const IO_URING_SETUP: SystemCall = SystemCall::unified(425);
pub(super) const IO_URING_ENTER: SystemCall = SystemCall::unified(426);
pub(super) const IO_URING_REGISTER: SystemCall = SystemCall::unified(427);
pub(super) const FANOTIFY_INIT: SystemCall = SystemCall::new(300, 262, 367);
pub(super) const LOOKUP_DCOOKIE: SystemCall = SystemCall::new(212, 18, 249);
pub(super) const REBOOT: SystemCall = SystemCall::new(169, 142, 88);
pub(super) const KEXEC_LOAD: SystemCall = SystemCall::new(246, 104, 347);
pub(super) const KEXEC_FILE_LOAD: SystemCall = SystemCall::new(320, 294, 401);
pub(super) const INIT_MODULE: SystemCall = SystemCall::new(175, 105, 128);
pub(super) const FINIT_MODULE: SystemCall = SystemCall::new(313, 273, 379);
pub(super) const DELETE_MODULE: SystemCall = SystemCall::new(176, 106, 129);
pub(super) const SWAPON: SystemCall = SystemCall::new(167, 224, 87);
pub(super) const SWAPOFF: SystemCall = SystemCall::new(168, 225, 115);
pub(super) const ACCT: SystemCall = SystemCall::new(163, 89, 51);
pub(super) const SYSLOG: SystemCall = SystemCall::new(103, 116, 103);
pub(super) const QUOTACTL: SystemCall = SystemCall::new(179, 60, 131);
pub(super) const QUOTACTL_FD: SystemCall = SystemCall::unified(443);
pub(super) const SETHOSTNAME: SystemCall = SystemCall::new(170, 161, 74);
pub(super) const SETDOMAINNAME: SystemCall = SystemCall::new(171, 162, 121);
pub(super) const SETTIMEOFDAY: SystemCall = SystemCall::new(164, 170, 79);
pub(super) const CLOCK_SETTIME: SystemCall = SystemCall::new(227, 112, 262);
pub(super) const CLOCK_SETTIME64: SystemCall = SystemCall::new(NONE, NONE, 404);
pub(super) const VHANGUP: SystemCall = SystemCall::new(153, 58, 111);
pub(super) const IOPL: SystemCall = SystemCall::new(172, NONE, NONE);
pub(super) const IOPERM: SystemCall = SystemCall::new(173, NONE, NONE);
pub(super) const MODIFY_LDT: SystemCall = SystemCall::new(154, NONE, NONE);
pub(super) const USELIB: SystemCall = SystemCall::new(134, NONE, 86);
pub(super) const USTAT: SystemCall = SystemCall::new(136, NONE, 62);
pub(super) const SYSFS: SystemCall = SystemCall::new(139, NONE, 135);
pub(super) const SYSCTL: SystemCall = SystemCall::new(156, NONE, 149);
pub(super) const PCICONFIG_IOBASE: SystemCall = SystemCall::new(NONE, NONE, 271);
pub(super) const PCICONFIG_READ: SystemCall = SystemCall::new(NONE, NONE, 272);
pub(super) const PCICONFIG_WRITE: SystemCall = SystemCall::new(NONE, NONE, 273);
pub(super) const CLONE3: SystemCall = SystemCall::unified(435);
pub(super) const PROCESS_MADVISE: SystemCall = SystemCall::unified(440);
pub(super) const CLONE: SystemCall = SystemCall::new(56, 220, 120);
pub(super) const UNSHARE: SystemCall = SystemCall::new(272, 97, 337);
pub(super) const PERSONALITY: SystemCall = SystemCall::new(135, 92, 136);
pub(super) const SOCKET: SystemCall = SystemCall::new(41, 198, 281);
pub(super) const SOCKETPAIR: SystemCall = SystemCall::new(53, 199, 288);
pub(super) const IOCTL: SystemCall = SystemCall::new(16, 29, 54);
pub(super) const FCNTL: SystemCall = SystemCall::new(72, 25, 55);
pub(super) const MKNOD: SystemCall = SystemCall::new(133, NONE, 14);
pub(super) const MKNODAT: SystemCall = SystemCall::new(259, 33, 324);
pub(super) const FCNTL64: SystemCall = SystemCall::new(NONE, NONE, 221);

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc;

    /// The C library's own numbers, as far as it has them wherever this is built.
    #[test]
    fn the_numbers_are_those_of_this_machine() {
        let Some(own) = CallArchitecture::OWN else { return };
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
            (FCNTL, libc::SYS_fcntl),
            (MKNODAT, libc::SYS_mknodat),
        ] {
            assert_eq!(call.number(own), u32::try_from(number).ok(), "{number}");
        }
    }
}
