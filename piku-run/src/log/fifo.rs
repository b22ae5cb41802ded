//! The fifo between a worker and its supervisor. Both ends are opened read-write: as long as the worker lives it is itself
//! a reader, so it gets no SIGPIPE when the supervisor is gone, and what it wrote waits for the next supervisor.

#![expect(clippy::disallowed_methods, reason = "pipes in the folder of what runs, which only piku writes")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// The supervisor's end; the fifo is made (mode 0600) when it is not there. Reading never blocks and never sees an end.
///
/// # Errors
/// When it can neither be made nor opened, or when something else has its name.
pub fn open_fifo(path: &Path) -> io::Result<OwnedFd> {
    match mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(Errno::EEXIST) => open(path, O_NONBLOCK),
        Err(err) => Err(err.into()),
    }
}

/// The worker's end, for its stdout and stderr: writing blocks while the fifo is full. The fifo must be there.
///
/// # Errors
/// When it cannot be opened, or is not a fifo.
pub fn open_fifo_for_worker(path: &Path) -> io::Result<OwnedFd> {
    open(path, 0)
}

/// Read-write, so that opening waits for no other end; std adds `O_CLOEXEC`.
fn open(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    // Looked at before it is opened: opening a device may do something.
    if !std::fs::symlink_metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("there is something else in the place of the fifo"));
    }
    Ok(OpenOptions::new().read(true).write(true).custom_flags(flags | O_NOFOLLOW).open(path)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_worker_outlives_the_supervisors_end_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.1.fifo");
        let mut supervisor = File::from(open_fifo(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut buffer = [0; 4096];
        assert_eq!(supervisor.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        let worker = open_fifo_for_worker(&path).unwrap();
        // The supervisor is gone before the worker says a word.
        drop(supervisor);
        let script = "for i in 1 2 3; do echo line $i || exit 9; done";
        let end = Stdio::from(worker.try_clone().unwrap());
        assert!(Command::new("sh").args(["-c", script]).stdout(end).status().unwrap().success());
        // The next one takes up what waits; `worker` stands for the worker that still runs.
        let mut next = File::from(open_fifo(&path).unwrap());
        let count = next.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"line 1\nline 2\nline 3\n");
        File::from(worker).write_all(b"still here\n").unwrap();
        assert_eq!(next.read(&mut buffer).unwrap(), 11);
    }

    #[test]
    fn nothing_else_is_taken_for_a_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        assert!(open_fifo(&path).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(open_fifo(&link).is_err());
        assert!(open_fifo_for_worker(&dir.path().join("none")).is_err());
    }
}
