//! Lock files of daemons, supervisors and instances, which contain the pid of their holder.

#![expect(clippy::disallowed_methods, reason = "locks, which only piku writes")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use piku_files::FileLock;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

/// Locks a file, creating it if necessary; `None` if another process holds the lock.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<FileLock>> {
    FileLock::try_exclusive(
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?,
    )
}

/// Returns true if a process holds the lock of a file, which need not exist.
pub(crate) fn is_held(path: &Path) -> bool {
    File::open(path).and_then(FileLock::is_held).unwrap_or(false)
}

/// Repeats `attempt` until it returns a value, for up to `lock_timeout` of the host settings. Says once that it
/// waits, for `what`.
///
/// # Errors
/// Fails as `attempt` does, or as busy if the time is over.
pub(crate) fn wait_for<T>(
    root: &PikuRoot,
    what: &str,
    mut attempt: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    if let Some(found) = attempt()? {
        return Ok(found);
    }
    let most = Duration::from_secs(HostSettings::read(&root.settings())?.lock_timeout);
    progress::step(&format!("Waiting for {what}"));
    let since = Instant::now();
    loop {
        sleep(Duration::from_millis(50));
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        if since.elapsed() > most {
            return Err(UserError::new(format!("gave up waiting for {what}"))
                .hint("lock_timeout in host.yaml sets how many seconds to wait")
                .code(BUSY)
                .into());
        }
    }
}

/// Returns the lock if this process has it as its stdin, from a program that has executed it.
pub(crate) fn inherit(path: &Path) -> io::Result<Option<FileLock>> {
    let Ok(named) = std::fs::metadata(path) else { return Ok(None) };
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let own = file.metadata()?;
    if (own.dev(), own.ino()) != (named.dev(), named.ino()) {
        return Ok(None);
    }
    FileLock::try_exclusive(file)
}

/// Writes this process's pid into the file, for processes that find it locked.
pub(crate) fn write_pid(lock: &mut FileLock) -> io::Result<()> {
    write_text(lock, &std::process::id().to_string())
}

/// Writes a text into the file.
pub(crate) fn write_text(lock: &mut FileLock, text: &str) -> io::Result<()> {
    lock.set_len(0)?;
    lock.write_all(text.as_bytes())
}

/// Returns the pid written into a lock file.
pub(crate) fn holder(path: &Path) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let mut lock = try_lock(&path).unwrap().unwrap();
        write_pid(&mut lock).unwrap();
        assert!(try_lock(&path).unwrap().is_none() && is_held(&path));
        assert!(!is_held(&dir.path().join("missing")));
        assert_eq!(holder(&path), i32::try_from(std::process::id()).ok());
        drop(lock);
        // A process that another test is starting has the descriptor too, until it runs its program.
        let is_free = |_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            try_lock(&path).unwrap().is_some()
        };
        assert!((0..1000).any(is_free));
    }
}
