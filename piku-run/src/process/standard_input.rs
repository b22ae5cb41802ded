//! The check that there is something on stdin: a pipe whose writer has failed is empty.

use std::io::{IsTerminal, stdin};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use piku_report::user_error::{USAGE, UserError};
use rustix::fs::{FileType, SeekFrom, fstat, seek};
use rustix::io::ioctl_fionread;

use super::wait::{READ, wait};

/// Fails if stdin is a terminal or empty. Waits until something is there, and reads nothing of it.
///
/// # Errors
/// Calls what was expected `what`; the hint is `example`.
pub(crate) fn expect_input(what: &str, example: &str) -> anyhow::Result<()> {
    let input = stdin();
    let why = if input.is_terminal() {
        ""
    } else if is_empty(input.as_fd())? {
        ", which is empty; nothing was changed"
    } else {
        return Ok(());
    };
    Err(UserError::new(format!("expected {what} on stdin{why}")).hint(example).code(USAGE).into())
}

/// Waits until a descriptor has something to read, or never will; returns true for the latter.
fn is_empty(input: BorrowedFd<'_>) -> anyhow::Result<bool> {
    let cannot = "cannot look at stdin";
    let stat = fstat(input).context(cannot)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let size = u64::try_from(stat.st_size).unwrap_or_default();
            Ok(seek(input, SeekFrom::Current(0)).context(cannot)? >= size)
        }
        FileType::Fifo | FileType::Socket => {
            wait(&[(input, READ, ())], None)?;
            Ok(ioctl_fionread(input).context(cannot)? == 0)
        }
        // /dev/null; other devices are read.
        _ => Ok(rustix::fs::major(stat.st_rdev) == 1 && rustix::fs::minor(stat.st_rdev) == 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn empty_input_is_told_from_what_is_yet_to_come() {
        let is_empty = |input: &dyn AsFd| is_empty(input.as_fd()).unwrap();
        assert!(is_empty(&File::open("/dev/null").unwrap()));
        assert!(!is_empty(&File::open("/dev/zero").unwrap()));
        let mut file = tempfile::tempfile().unwrap();
        assert!(is_empty(&file));
        file.write_all(b"x").unwrap();
        assert!(is_empty(&file));
        file.rewind().unwrap();
        assert!(!is_empty(&file));

        let (input, output) = rustix::pipe::pipe().unwrap();
        let writer = std::thread::spawn(move || File::from(output).write_all(b"x"));
        assert!(!is_empty(&input));
        writer.join().unwrap().unwrap();
        let mut input = File::from(input);
        input.read_to_end(&mut Vec::new()).unwrap();
        assert!(is_empty(&input));

        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(b"x").unwrap();
        assert!(!is_empty(&other));
        let (one, other) = UnixStream::pair().unwrap();
        drop(one);
        assert!(is_empty(&other));
    }
}
