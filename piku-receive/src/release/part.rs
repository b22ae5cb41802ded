//! `release:take`: a part of a release comes in, or the rest of it. What has come is kept when the line breaks; what has the
//! wrong hash in the end is thrown away.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder of parts that come in, whose names are their hashes; only piku writes there"
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

/// How a part is called that is not whole yet.
const HALF: &str = ".half";
/// After so long without a byte, in milliseconds, the line is taken for broken.
const SILENCE: u16 = 20_000;
/// The disk is looked at again after so many bytes.
const STRIDE: u64 = 16 << 20;
/// How long a session that takes the same part, and whose line is broken, may take to notice.
const OTHER: Duration = Duration::from_secs(60);
/// Parts that nobody has asked for in this time are thrown away.
const OLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// Takes the part from stdin.
pub(crate) fn run(place: &AppContext<'_>, part: &PartName) -> anyhow::Result<()> {
    let folder = place.dir().incoming();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make '{}'", folder.display()))?;
    sweep(&folder);
    let whole = folder.join(part.sha256.to_string());
    if fs::metadata(&whole).is_ok_and(|meta| meta.len() == part.bytes) {
        return say(part.bytes);
    }
    let path = folder.join(format!("{}{HALF}", part.sha256));
    let mut file = lock(&path)?;
    let cannot = || format!("cannot write '{}'", path.display());
    let mut here = file.metadata().with_context(cannot)?.len();
    if here > part.bytes {
        file.set_len(0).with_context(cannot)?;
        here = 0;
    }
    let settings = HostSettings::read(&place.root.settings())?;
    IntakeLimit::of(&settings, &folder)?.check(part.bytes - here)?;
    file.seek(SeekFrom::Start(here)).with_context(cannot)?;
    say(here)?;
    // Others come in too, each of which there was room for when it began.
    let room = || IntakeLimit::of(&settings, &folder)?.bytes().map(drop).map_err(anyhow::Error::from);
    let came = receive(&mut file, part.bytes - here, &room);
    piku_files::write_out(&file).with_context(cannot)?;
    let here = here + came?.with_context(cannot)?;
    if here < part.bytes {
        let what = format!("the line broke: {here} of {} bytes are here", part.bytes);
        return Err(UserError::new(what).hint("send it again: it goes on from there").code(BUSY).into());
    }
    file.rewind().with_context(cannot)?;
    if sha256::to_hex(&sha256::hash_reader(&mut *file).with_context(cannot)?) != part.sha256.to_string() {
        fs::remove_file(&path).with_context(cannot)?;
        let failure =
            UserError::new("what came in is damaged: its hash is another one, and it was thrown away");
        return Err(failure.hint("is the disk sound? send it again").into());
    }
    fs::rename(&path, &whole).and_then(|()| atomic_file::order_parent(&whole)).with_context(cannot)
}

/// How many bytes are here, for the sender to go on from.
fn say(bytes: u64) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{bytes}").and_then(|()| stdout.flush()).context("cannot answer")
}

/// Opens the half part for nobody else.
fn lock(path: &Path) -> anyhow::Result<FileLock> {
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
            let what = "the same part is coming in through another session";
            return Err(UserError::new(what).code(BUSY).into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Copies from stdin until `bytes` have come, it ends, or nothing comes any more. Returns how many came. `room` is asked again and
/// again, and refuses.
fn receive(
    file: &mut File,
    bytes: u64,
    room: &dyn Fn() -> anyhow::Result<()>,
) -> anyhow::Result<io::Result<u64>> {
    let mut came = 0;
    while came < bytes {
        let most = STRIDE.min(bytes - came);
        match copy(file, most) {
            Ok(read) if read == most => came += read,
            Ok(read) => return Ok(Ok(came + read)),
            Err(err) => return Ok(Err(err)),
        }
        if came < bytes {
            room()?;
        }
    }
    Ok(Ok(came))
}

/// The same of a part of it.
fn copy(file: &mut File, bytes: u64) -> io::Result<u64> {
    // Not through a buffer: what poll says is true of the descriptor alone.
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

/// Throws away what nobody has come back for.
fn sweep(folder: &Path) {
    let now = SystemTime::now();
    // A date that is ahead is one of a clock that was wrong.
    let is_old = |modified: SystemTime| {
        clock::age(modified, now).map_or(clock::is_ahead(modified, now), |age| age > OLD)
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if fs::metadata(entry.path()).and_then(|meta| meta.modified()).is_ok_and(is_old) {
            // What cannot be removed now is tried again the next time.
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
        sweep(dir.path());
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a-little-ahead", "new"]);
    }
}
