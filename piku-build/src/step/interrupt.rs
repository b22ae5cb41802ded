//! SIGINT, SIGTERM and SIGHUP end a build cleanly: the running step is ended with all its processes,
//! unfinished results are removed by their owners, and the tool exits with 128 + the signal's number. A build
//! that exceeds its time limit ends the same way, with exit code 1.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use piku_report::user_error::{self, UserError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Stands for an expired time limit in place of a signal.
const TOO_LONG: i32 = -1;

/// The signal that came, 0 before.
static CAME: AtomicI32 = AtomicI32::new(0);
/// The process group of the step that runs.
static GROUP: Mutex<Option<Pid>> = Mutex::new(None);

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
                end(signal);
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// Ends the build when it takes longer than this.
pub(crate) fn limit_time(time: Duration) -> anyhow::Result<()> {
    let wait = move || {
        thread::sleep(time);
        end(TOO_LONG);
    };
    thread::Builder::new().name("limit".to_owned()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

fn end(why: i32) {
    CAME.store(why, Ordering::SeqCst);
    end_group(Signal::SIGTERM);
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
    if CAME.load(Ordering::SeqCst) != 0 {
        end_group(Signal::SIGTERM);
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
