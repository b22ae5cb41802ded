//! The filter against its policy, without a kernel: a small machine for classic BPF runs it for every number.

use nix::libc::*;

use super::*;
use crate::confinement::seccomp::numbers::SystemCall;

const ALL: [CallArchitecture; 3] =
    [CallArchitecture::X86_64, CallArchitecture::Aarch64, CallArchitecture::Arm];

/// This machine's; what the C library calls `SYS_…` are its numbers.
fn own() -> CallArchitecture {
    CallArchitecture::OWN.expect("a filter for this machine")
}

const ALLOW: u32 = SECCOMP_RET_ALLOW;

fn data(architecture: CallArchitecture, nr: u32, args: [u64; 6]) -> seccomp_data {
    seccomp_data {
        nr: i32::from_ne_bytes(nr.to_ne_bytes()),
        arch: architecture.audit_number(),
        instruction_pointer: u64::MAX,
        args,
    }
}

/// Runs it as the kernel does; also says whether it looked at an argument.
fn run(program: &Block, data: &seccomp_data) -> (u32, bool) {
    let word = |offset: u32| match offset {
        0 => u32::from_ne_bytes(data.nr.to_ne_bytes()),
        4 => data.arch,
        16..64 => {
            let argument = data.args[(offset as usize - 16) / 8].to_ne_bytes();
            let at = offset as usize % 8;
            u32::from_ne_bytes(argument[at..at + 4].try_into().unwrap())
        }
        _ => panic!("loads at {offset}"),
    };
    let (mut at, mut loaded, mut looked) = (0, 0, false);
    loop {
        let step = program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
        match u32::from(step.code) {
            0x20 => {
                assert_eq!(step.k % 4, 0);
                loaded = word(step.k);
                looked |= step.k >= 16;
            }
            0x05 => at += step.k as usize,
            0x15 => at += jump(loaded == step.k),
            0x35 => at += jump(loaded >= step.k),
            0x45 => at += jump(loaded & step.k != 0),
            0x06 => return (step.k, looked),
            code => panic!("what is {code:#x}?"),
        }
    }
}

fn filter() -> Block {
    build_filter(&[own()])
}

/// Returns the answer to this call.
fn said(number: c_long, args: [u64; 6]) -> u32 {
    run(&filter(), &data(own(), number.try_into().unwrap(), args)).0
}

fn first(argument: u64) -> [u64; 6] {
    [argument, 7, 7, 7, 7, 7]
}

/// Arguments that mean something to one call or another, and such that mean nothing to any.
fn samples() -> Vec<[u64; 6]> {
    let words = [
        0,
        1,
        2,
        8,
        10,
        16,
        17,
        38,
        40,
        41,
        0x80,
        0x200,
        1024,
        1040,
        0x2000,
        0x6000,
        0x5401,
        0x5412,
        0x541c,
        0x5423,
        0x2_0000,
        0x2_0008,
        0x3d_0f00,
        0x1000_0000,
        0x7e02_0000,
        0xffff_ffff,
        0x1_0000_5412,
        0x1_0000_0000,
        u64::MAX,
    ];
    words
        .iter()
        .flat_map(|word| [[*word, 0, 0, 0, 0, 1], [u64::MAX, *word, 1, 0, 0, 0], [1, 0, *word, 0, 0, 0]])
        .collect()
}

/// Returns the error that a check answers with, if any.
fn decide(check: &ArgumentCheck, args: [u64; 6]) -> Option<c_int> {
    let argument = args[check.argument as usize];
    let low = u32::try_from(argument & 0xffff_ffff).unwrap();
    let fits = |question: WordQuestion| match question {
        WordQuestion::Equals(number) => low == number,
        WordQuestion::HasAny(bits) => low & bits != 0,
        WordQuestion::AtLeast(number) => low >= number,
    };
    let case = check.cases.iter().find(|(question, _)| fits(*question));
    if let Some(errno) = check.upper.filter(|_| argument >> 32 != 0) {
        return Some(errno);
    }
    match case.map_or(check.otherwise, |(_, answer)| *answer) {
        CallAnswer::Allow => None,
        CallAnswer::Refuse(errno) => Some(errno),
        CallAnswer::Ask(check) => decide(check, args),
    }
}

/// Returns what the policy says of calls with this number: the error of all of them, or the check of their arguments, if any.
fn wanted(architecture: CallArchitecture, number: u32) -> Result<Option<&'static ArgumentCheck>, c_int> {
    let has = |list: &[SystemCall]| list.iter().any(|call| call.number(architecture) == Some(number));
    if has(policy::REFUSED) {
        return Err(EPERM);
    }
    let ranges = policy::unassigned_ranges(architecture);
    let beyond = number > policy::LAST && !policy::numbers_above(architecture).contains(&number);
    if has(policy::NOT_THERE)
        || beyond
        || ranges.iter().any(|(first, last)| (first..=last).contains(&&number))
    {
        return Err(ENOSYS);
    }
    let check = policy::CHECKED.iter().find(|(call, _)| has(&[*call]));
    Ok(check.map(|(_, check)| check))
}

/// An emulator of another architecture runs this too, a hundred times as slowly.
#[test]
fn every_number_as_the_policy_has_it() {
    let numbers = (0..=1000).chain([0x000f_0001, 0x000f_0005, 0x4000_0000, 0x4000_0027, u32::MAX]);
    let samples = samples();
    for programs in
        [&ALL[..1], &ALL[1..2], &ALL[2..], &[CallArchitecture::Arm, CallArchitecture::Aarch64], &ALL[1..]]
    {
        let filter = build_filter(programs);
        for (number, architecture) in numbers.clone().flat_map(|number| ALL.map(|one| (number, one))) {
            let rule =
                if programs.contains(&architecture) { wanted(architecture, number) } else { Err(ENOSYS) };
            for args in &samples {
                let (answer, looked) = run(&filter, &data(architecture, number, *args));
                // What is allowed without a look at its arguments, the kernel need not ask about again.
                let (errno, looks) = match rule {
                    Err(errno) => (Some(errno), false),
                    Ok(None) => (None, false),
                    Ok(Some(check)) => (decide(check, *args), true),
                };
                let expected = (errno.map_or(ALLOW, errno_action), looks);
                assert_eq!(
                    (answer, looked),
                    expected,
                    "{architecture:?} of {programs:?}: {number} {args:x?}"
                );
            }
        }
    }
}

#[test]
fn a_userland_of_another_word_size() {
    let header = |class: u8, machine: u16| {
        let mut head = [0; 20];
        head[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', class]);
        head[18..].copy_from_slice(&machine.to_le_bytes());
        head
    };
    assert_eq!(
        ALL.map(CallArchitecture::other_architecture),
        [None, Some(CallArchitecture::Arm), Some(CallArchitecture::Aarch64)]
    );
    for (class, machine, expected) in [
        (2, 62, Some(CallArchitecture::X86_64)),
        (2, 183, Some(CallArchitecture::Aarch64)),
        (1, 40, Some(CallArchitecture::Arm)),
        // x32, i386, big-endian ARM, RISC-V.
        (1, 62, None),
        (1, 3, None),
        (1, 0x2800, None),
        (2, 243, None),
    ] {
        let found = ALL.into_iter().find(|one| has_elf_header(&header(class, machine), *one));
        assert_eq!(found, expected, "{class} {machine}");
    }
    assert!(!has_elf_header(b"#!/bin/busybox sh -e", own()));
    assert!(is_for(Path::new("/proc/self/exe"), own()));
    assert!(!is_for(Path::new("/no/such/shell"), own()) && !is_for(Path::new("/dev/null"), own()));
}

#[test]
fn the_kernel_takes_the_program() {
    let program = build_filter(&ALL);
    // Its limit is 4096.
    assert!(program.len() < 3000, "{} instructions", program.len());
    for (at, step) in program.iter().enumerate() {
        let targets = match u32::from(step.code) {
            0x06 => continue,
            0x05 => vec![step.k as usize],
            0x20 => vec![0],
            _ => vec![step.jt.into(), step.jf.into()],
        };
        assert!(targets.iter().all(|over| at + 1 + over < program.len()), "step {at} leads out of it");
    }
}

#[test]
fn a_number_of_another_architecture_says_nothing() {
    let program = filter();
    for arch in [0x4000_0003, 0x4000_0028, 0xc000_003e, 0xc000_00b7, 0, u32::MAX] {
        for number in 0..1000 {
            let call = seccomp_data { arch, ..data(own(), number, [0; 6]) };
            assert!(arch == own().audit_number() || run(&program, &call) == (errno_action(ENOSYS), false));
        }
    }
}

#[test]
fn namespaces_in_any_way() {
    let clone_thread = 0x3d_0f00;
    assert_eq!(said(SYS_clone, first(clone_thread)), ALLOW);
    assert_eq!(said(SYS_clone, first(17)), ALLOW, "fork");
    assert_eq!(said(SYS_clone, first(0x4111)), ALLOW, "vfork, and a terminating signal");
    for bit in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(said(SYS_clone, first(bit | 0x11)), errno_action(EPERM), "{bit:#x}");
        assert_eq!(said(SYS_clone, first(bit | clone_thread | (1 << 40))), errno_action(EPERM), "{bit:#x}");
        assert_eq!(said(SYS_unshare, first(bit)), errno_action(EPERM), "{bit:#x}");
    }
    assert_eq!(said(SYS_unshare, first(0x80)), errno_action(EPERM), "a time namespace");
    assert_eq!(said(SYS_unshare, first(1 << 37)), errno_action(EPERM), "what a newer kernel may have");
    assert_eq!(said(SYS_unshare, first(0x600)), ALLOW);
    assert_eq!(said(435, first(0)), errno_action(ENOSYS), "clone3");
}

#[test]
fn sockets_terminals_and_personalities() {
    for (family, expected) in [
        (1, ALLOW),
        (2, ALLOW),
        (10, ALLOW),
        (16, ALLOW),
        (38, errno_action(EPERM)),
        (40, errno_action(EPERM)),
        (17, errno_action(EPERM)),
    ] {
        assert_eq!(said(SYS_socket, [family, 1, 0, 7, 7, 7]), expected, "{family}");
        assert_eq!(said(SYS_socketpair, [family | (1 << 32), 1, 0, 7, 7, 7]), expected, "{family}");
    }
    for (protocol, internet, netlink) in [
        (0, ALLOW, ALLOW),
        (1 << 32, ALLOW, ALLOW),
        (6, ALLOW, errno_action(EPERM)),
        (17, ALLOW, errno_action(EPERM)),
        (1, ALLOW, errno_action(EPERM)),
        (58, ALLOW, errno_action(EPERM)),
        (132, errno_action(EPROTONOSUPPORT), errno_action(EPERM)),
        (256, errno_action(EPROTONOSUPPORT), errno_action(EPERM)),
        (262, errno_action(EPROTONOSUPPORT), errno_action(EPERM)),
        (12, errno_action(EPROTONOSUPPORT), errno_action(EPERM)),
        (0xffff_ffff, errno_action(EPROTONOSUPPORT), errno_action(EPERM)),
    ] {
        assert_eq!(said(SYS_socket, [2, 1, protocol, 0, 0, 0]), internet, "{protocol}");
        assert_eq!(said(SYS_socket, [10, 1, protocol, 0, 0, 0]), internet, "{protocol}");
        assert_eq!(said(SYS_socket, [16, 3, protocol, 0, 0, 0]), netlink, "{protocol}");
        assert_eq!(said(SYS_socket, [1, 1, protocol, 0, 0, 0]), ALLOW, "{protocol}");
    }
    for family in [0, 3, 9, 29, 31, 44, 1 << 31] {
        assert_eq!(said(SYS_socket, first(family)), errno_action(EAFNOSUPPORT), "{family}");
    }
    for request in [0x5412, 0x541c, 0x5423] {
        for high in [0, 1 << 32, u64::from(u32::MAX) << 32] {
            assert_eq!(said(SYS_ioctl, [0, request | high, 0, 0, 0, 0]), errno_action(EPERM), "{request:#x}");
        }
        assert_eq!(said(SYS_ioctl, [request, 0x5413, request, request, 0, 0]), ALLOW, "another argument");
    }
    for (command, expected) in
        [(1024, errno_action(EPERM)), (1040, errno_action(EPERM)), (1, ALLOW), (1030, ALLOW)]
    {
        for high in [0, 1 << 32] {
            assert_eq!(said(SYS_fcntl, [3, command | high, 1024, 0, 0, 0]), expected, "{command}");
        }
    }
    for (mode, expected) in [
        (S_IFCHR, errno_action(EPERM)),
        (S_IFBLK, errno_action(EPERM)),
        (S_IFREG, ALLOW),
        (S_IFIFO, ALLOW),
        (S_IFSOCK, ALLOW),
        (0, ALLOW),
    ] {
        for high in [0, 1 << 32] {
            let mode = u64::from(mode | 0o7777) | high;
            assert_eq!(said(SYS_mknodat, [7, 7, mode, 0, 0, 0]), expected, "{mode:o}");
            // Not all machines have the older call, nor does the C library name it there.
            for old in ALL.iter().filter_map(|one| Some((one, numbers::MKNOD.number(*one)?))) {
                let (program, call) = (build_filter(&[*old.0]), data(*old.0, old.1, [7, mode, 7, 0, 0, 0]));
                assert_eq!(run(&program, &call).0, expected, "{old:?} {mode:o}");
            }
        }
    }
    for harmless in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff, u64::MAX] {
        assert_eq!(said(SYS_personality, first(harmless)), ALLOW);
    }
    // No randomness in addresses, all that can be read can be run, and two at once.
    for harmful in [0x4_0000, 0x40_0000, 0x44_0000, 9] {
        assert_eq!(said(SYS_personality, first(harmful)), errno_action(EPERM));
    }
}

#[test]
fn what_real_programs_need() {
    let needed = [
        SYS_read,
        SYS_execve,
        SYS_futex,
        SYS_mbind,
        SYS_get_mempolicy,
        SYS_memfd_create,
        SYS_seccomp,
        SYS_getrandom,
        SYS_statx,
        SYS_openat,
        SYS_renameat2,
        SYS_epoll_pwait,
        SYS_prctl,
        SYS_madvise,
        SYS_shmget,
        SYS_mq_open,
        SYS_inotify_init1,
        SYS_sched_setaffinity,
        SYS_membarrier,
        SYS_rseq,
        SYS_io_setup,
        SYS_copy_file_range,
        SYS_setpriority,
        SYS_getsockopt,
        SYS_sendmmsg,
        SYS_splice,
        SYS_timerfd_create,
        SYS_pkey_alloc,
        SYS_name_to_handle_at,
    ];
    let numbered = [424, 434, 436, 437, 439, 441, 444, 445, 446, 449, 451, 452, 454, 455, 456];
    for number in needed.into_iter().chain(numbered) {
        assert_eq!(said(number, [0; 6]), ALLOW, "{number}");
    }
    for number in [425, 428, 438, 442, SYS_mount, SYS_keyctl, SYS_ptrace, SYS_bpf, SYS_setns] {
        assert_eq!(said(number, [u64::MAX; 6]), errno_action(EPERM), "{number}");
    }
    for number in (457..=470).chain([500, 512, 547, 999]) {
        assert_eq!(said(number, [0; 6]), errno_action(ENOSYS), "{number}");
    }
}

#[test]
fn long_ways_are_jumped_over() {
    let part = |first: u32| NumberRange { first, block: return_action(first) };
    for count in [1_u32, 2, 3, 255, 256, 257, 600] {
        let parts: Vec<NumberRange> = (0..count).map(|index| part(index * 10)).collect();
        let program = load(0, search(&parts));
        for number in 0..count * 10 + 50 {
            let expected = (number / 10).min(count - 1) * 10;
            assert_eq!(run(&program, &data(own(), number, [0; 6])).0, expected, "{number} of {count}");
        }
    }
}
