//! The system calls themselves: calls that no app needs, with arguments that no kernel can use. A kernel that
//! looks at them returns EFAULT, EINVAL or EBADF; a filter refuses them before.

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::{self, call};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 6] = [
    Row {
        name: "denied-calls",
        attempt: "each system call of the deny list with bad arguments",
        expected: "EPERM or ENOSYS, never EFAULT",
        run: denied,
    },
    Row {
        name: "new-calls",
        attempt: "numbers that are newer than the filter",
        expected: "ENOSYS",
        run: new,
    },
    Row {
        name: "gate-32",
        attempt: "the 32-bit gate of a 64-bit kernel (int 0x80)",
        expected: "ENOSYS, or the end of the process",
        run: gate_32,
    },
    Row { name: "x32", attempt: "the x32 numbers", expected: "ENOSYS", run: x32 },
    Row {
        name: "personality",
        attempt: "personalities that make exploits easier",
        expected: "EPERM",
        run: personality,
    },
    Row {
        name: "userfaultfd",
        attempt: "userfaultfd, through the call and through /dev",
        expected: "refused",
        run: userfaultfd,
    },
];

/// Newer than some C libraries know.
const OPEN_TREE_ATTR: libc::c_long = 467;
const STATMOUNT: libc::c_long = 457;

const DENIED: [(&str, libc::c_long); 50] = [
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("open_tree", libc::SYS_open_tree),
    ("open_tree_attr", OPEN_TREE_ATTR),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("kexec_load", libc::SYS_kexec_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("reboot", libc::SYS_reboot),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("setns", libc::SYS_setns),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("quotactl", libc::SYS_quotactl),
    ("quotactl_fd", 443),
    ("acct", libc::SYS_acct),
    ("chroot", libc::SYS_chroot),
    ("clone3", libc::SYS_clone3),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("process_madvise", libc::SYS_process_madvise),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("kcmp", libc::SYS_kcmp),
    ("statmount", STATMOUNT),
    ("listmount", STATMOUNT + 1),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("lookup_dcookie", libc::SYS_lookup_dcookie),
    ("syslog", libc::SYS_syslog),
    ("settimeofday", libc::SYS_settimeofday),
    ("setdomainname", libc::SYS_setdomainname),
    #[cfg(not(target_arch = "arm"))]
    ("kexec_file_load", libc::SYS_kexec_file_load),
    #[cfg(target_arch = "arm")]
    ("kexec_file_load", 401),
    ("sethostname", libc::SYS_sethostname),
    ("vhangup", libc::SYS_vhangup),
];

fn denied(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (name, number) in DENIED {
        // In a child: a call that gets through may do anything to who made it.
        let answer = sys::child(|| match call!(number, -1, -1, -1, -1, -1, -1) {
            Ok(_) => 0,
            Err(errno) => u8::try_from(errno).unwrap_or(u8::MAX),
        });
        let answer = match answer {
            Ok(sys::Ended::Code(0)) => Ok(()),
            Ok(sys::Ended::Code(errno)) => Err(i32::from(errno)),
            Ok(sys::Ended::Signal(_)) => Err(libc::EPERM),
            Err(errno) => Err(errno),
        };
        ways.must_fail_with(name, answer, &[libc::EPERM, libc::ENOSYS]);
    }
    ways.verdict()
}

/// Tries numbers from 457 on, which no program needs.
fn new(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for number in (457..600).chain([1000, 4095, 0x3fff_ffff, 0x7fff_ffff]) {
        let answer = call!(number, -1, -1, -1, -1, -1, -1);
        ways.must_fail_with(&format!("number {number}"), answer, &[libc::ENOSYS]);
    }
    ways.verdict()
}

#[cfg(target_arch = "x86_64")]
fn gate_32(_: &Facts) -> Verdict {
    let answer = sys::child(|| match sys::gate_32() {
        answer if answer == -libc::ENOSYS => 1,
        answer if answer == -libc::EPERM => 2,
        _ => 0,
    });
    match answer {
        Ok(sys::Ended::Code(1)) => Verdict::Held("ENOSYS".to_owned()),
        Ok(sys::Ended::Code(2)) => Verdict::Held("EPERM".to_owned()),
        Ok(sys::Ended::Signal(signal)) => Verdict::Held(format!("ended by signal {signal}")),
        other => Verdict::Broken(format!("it answers ({other:?})")),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn gate_32(_: &Facts) -> Verdict {
    Verdict::Untried("this architecture has none".to_owned())
}

#[cfg(target_arch = "x86_64")]
fn x32(_: &Facts) -> Verdict {
    const X32: i64 = 0x4000_0000;
    let mut ways = Ways::default();
    for number in [libc::SYS_getpid, libc::SYS_mount, libc::SYS_ptrace, libc::SYS_unshare, 512, 521, 547] {
        let answer = call!(X32 | number, 0);
        ways.must_fail_with(&format!("x32 {number}"), answer, &[libc::ENOSYS, libc::EPERM]);
    }
    ways.verdict()
}

#[cfg(not(target_arch = "x86_64"))]
fn x32(_: &Facts) -> Verdict {
    Verdict::Untried("this architecture has none".to_owned())
}

fn personality(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    // READ_IMPLIES_EXEC, MMAP_PAGE_ZERO, ADDR_COMPAT_LAYOUT, STICKY_TIMEOUTS, and other systems' personalities.
    for persona in [0x040_0000, 0x010_0000, 0x020_0000, 0x400_0000, 1, 3, 6] {
        let answer = sys::child(|| match call!(libc::SYS_personality, persona) {
            Ok(_) => 0,
            Err(errno) => u8::try_from(errno).unwrap_or(u8::MAX),
        });
        ways.must_be(
            answer == Ok(sys::Ended::Code(1)),
            &format!("personality {persona:#x} ({answer:?})"),
            "EPERM",
        );
    }
    ways.verdict()
}

fn userfaultfd(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for flags in [0, 1, libc::O_CLOEXEC] {
        let answer = call!(libc::SYS_userfaultfd, flags);
        ways.must_fail_with("userfaultfd", answer.map(sys::own), &[libc::EPERM, libc::ENOSYS]);
    }
    ways.io("/dev/userfaultfd", std::fs::File::open("/dev/userfaultfd"));
    ways.verdict()
}
