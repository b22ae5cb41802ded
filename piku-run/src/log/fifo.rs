//! The fifo between an instance and its supervisor. Both ends are opened read-write: the instance itself is a
//! reader, so it gets no SIGPIPE when the supervisor is gone, and its output waits for the next supervisor.

#![expect(clippy::disallowed_methods, reason = "pipes in the run directory, which only piku writes")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Opens the supervisor's end, and creates the fifo (mode 0600) if necessary. Reading never blocks and never
/// sees an end.
///
/// # Errors
/// Fails if it can be neither created nor opened, or if another kind of file has its name.
pub(crate) fn open_fifo(path: &Path) -> io::Result<OwnedFd> {
    match mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(Errno::EEXIST) => open_read_write(path, O_NONBLOCK),
        Err(err) => Err(err.into()),
    }
}

/// Opens the instance's end, for its stdout and stderr. Writing blocks while the fifo is full. The fifo must
/// exist.
///
/// # Errors
/// Fails if it cannot be opened, or is not a fifo.
pub(crate) fn open_fifo_for_worker(path: &Path) -> io::Result<OwnedFd> {
    open_read_write(path, 0)
}

/// Opens a fifo read-write, so that opening does not wait for the other end; std adds `O_CLOEXEC`.
fn open_read_write(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    // Checked before it is opened, because opening a device may have side effects.
    if !std::fs::symlink_metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("another kind of file has the name of the fifo"));
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
    fn output_survives_the_loss_of_the_supervisors_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.1.fifo");
        let mut supervisor = File::from(open_fifo(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut buffer = [0; 4096];
        assert_eq!(supervisor.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        let worker = open_fifo_for_worker(&path).unwrap();
        // The supervisor is gone before the instance writes anything.
        drop(supervisor);
        let script = "for i in 1 2 3; do echo line $i || exit 9; done";
        let end = Stdio::from(worker.try_clone().unwrap());
        assert!(Command::new("sh").args(["-c", script]).stdout(end).status().unwrap().success());
        // The next supervisor reads what waits; `worker` stands for the instance that still runs.
        let mut next = File::from(open_fifo(&path).unwrap());
        let count = next.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"line 1\nline 2\nline 3\n");
        File::from(worker).write_all(b"still here\n").unwrap();
        assert_eq!(next.read(&mut buffer).unwrap(), 11);
    }

    #[test]
    fn only_a_fifo_is_opened() {
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
