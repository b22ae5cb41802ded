//! SIGINT, SIGTERM and SIGHUP end a build cleanly: the running step is ended with all its processes,
//! unfinished results are removed by their owners, and the tool exits with 128 + the signal's number. A build
//! that exceeds its time limit or uses up the disk ends the same way, with exit code 1.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use piku_files::free_space::FreeSpace;
use piku_report::user_error::{self, UserError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Stands for an expired time limit in place of a signal.
const TOO_LONG: i32 = -1;
/// Stands for a used-up disk in place of a signal.
const DISK_FULL: i32 = -2;

/// The signal that came, 0 before.
static CAME: AtomicI32 = AtomicI32::new(0);
/// The process group of the step that runs.
static GROUP: Mutex<Option<Pid>> = Mutex::new(None);

/// Time between two looks at the disk. A step can write some hundred megabytes in it.
const DISK_INTERVAL: Duration = Duration::from_millis(200);
/// Number of inodes that stay free.
const LEAST_FILES: u64 = 10_000;

/// Time after SIGTERM until a step is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Time for the removal of unfinished results afterwards. A build that hangs then releases its lock by
/// exiting.
const LAST_GRACE: Duration = Duration::from_secs(60);

/// Takes the signals from now on.
pub(crate) fn watch_signals() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                end(signal, Signal::SIGTERM);
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// Ends the build when it takes longer than this.
pub(crate) fn limit_time(time: Duration) -> anyhow::Result<()> {
    let wait = move || {
        thread::sleep(time);
        end(TOO_LONG, Signal::SIGTERM);
    };
    thread::Builder::new().name("limit".to_owned()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

/// Ends the build when the disk of `dir` has less than `reserve` bytes or [`LEAST_FILES`] inodes, or half of what it
/// had now if that was less. The other apps and piku itself need them.
pub(crate) fn limit_disk(dir: PathBuf, reserve: u64) -> anyhow::Result<()> {
    let free = FreeSpace::of(&dir)?;
    let least = FreeSpace {
        bytes: reserve.min(free.bytes / 2),
        files: free.files.map(|files| LEAST_FILES.min(files / 2)),
        ..free
    };
    let watch = move || {
        while !FreeSpace::of(&dir).is_ok_and(|free| is_below(free, least)) {
            thread::sleep(DISK_INTERVAL);
        }
        // A step that is asked to end may go on writing.
        end(DISK_FULL, Signal::SIGKILL);
    };
    thread::Builder::new().name("disk".to_owned()).spawn(watch).context("cannot start a thread")?;
    Ok(())
}

fn is_below(free: FreeSpace, least: FreeSpace) -> bool {
    let files = free.files.zip(least.files);
    free.bytes < least.bytes || files.is_some_and(|(free, least)| free < least)
}

/// Returns true if the build was ended because it used up the disk.
pub(crate) fn has_filled_disk() -> bool {
    CAME.load(Ordering::SeqCst) == DISK_FULL
}

/// Ends the build. The running step gets the signal `first`, and is killed if that does not end it.
fn end(why: i32, first: Signal) {
    CAME.store(why, Ordering::SeqCst);
    end_group(first);
    thread::spawn(|| {
        thread::sleep(GRACE);
        end_group(Signal::SIGKILL);
        thread::sleep(LAST_GRACE);
        let err = check().err().unwrap_or_else(|| anyhow::anyhow!("ended"));
        let _ = user_error::report("piku-build", &err);
        let code = user_error::advice(&err).1;
        std::process::exit(code.into());
    });
}

/// Fails once a signal has arrived.
pub(crate) fn check() -> anyhow::Result<()> {
    match CAME.load(Ordering::SeqCst) {
        0 => Ok(()),
        TOO_LONG => Err(UserError::new("the build took longer than this host allows; nothing was kept")
            .hint("build_timeout in host.yaml sets the limit, in seconds")
            .into()),
        DISK_FULL => Err(UserError::new(
            "the build has used up the disk; nothing was kept, and its caches were removed",
        )
        .hint("disk_reserve in host.yaml sets how much of it stays free for the other apps")
        .into()),
        signal => {
            let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
            let code = 128 + u8::try_from(signal).unwrap_or(0);
            Err(UserError::new(format!("ended by {name}; nothing was kept")).code(code).into())
        }
    }
}

/// Sets the process group of the running step.
pub(crate) fn set_group(group: Option<Pid>) {
    *GROUP.lock().unwrap_or_else(PoisonError::into_inner) = group;
    // A signal that came before the step was known has not reached it.
    match CAME.load(Ordering::SeqCst) {
        0 => {}
        DISK_FULL => end_group(Signal::SIGKILL),
        _ => end_group(Signal::SIGTERM),
    }
}

fn end_group(signal: Signal) {
    // The lock is held: the group cannot be given up, and its number used again, in between.
    let group = GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(group) = *group {
        // The group may have ended by itself.
        let _ = killpg(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_used_up_without_bytes_or_without_inodes() {
        let free = |bytes, files| FreeSpace { total: 1000, bytes, files };
        let least = free(64, Some(10));
        assert!(!is_below(free(64, Some(10)), least));
        assert!(is_below(free(63, Some(10)), least) && is_below(free(64, Some(9)), least));
        assert!(!is_below(free(64, None), free(64, None)));
    }
}
