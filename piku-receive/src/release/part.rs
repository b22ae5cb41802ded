//! `release:take`: receives a part of a release, or the rest of it. Incomplete parts are kept; a part with a
//! wrong hash is discarded.

#![expect(
    clippy::disallowed_methods,
    reason = "the directory of received parts, which are named by their hashes and written by piku only"
)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use piku_files::{FileLock, atomic_file, sha256};
use piku_layout::clock;
use piku_layout::settings::HostSettings;
use piku_report::user_error::{BUSY, UserError};

use super::PartName;
use crate::app_context::AppContext;
use crate::limits::IntakeLimit;

/// Suffix of an incomplete part.
const HALF: &str = ".half";
/// Milliseconds without data after which the connection counts as lost.
const SILENCE: u16 = 20_000;
/// Bytes after which the free space is checked again.
const STRIDE: u64 = 16 << 20;
/// Time for another session with a lost connection to release the same part.
const OTHER: Duration = Duration::from_secs(60);
/// Age after which unused parts are removed.
const OLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// Receives the part from stdin.
pub(crate) fn receive_part(context: &AppContext<'_>, part: &PartName) -> anyhow::Result<()> {
    let folder = context.dir().incoming();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot create '{}'", folder.display()))?;
    remove_old_parts(&folder);
    let whole = folder.join(part.sha256.to_string());
    if fs::metadata(&whole).is_ok_and(|meta| meta.len() == part.bytes) {
        return print_size(part.bytes);
    }
    let path = folder.join(format!("{}{HALF}", part.sha256));
    let mut file = lock_partial_file(&path)?;
    let cannot = || format!("cannot write '{}'", path.display());
    let mut here = file.metadata().with_context(cannot)?.len();
    if here > part.bytes {
        file.set_len(0).with_context(cannot)?;
        here = 0;
    }
    let settings = HostSettings::read(&context.root.settings())?;
    let missing = part.bytes - here;
    IntakeLimit::read_limit(&settings, &folder, missing)?.check_bytes(missing)?;
    file.seek(SeekFrom::Start(here)).with_context(cannot)?;
    print_size(here)?;
    // Other data arrives at the same time and needs space too.
    let check_space = || {
        let limit = IntakeLimit::read_limit(&settings, &folder, STRIDE)?;
        limit.allowed_bytes().map(drop).map_err(anyhow::Error::from)
    };
    let came = copy_checking_space(&mut file, part.bytes - here, &check_space);
    piku_files::write_out(&file).with_context(cannot)?;
    let here = here + came?.with_context(cannot)?;
    if here < part.bytes {
        let what = format!("connection lost: received {here} of {} bytes", part.bytes);
        return Err(UserError::new(what).hint("send it again to resume").code(BUSY).into());
    }
    file.rewind().with_context(cannot)?;
    if sha256::to_hex(&sha256::hash_reader(&mut *file).with_context(cannot)?) != part.sha256.to_string() {
        fs::remove_file(&path).with_context(cannot)?;
        let failure = UserError::new("the received part has a wrong hash and was discarded");
        return Err(failure.hint("send it again; if it happens again, check the disk").into());
    }
    fs::rename(&path, &whole).and_then(|()| atomic_file::order_parent(&whole)).with_context(cannot)
}

/// Prints how many bytes are here; the sender continues after them.
fn print_size(bytes: u64) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{bytes}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}

/// Opens and locks the file of an incomplete part.
fn lock_partial_file(path: &Path) -> anyhow::Result<FileLock> {
    let since = Instant::now();
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
        let lock =
            FileLock::try_exclusive(file).with_context(|| format!("cannot lock '{}'", path.display()))?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        if since.elapsed() >= OTHER {
            let what = "another session is receiving the same part";
            return Err(UserError::new(what).code(BUSY).into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Copies up to `bytes` bytes from stdin, until its end or a timeout, and returns their number. Calls
/// `check_space` repeatedly; its error ends the copy.
fn copy_checking_space(
    file: &mut File,
    bytes: u64,
    check_space: &dyn Fn() -> anyhow::Result<()>,
) -> anyhow::Result<io::Result<u64>> {
    let mut came = 0;
    while came < bytes {
        let most = STRIDE.min(bytes - came);
        match copy_from_stdin(file, most) {
            Ok(read) if read == most => came += read,
            Ok(read) => return Ok(Ok(came + read)),
            Err(err) => return Ok(Err(err)),
        }
        if came < bytes {
            check_space()?;
        }
    }
    Ok(Ok(came))
}

/// Does the same without the checks.
fn copy_from_stdin(file: &mut File, bytes: u64) -> io::Result<u64> {
    // Unbuffered: poll reports about the descriptor only.
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut buffer = vec![0; 1 << 16];
    let mut came = 0;
    while came < bytes {
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(SILENCE)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let most = usize::try_from(bytes - came).unwrap_or(usize::MAX).min(buffer.len());
        match stdin.read(&mut buffer[..most])? {
            0 => break,
            read => {
                file.write_all(&buffer[..read])?;
                came += read as u64;
            }
        }
    }
    Ok(came)
}

fn remove_old_parts(folder: &Path) {
    let now = SystemTime::now();
    // A date in the future comes from a wrong clock.
    let is_old = |modified: SystemTime| {
        clock::age(modified, now).map_or(clock::is_ahead(modified, now), |age| age > OLD)
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if fs::metadata(entry.path()).and_then(|meta| meta.modified()).is_ok_and(is_old) {
            // The next session tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_of_a_time_to_come_is_thrown_away() {
        let dir = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let now = SystemTime::now();
        for (name, date) in [
            ("old", now - 8 * day),
            ("unset", SystemTime::UNIX_EPOCH),
            ("ahead", now + 3650 * day),
            ("new", now - 6 * day),
            ("a-little-ahead", now + day / 2),
        ] {
            File::create(dir.path().join(name)).unwrap().set_modified(date).unwrap();
        }
        remove_old_parts(dir.path());
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a-little-ahead", "new"]);
    }
}
