//! System calls as an attacker makes them: raw, and with arguments that no library would pass. All unsafe
//! code of this program is here.
#![expect(unsafe_code, reason = "see the module's first line; each block says why it is sound")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Error number of the kernel.
pub(crate) type Errno = i32;

/// Argument of a system call: a number, or memory that is borrowed for the call.
pub(crate) enum Arg<'a> {
    /// A number; or an address without memory, which shows whether the kernel looks at it.
    Number(usize),
    /// Memory that the kernel reads.
    Read(&'a [u8]),
    /// Memory that the kernel writes.
    Write(&'a mut [u8]),
}

impl Arg<'_> {
    fn word(&mut self) -> usize {
        match self {
            Self::Number(number) => *number,
            Self::Read(bytes) => bytes.as_ptr().expose_provenance(),
            Self::Write(bytes) => bytes.as_mut_ptr().expose_provenance(),
        }
    }
}

macro_rules! arg_from {
    ($($number:ty),*) => {$(
        impl From<$number> for Arg<'_> {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::allow_attributes, reason = "bits are bits; which lint sees one depends on the word's width")]
            fn from(number: $number) -> Self {
                Self::Number(number as usize)
            }
        }
    )*};
}
arg_from!(i32, u32, i64, u64, usize);

impl<'a> From<&'a CStr> for Arg<'a> {
    fn from(text: &'a CStr) -> Self {
        Self::Read(text.to_bytes_with_nul())
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Read(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Arg<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Read(bytes)
    }
}

impl<'a> From<&'a mut [u8]> for Arg<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Self::Write(bytes)
    }
}

/// `call!(NUMBER, argument, …)`: one system call.
macro_rules! call {
    ($number:expr $(, $arg:expr)* $(,)?) => {
        $crate::sys::raw(i64::from($number), [$($crate::sys::Arg::from($arg)),*])
    };
}
pub(crate) use call;

/// Makes a system call with at most six arguments; the others are 0.
pub(crate) fn raw<const N: usize>(number: i64, mut args: [Arg<'_>; N]) -> Result<usize, Errno> {
    let mut words = [0; 6];
    for (word, arg) in words.iter_mut().zip(&mut args) {
        *word = arg.word();
    }
    let number = libc::c_long::try_from(number).map_err(|_| libc::ENOSYS)?;
    let [first, second, third, fourth, fifth, sixth] = words;
    // SAFETY: memory is reached through what `args` borrows, which outlives the call, and each caller hands over as much
    // as the call that it makes reads or writes. No call is made that gives this process's memory away (clone has its
    // own function), and the other numbers are not addresses in this process.
    let answer = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if answer == -1 { Err(last()) } else { Ok(usize::from_ne_bytes(answer.to_ne_bytes())) }
}

fn last() -> Errno {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The name of an error.
pub(crate) fn name(errno: Errno) -> String {
    let known = match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::ESRCH => "ESRCH",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::EBADF => "EBADF",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::EXDEV => "EXDEV",
        libc::ENODEV => "ENODEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENOTTY => "ENOTTY",
        libc::ETXTBSY => "ETXTBSY",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::ENOSYS => "ENOSYS",
        libc::ELOOP => "ELOOP",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ENOKEY => "ENOKEY",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        _ => return format!("errno {errno}"),
    };
    known.to_owned()
}

/// A descriptor that a call has just made.
pub(crate) fn own(fd: usize) -> Option<OwnedFd> {
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd > 2)?;
    // SAFETY: the caller got the number from a call that made it, and nobody else has it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The end of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this code.
    Code(u8),
    /// Of this signal.
    Signal(i32),
}

/// A child that is still to be waited for.
#[derive(Debug)]
pub(crate) struct Child(pub(crate) i32);

/// Starts a copy of this process that runs `work` and ends with its result. This program has one thread only.
pub(crate) fn start(work: impl FnOnce() -> u8) -> Result<Child, Errno> {
    // SAFETY: with one thread no lock can be held by a thread that the child has not.
    match unsafe { libc::fork() } {
        -1 => Err(last()),
        0 => exit(work()),
        pid => Ok(Child(pid)),
    }
}

/// The same, and waits for its end.
pub(crate) fn child(work: impl FnOnce() -> u8) -> Result<Ended, Errno> {
    start(work)?.wait()
}

impl Child {
    /// Waits for its end.
    pub(crate) fn wait(&self) -> Result<Ended, Errno> {
        let mut status = 0;
        loop {
            // SAFETY: the status lives longer than the call.
            if unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL) } != -1 {
                break;
            }
            if last() != libc::EINTR {
                return Err(last());
            }
        }
        if libc::WIFSIGNALED(status) {
            return Ok(Ended::Signal(libc::WTERMSIG(status)));
        }
        Ok(Ended::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX)))
    }

    /// Returns whether it has ended, without reaping it.
    pub(crate) fn has_ended(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.0))
            .map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
    }
}

/// Ends this process at once, without what a normal end would do.
pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: it does not return, and touches no memory.
    unsafe { libc::_exit(code.into()) }
}

/// `clone` with these flags and nothing shared; a child that comes of it ends at once.
pub(crate) fn clone(flags: i32) -> Result<i32, Errno> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack this is fork(2), and this program has one thread.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(last()),
        0 => exit(0),
        pid => Ok(i32::try_from(pid).unwrap_or(-1)),
    }
}

/// `clone3` with these flags; a child that comes of it ends at once.
pub(crate) fn clone3(flags: i32) -> Result<i32, Errno> {
    // struct clone_args as it was first: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    let [flags, signal] = [flags, libc::SIGCHLD].map(|number| u64::try_from(number).unwrap_or(0));
    let args: [u64; 8] = [flags, 0, 0, 0, signal, 0, 0, 0];
    // SAFETY: as with clone; the structure outlives the call and its size is the one that is told.
    match unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) } {
        -1 => Err(last()),
        0 => exit(0),
        pid => Ok(i32::try_from(pid).unwrap_or(-1)),
    }
}

/// Makes this process deaf to a signal; what it starts is, too.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: no handler of ours is set, so nothing of this program can run in a signal's context.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// `kill` as the kernel has it: -1 is everybody, 0 the own group.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<usize, Errno> {
    call!(libc::SYS_kill, pid, signal)
}

/// Real and effective user, and the capabilities that are in effect.
pub(crate) fn who_am_i() -> String {
    // SAFETY: they cannot fail and touch no memory.
    let (real, effective) = unsafe { (libc::getuid(), libc::geteuid()) };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    format!("{real} {effective} {} {}", line("CapEff:"), line("NoNewPrivs:"))
}

/// Returns the answer of the 32-bit gate to `getpid`, which may kill the process.
#[cfg(target_arch = "x86_64")]
pub(crate) fn gate_32() -> i32 {
    let answer: i32;
    // SAFETY: number 20 of the 32-bit table is getpid, which takes nothing and touches no memory; the registers that old
    // kernels clear on this way are named.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("eax") 20 => answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            options(nostack),
        );
    }
    answer
}
