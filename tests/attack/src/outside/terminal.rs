//! A real terminal, at which the user sits who starts the jail.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::sys::call;

pub(super) struct Terminal {
    /// The end that the one who sits there has.
    person: File,
    /// The program's end.
    pub(super) program: File,
}

impl Terminal {
    /// Returns `None` if no terminal can be made.
    pub(super) fn new() -> Option<Self> {
        let open = |path: &str, flags| {
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY | flags).open(path).ok()
        };
        let person = open("/dev/ptmx", libc::O_NONBLOCK)?;
        let mut number = [0_u8; 4];
        call!(libc::SYS_ioctl, person.as_raw_fd(), libc::TIOCSPTLCK, &[0; 4]).ok()?;
        call!(libc::SYS_ioctl, person.as_raw_fd(), libc::TIOCGPTN, &mut number[..]).ok()?;
        let program = open(&format!("/dev/pts/{}", u32::from_ne_bytes(number)), 0)?;
        Some(Self { person, program })
    }

    /// Returns whether no input was faked: the terminal echoes it to the user.
    pub(super) fn is_silent(&mut self) -> bool {
        let mut seen = [0; 16];
        !matches!(std::io::Read::read(&mut self.person, &mut seen), Ok(1..))
    }
}

/// Makes it the controlling terminal of a new session.
pub(super) fn take(terminal: &File) {
    let _ = call!(libc::SYS_setsid);
    let _ = call!(libc::SYS_ioctl, terminal.as_raw_fd(), libc::TIOCSCTTY, 0);
}
