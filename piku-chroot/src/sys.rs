//! The few system calls that have no safe function in the crates we use. Everything unsafe of this crate is here.
#![expect(unsafe_code, reason = "see the module's first line; each block says why it is sound")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

/// The flags of a new process in new namespaces (`CLONE_NEW…`).
pub(crate) type Namespaces = nix::sched::CloneFlags;

/// Starts a copy of this process, in new namespaces where flags say so. The copy runs `child` and ends with its result.
///
/// The caller must have one thread only: the copy has only the calling one.
pub(crate) fn spawn(namespaces: Namespaces, child: impl FnOnce() -> u8) -> io::Result<Pid> {
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack this is fork(2): the child gets its own copy of all memory. This
    // program has one thread, so no lock can be held by a thread that the child has not.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    spawned(pid, child)
}

/// The same, and the copy is born in this cgroup: to move it there later costs the kernel a wait for all processors.
pub(crate) fn spawn_in_cgroup(
    namespaces: Namespaces,
    cgroup: impl AsFd,
    child: impl FnOnce() -> u8,
) -> io::Result<Pid> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let args = CloneArguments {
        flags: u64::from(namespaces.bits().unsigned_abs()) | CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD.unsigned_abs().into(),
        cgroup: cgroup.as_fd().as_raw_fd().unsigned_abs().into(),
        ..CloneArguments::default()
    };
    // SAFETY: as for clone above: no shared memory, no stack, one thread. The structure outlives the call and its size is the
    // one that is told.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArguments>()) };
    spawned(pid, child)
}

/// `struct clone_args` of linux/sched.h.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What each of the two does after a fork.
fn spawned(pid: libc::c_long, child: impl FnOnce() -> u8) -> io::Result<Pid> {
    match pid {
        -1 => Err(io::Error::last_os_error()),
        // A panic must not unwind into what the parent was doing.
        0 => std::process::exit(catch_unwind(AssertUnwindSafe(child)).unwrap_or(crate::SETUP).into()),
        pid => Ok(Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?)),
    }
}

/// Starts a process that borrows this one's memory until it has become another program or ended; this one stands still
/// as long. It costs no copy of anything, neither time nor memory.
///
/// The caller must have one thread only.
pub(crate) fn spawn_and_exec(mut child: impl FnMut() -> u8) -> io::Result<Pid> {
    let mut stack = vec![0_u8; STACK];
    let run = Box::new(|| {
        let code = catch_unwind(AssertUnwindSafe(&mut child)).unwrap_or(crate::SETUP);
        // SAFETY: it ends this process alone. What exit() would do on the way out is the parent's.
        unsafe { libc::_exit(code.into()) }
    });
    let flags = Namespaces::CLONE_VM | Namespaces::CLONE_VFORK;
    // SAFETY: with CLONE_VFORK the parent runs on only when the child has left the shared memory, so no two ever touch
    // it at the same time, and stack and closure outlive their use. The child has a stack of its own.
    let pid = unsafe { nix::sched::clone(run, &mut stack, flags, Some(libc::SIGCHLD)) };
    Ok(pid?)
}

/// What preparing a command may use: mounts and names are behind it, so it is little.
const STACK: usize = 256 * 1024;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds attributes to the mount that `mount` is the root of, and makes it private; with `recursive` also everything
/// mounted below it.
pub(crate) fn set_mount(mount: impl AsFd, attributes: MountAttrFlags, recursive: bool) -> io::Result<()> {
    let attr = MountAttributes {
        set: attributes.bits().into(),
        clear: 0,
        propagation: MountPropagationFlags::PRIVATE.bits().into(),
        user_namespace: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string that lives as long as the program, the structure outlives the call, and its size is
    // the one that is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttributes>(),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Leaves the caller's session keyring for a new empty one.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is handed over.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the kernel has filters of system calls.
pub(crate) fn has_filters() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one number, which lives longer than the call.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// Puts a filter of system calls on this process and all that it starts.
pub(crate) fn set_filter(program: &mut [libc::sock_filter]) -> io::Result<()> {
    let len = program.len().try_into().map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies so many instructions as are told, which live longer than the call, and checks each.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

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
pub(crate) struct Ruleset(OwnedFd);

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

impl Ruleset {
    /// One that denies these rights on files and on TCP ports, but for what is allowed then, and guards these scopes.
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

/// `struct ifreq` of linux/if.h, as the request for a device's flags has it.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    /// As long as what else can stand there.
    rest: [u8; 22],
}

/// Switches the loopback device of this network namespace on.
pub(crate) fn raise_loopback() -> io::Result<()> {
    const IFF_UP: libc::c_short = 1;
    let socket =
        nix::sys::socket::socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let request = InterfaceFlags { name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0", flags: IFF_UP, rest: [0; 22] };
    // SAFETY: the kernel reads the structure, which outlives the call and is the one that this request takes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether there are session keyrings, and we may ask for them.
pub(crate) fn has_keyrings() -> bool {
    const KEYCTL_GET_KEYRING_ID: libc::c_int = 0;
    const KEY_SPEC_SESSION_KEYRING: libc::c_int = -3;
    // SAFETY: no memory is handed over.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) };
    // That there is none yet, or that it is revoked, is an answer too.
    result != -1 || !matches!(Errno::last(), Errno::ENOSYS | Errno::EPERM)
}

/// Gives every signal its default disposition; what a caller had ignored would stay ignored after exec.
pub(crate) fn default_dispositions() {
    /// At least as large as the kernel's `struct sigaction` anywhere; all zero it means the default.
    const DEFAULT: [u64; 8] = [0; 8];
    /// The size of the kernel's set of signals: 64 of them.
    const SET: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the default is no handler of ours, so nothing of this program can run in a signal's context. The
        // kernel reads the structure, which lives long enough, and writes nothing. The C library's own function would
        // leave out the two signals that it keeps for itself, and a caller can have ignored those too. SIGKILL and
        // SIGSTOP answer with an error that means nothing here.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), 0, SET) };
    }
}

/// Waits for one of these signals, which must be blocked; `None` when none came in that time.
pub(crate) fn wait_for(signals: &SigSet, patience: Option<Duration>) -> io::Result<Option<Signal>> {
    let patience = patience.map(TimeSpec::from_duration);
    let limit = patience.as_ref().map_or(std::ptr::null(), |limit| std::ptr::from_ref(limit.as_ref()));
    loop {
        // SAFETY: set and limit live longer than the call, and where the signal's details would go there is nothing.
        let signal = unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), limit) };
        return match Errno::result(signal) {
            Ok(signal) => Ok(Some(Signal::try_from(signal)?)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(Errno::EINTR) => continue,
            Err(err) => Err(err.into()),
        };
    }
}

/// Gives back memory that was needed to get here and will hardly be needed again: the heap's empty pages, and the pages of
/// the program and its libraries, which the kernel can read again. There are two processes of this program for each
/// running command, which wait for months.
pub(crate) fn release_memory() {
    let pages = std::fs::read_to_string("/proc/self/smaps").map(|maps| unwritten(&maps)).unwrap_or_default();
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches only what the allocator knows to be free.
    unsafe {
        libc::malloc_trim(0);
    }
    // Last: every function that is called after this is read again, with what lies around it.
    for (start, end) in pages {
        let start = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: these pages came from a file and could never be written to, so what is read there next is the same again.
        unsafe { libc::madvise(start, end - start.addr(), libc::MADV_DONTNEED) };
    }
}

/// Returns the parts of memory that show a file as it is: private, read-only, and never writable since they were mapped.
///
/// That a part holds no changed page now would say nothing: a changed page that was swapped out is not counted as one, and
/// would be lost. The kernel accounts (`ac`) for every private part that could ever be written to, a library's relocated
/// pages among them, and keeps that mark when the right is taken away. `Anonymous` and `Swap` are asked all the same, for
/// what a debugger has written.
fn unwritten(maps: &str) -> Vec<(usize, usize)> {
    let mut unwritten = Vec::new();
    let mut file = None;
    for line in maps.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [range, rights, _, _, inode, name, ..] if !range.ends_with(':') => {
                let range = range.split_once('-').and_then(|(start, end)| {
                    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
                });
                let is_file = matches!(*rights, "r-xp" | "r--p") && *inode != "0" && name.starts_with('/');
                file = range.filter(|_| is_file);
            }
            ["Anonymous:" | "Swap:", "0", "kB"] => {}
            ["Anonymous:" | "Swap:", ..] => file = None,
            ["VmFlags:", flags @ ..] => {
                // The last line of each part.
                unwritten.extend(file.take().filter(|_| !flags.contains(&"ac")));
            }
            [range, ..] if !range.ends_with(':') => file = None,
            _ => {}
        }
    }
    unwritten
}

/// Makes the kernel send `SIGIO` to this process whenever something in this folder is made, changed, renamed or removed, as
/// long as the folder is open (dnotify).
pub(crate) fn notify_of_changes(folder: impl AsFd) -> io::Result<()> {
    /// `DN_MODIFY`, `DN_CREATE`, `DN_DELETE`, `DN_RENAME`, `DN_ATTRIB` and `DN_MULTISHOT` of linux/fcntl.h.
    const EVENTS: libc::c_int = libc::c_int::MIN | 0x3e;
    /// `F_NOTIFY` of linux/fcntl.h.
    const NOTIFY: libc::c_int = 1026;
    // SAFETY: the descriptor is open, and no memory is handed over. The default of SIGIO would end this process; no handler of
    // ours can run.
    let result = unsafe { libc::fcntl(folder.as_fd().as_raw_fd(), NOTIFY, EVENTS) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller owns no descriptor it will use again: it is about to exec.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One part as `smaps` has it.
    fn part(range: &str, rights: &str, name: &str, anonymous: u32, swap: u32, flags: &str) -> String {
        format!(
            "{range} {rights} 00000000 fe:00 {} {name}\nRss: 4 kB\nAnonymous: {anonymous} kB\nSwap: {swap} kB\n\
             SwapPss: {swap} kB\nLocked: 0 kB\nVmFlags: {flags}\n",
            u32::from(name.starts_with('/')) * 17,
        )
    }

    #[test]
    fn only_what_was_never_writable_is_given_back() {
        let (file, never, once) = ("/usr/bin/x y", "rd mr mw me sd", "rd mr mw me ac sd");
        for (rights, name, anonymous, swap, flags, expected) in [
            ("r-xp", file, 0, 0, never, true),
            ("r--p", file, 0, 0, never, true),
            // A library's relocated pages, in memory, on disk, and partly on each.
            ("r--p", file, 4, 0, once, false),
            ("r--p", file, 0, 4, once, false),
            ("r--p", file, 0, 0, once, false),
            ("r--p", file, 4, 4, never, false),
            ("r-xp", file, 0, 4, never, false),
            ("rw-p", file, 0, 0, once, false),
            ("r--s", file, 0, 0, never, false),
            ("r--p", "", 0, 0, never, false),
            ("r-xp", "[vdso]", 0, 0, never, false),
            ("rw-p", "[stack]", 32, 0, once, false),
            ("rw-p", "[heap]", 0, 32, once, false),
        ] {
            let maps = part("55d0a000-55d0b000", rights, name, anonymous, swap, flags);
            let found = unwritten(&maps);
            assert_eq!(found == [(0x55d0_a000, 0x55d0_b000)], expected, "{maps}");
            assert_eq!(found.is_empty(), !expected, "{maps}");
        }
        let two = [part("1000-2000", "r--p", file, 0, 0, never), part("2000-3000", "r--p", file, 0, 4, once)];
        assert_eq!(unwritten(&two.concat()), [(0x1000, 0x2000)]);
        // Without its flags nothing is known of a part.
        assert!(unwritten("1000-2000 r-xp 00000000 fe:00 17 /x\nAnonymous: 0 kB\nSwap: 0 kB\n").is_empty());
    }

    /// What this very process would give back holds what the files hold: nothing of it can be lost, wherever the kernel keeps it.
    #[test]
    fn what_is_given_back_is_as_the_file_has_it() {
        use std::os::unix::fs::FileExt;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let parts = unwritten(&maps);
        assert!(!parts.is_empty(), "{maps}");
        for (start, end) in &parts {
            let line = maps.lines().find(|line| line.starts_with(&format!("{start:x}-{end:x} "))).unwrap();
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let offset = u64::from_str_radix(words[2], 16).unwrap();
            let (mut held, mut on_disk) = (vec![0; end - start], vec![0; end - start]);
            memory.read_exact_at(&mut held, (*start).try_into().unwrap()).unwrap();
            // The last page is longer than the file.
            std::fs::File::open(words[5]).unwrap().read_at(&mut on_disk, offset).unwrap();
            assert!(held == on_disk, "{line}");
        }
        // And the test is one: there are relocated pages that the kernel shows without the right to write.
        let relocated = maps
            .split_inclusive("VmFlags:")
            .any(|part| part.contains(" r--p ") && !part.contains("Anonymous:             0 kB"));
        assert!(relocated || cfg!(target_feature = "crt-static"), "{maps}");
    }

    #[test]
    fn the_program_lives_on_without_its_memory() {
        release_memory();
        assert_eq!("still".repeat(2), "stillstill");
    }
}
