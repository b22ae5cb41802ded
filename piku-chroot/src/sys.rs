//! The few system calls that have no safe function in the crates we use. Everything unsafe of this crate is here.
#![expect(unsafe_code, reason = "see the module's first line; each block says why it is sound")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::libc;
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

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller owns no descriptor it will use again: it is about to exec.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
