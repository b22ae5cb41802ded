//! SIGINT, SIGTERM and SIGHUP end a build cleanly: the step that runs is ended with all its processes, what was half made
//! is removed by its owner on the way out, and the tool exits with 128 + the signal's number.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use piku_procfile::failure::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The signal that came, 0 before.
static CAME: AtomicI32 = AtomicI32::new(0);
/// The process group of the step that runs.
static GROUP: Mutex<Option<Pid>> = Mutex::new(None);

/// How long a step may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Takes the signals from now on.
pub(crate) fn watch() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                CAME.store(signal, Ordering::SeqCst);
                end_group(Signal::SIGTERM);
                thread::spawn(|| {
                    thread::sleep(GRACE);
                    end_group(Signal::SIGKILL);
                });
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// An error once a signal has come.
pub(crate) fn check() -> anyhow::Result<()> {
    match CAME.load(Ordering::SeqCst) {
        0 => Ok(()),
        signal => {
            let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
            let code = 128 + u8::try_from(signal).unwrap_or(0);
            Err(Failure::new(format!("ended by {name}; nothing was kept")).code(code).into())
        }
    }
}

/// The group of the step that runs now, or that none does.
pub(crate) fn running(group: Option<Pid>) {
    *GROUP.lock().unwrap_or_else(PoisonError::into_inner) = group;
    // A signal that came before the step was known has not reached it.
    if CAME.load(Ordering::SeqCst) != 0 {
        end_group(Signal::SIGTERM);
    }
}

fn end_group(signal: Signal) {
    // The lock is held: the group cannot be given up, and its number used again, in between.
    let group = GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(group) = *group {
        // A group that has ended by itself is what was wanted.
        let _ = killpg(group, signal);
    }
}
