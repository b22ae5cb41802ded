//! The caller's terminal: faked input becomes commands of the user who sits there.

use std::fs;
use std::os::fd::AsRawFd;

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::{self, call};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 4] = [
    Row {
        name: "tiocsti",
        attempt: "TIOCSTI on the caller's terminal, also with bit 32 of the request set",
        expected: "refused, and the terminal got nothing",
        run: tiocsti,
    },
    Row {
        name: "tioclinux",
        attempt: "TIOCLINUX (paste) on the caller's terminal, also with bit 32 set",
        expected: "refused",
        run: tioclinux,
    },
    Row {
        name: "terminal-filter",
        attempt: "the same on a file that is no terminal",
        expected: "EPERM, before anybody looks at the file",
        run: filter,
    },
    Row {
        name: "controlling-terminal",
        attempt: "open /dev/tty, and take the caller's terminal as the own one",
        expected: "there is none",
        run: controlling,
    },
];

/// Returns a request as it is, and with each of the bits that the kernel ignores.
fn requests(request: u64) -> [u64; 3] {
    [request, request | (1 << 32), request | (0xffff_ffff << 32)]
}

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// Tries a request on descriptors 0 to 2 and on /dev/tty.
fn on_terminals(request: u64, argument: &[u8]) -> Verdict {
    let mut ways = Ways::default();
    let tty = fs::File::open("/dev/tty").ok();
    for fd in [0, 1, 2].into_iter().chain(tty.as_ref().map(AsRawFd::as_raw_fd)) {
        for request in requests(request) {
            let answer = call!(libc::SYS_ioctl, fd, request, argument);
            ways.must_fail(&format!("{request:#x} on {fd}"), answer);
        }
    }
    ways.verdict()
}

fn tiocsti(_: &Facts) -> Verdict {
    on_terminals(TIOCSTI, b"x")
}

fn tioclinux(_: &Facts) -> Verdict {
    // 3 is "paste the selection".
    on_terminals(TIOCLINUX, &[3, 0, 0, 0, 0, 0, 0, 0])
}

fn filter(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let Ok(null) = fs::File::open("/dev/null") else {
        return Verdict::Untried("there is no /dev/null".to_owned());
    };
    for request in requests(TIOCSTI).into_iter().chain(requests(TIOCLINUX)) {
        let answer = call!(libc::SYS_ioctl, null.as_raw_fd(), request, &[0; 8]);
        ways.must_fail_with(&format!("{request:#x}"), answer, &[libc::EPERM]);
    }
    ways.verdict()
}

fn controlling(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    ways.io("open /dev/tty", fs::File::open("/dev/tty"));
    let answer = sys::child(|| {
        let _ = call!(libc::SYS_setsid);
        match call!(libc::SYS_ioctl, 0, libc::TIOCSCTTY, 1) {
            Ok(_) => 0,
            Err(errno) => u8::try_from(errno).unwrap_or(u8::MAX),
        }
    });
    ways.must_be(answer != Ok(sys::Ended::Code(0)), "TIOCSCTTY", "not to be taken");
    ways.verdict()
}
