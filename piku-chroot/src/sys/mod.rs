//! The few system calls that have no safe function in the crates we use. All unsafe code of this crate is
//! here.
#![expect(unsafe_code, reason = "see the module's first line; each block says why it is sound")]

mod memory;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

pub use self::memory::release_memory;

/// Flags of new namespaces (`CLONE_NEW…`).
pub(crate) type Namespaces = nix::sched::CloneFlags;

/// Takes a descriptor that the caller of this program has left open for it; no new program inherits it.
///
/// To be called once for each number, before anything else is opened.
pub(crate) fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed. A number that is not open is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nothing else in this program owns it: its number comes from the caller, who has
    // opened it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Opens the user namespace that owns a namespace.
pub(crate) fn owning_user_namespace(namespace: impl AsFd) -> io::Result<OwnedFd> {
    /// `NS_GET_USERNS` of linux/nsfs.h.
    const GET_OWNER: libc::Ioctl = nix::request_code_none!(0xb7, 0x1);
    // SAFETY: no memory is passed. A descriptor that is not of a namespace is an error.
    let number = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), GET_OWNER) };
    if number == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it, for this call alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Forks this process, in new namespaces if the flags ask for them. The copy runs `child` and exits with its
/// result. With `CLONE_PARENT` it is a child of this process's parent.
///
/// The caller must have only one thread: the copy has only the calling one.
pub(crate) fn spawn(namespaces: Namespaces, child: impl FnOnce() -> u8) -> io::Result<Pid> {
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack this is fork(2): the child gets its own copy of all
    // memory. This program has one thread, so no thread that the child lacks can hold a lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    finish_fork(pid, child)
}

/// Does the same, and starts the copy in this cgroup: moving it there later costs the kernel a wait for all
/// processors.
pub(crate) fn spawn_in_cgroup(
    namespaces: Namespaces,
    cgroup: impl AsFd,
    child: impl FnOnce() -> u8,
) -> io::Result<Pid> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // The kernel refuses one for a child of the parent, which gets the signal of this process's own end.
    let signal = if namespaces.contains(Namespaces::CLONE_PARENT) { 0 } else { libc::SIGCHLD };
    let args = CloneArguments {
        flags: u64::from(namespaces.bits().unsigned_abs()) | CLONE_INTO_CGROUP,
        exit_signal: signal.unsigned_abs().into(),
        cgroup: cgroup.as_fd().as_raw_fd().unsigned_abs().into(),
        ..CloneArguments::default()
    };
    // SAFETY: as for clone above: no shared memory, no stack, one thread. The structure outlives the call,
    // and its size is passed.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArguments>()) };
    finish_fork(pid, child)
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

/// Continues after a fork, in the parent and in the child.
fn finish_fork(pid: libc::c_long, child: impl FnOnce() -> u8) -> io::Result<Pid> {
    match pid {
        -1 => Err(io::Error::last_os_error()),
        // A panic must not unwind into the parent's code.
        0 => std::process::exit(
            catch_unwind(AssertUnwindSafe(child)).unwrap_or(crate::errors::SETUP_FAILED).into(),
        ),
        pid => Ok(Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?)),
    }
}

/// Starts a process that uses this one's memory until it execs or ends; this process stops meanwhile. Nothing
/// is copied, which saves time and memory.
///
/// The caller must have only one thread.
pub(crate) fn spawn_and_exec(mut child: impl FnMut() -> u8) -> io::Result<Pid> {
    let mut stack = vec![0_u8; STACK];
    let run = Box::new(|| {
        let code = catch_unwind(AssertUnwindSafe(&mut child)).unwrap_or(crate::errors::SETUP_FAILED);
        // SAFETY: it ends only this process. The exit handlers belong to the parent.
        unsafe { libc::_exit(code.into()) }
    });
    let flags = Namespaces::CLONE_VM | Namespaces::CLONE_VFORK;
    // SAFETY: with CLONE_VFORK the parent continues only when the child has left the shared memory, so the
    // two never touch it at the same time, and stack and closure outlive their use. The child has its own
    // stack.
    let pid = unsafe { nix::sched::clone(run, &mut stack, flags, Some(libc::SIGCHLD)) };
    Ok(pid?)
}

/// Stack for the last steps before exec, which need little.
const STACK: usize = 256 * 1024;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds attributes to the mount whose root is `mount`, and makes it private; with `recursive` also all mounts
/// below it.
pub(crate) fn set_mount_attributes(
    mount: impl AsFd,
    attributes: MountAttrFlags,
    recursive: bool,
) -> io::Result<()> {
    let attr = MountAttributes {
        set: attributes.bits().into(),
        clear: 0,
        propagation: MountPropagationFlags::PRIVATE.bits().into(),
        user_namespace: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a static C string, the structure outlives the call, and its size is passed.
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

/// Replaces the caller's session keyring by a new empty one.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns whether the kernel has seccomp filters.
pub(crate) fn has_filters() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one number, which outlives the call.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// Puts a seccomp filter on this process and all that it starts.
pub(crate) fn set_filter(program: &mut [libc::sock_filter]) -> io::Result<()> {
    let len = program.len().try_into().map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies `len` instructions, which outlive the call, and checks each.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct ifreq` of linux/if.h, for requests about the flags of a device.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    /// Padding to the size of the kernel's union.
    rest: [u8; 22],
}

/// Switches on the loopback device of this network namespace.
pub(crate) fn raise_loopback() -> io::Result<()> {
    const IFF_UP: libc::c_short = 1;
    let socket =
        nix::sys::socket::socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let request = InterfaceFlags { name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0", flags: IFF_UP, rest: [0; 22] };
    // SAFETY: the kernel reads the structure, which outlives the call and is the one of this request.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns whether this process may use session keyrings.
pub(crate) fn has_keyrings() -> bool {
    const KEYCTL_GET_KEYRING_ID: libc::c_int = 0;
    const KEY_SPEC_SESSION_KEYRING: libc::c_int = -3;
    // SAFETY: no memory is handed over.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) };
    // Any other error is about the keyring: there is none yet, or it is revoked.
    result != -1 || !matches!(Errno::last(), Errno::ENOSYS | Errno::EPERM)
}

/// Gives every signal its default disposition: a signal that the caller ignores would stay ignored after
/// exec.
pub(crate) fn reset_dispositions() {
    /// At least as large as the kernel's `struct sigaction` on any architecture; all zero it means the
    /// default.
    const DEFAULT: [u64; 8] = [0; 8];
    /// Size of the kernel's signal set: 64 signals.
    const SET: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the default is not a handler of ours, so no code of this program can run in a signal's
        // context. The kernel reads the structure, which outlives the call, and writes nothing. The C
        // library's function would leave out the two signals that it reserves, which a caller may have
        // ignored too. SIGKILL and SIGSTOP return an error that means nothing here.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), 0, SET) };
    }
}

/// Waits for one of these signals, which must be blocked; `None` after the timeout.
pub(crate) fn wait_for_signal(signals: &SigSet, timeout: Option<Duration>) -> io::Result<Option<Signal>> {
    let timeout = timeout.map(TimeSpec::from_duration);
    let limit = timeout.as_ref().map_or(std::ptr::null(), |limit| std::ptr::from_ref(limit.as_ref()));
    loop {
        // SAFETY: set and limit outlive the call, and the signal's details are not asked for.
        let signal = unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), limit) };
        return match Errno::result(signal) {
            Ok(signal) => Ok(Some(Signal::try_from(signal)?)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(Errno::EINTR) => continue,
            Err(err) => Err(err.into()),
        };
    }
}

/// Makes the kernel send `SIGIO` to this process whenever an entry of this directory is made, changed,
/// renamed or removed, as long as the directory is open (dnotify).
pub(crate) fn notify_of_changes(folder: impl AsFd) -> io::Result<()> {
    /// `DN_MODIFY`, `DN_CREATE`, `DN_DELETE`, `DN_RENAME`, `DN_ATTRIB` and `DN_MULTISHOT` of linux/fcntl.h.
    const EVENTS: libc::c_int = libc::c_int::MIN | 0x3e;
    /// `F_NOTIFY` of linux/fcntl.h.
    const NOTIFY: libc::c_int = 1026;
    // SAFETY: the descriptor is open, and no memory is passed. By default SIGIO would end this process; no
    // handler of ours can run.
    let result = unsafe { libc::fcntl(folder.as_fd().as_raw_fd(), NOTIFY, EVENTS) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes every descriptor but these.
pub(crate) fn close_others(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut first = 0;
    for last in kept.into_iter().map(|fd| fd.checked_sub(1)).chain([Some(u32::MAX)]) {
        if let Some(last) = last.filter(|last| first <= *last) {
            // SAFETY: the caller uses no other descriptor again.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            if result == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        first = last.map_or(1, |last| last.saturating_add(2));
    }
    Ok(())
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller is about to exec and uses no descriptor again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
