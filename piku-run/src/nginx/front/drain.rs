//! `front APP drain MACHINE`: takes a machine out of the front for the time of its deploy. The process of the
//! deploy tells the end of the deploy on stdin. The machine is out as long as the process holds a lock: if
//! either of the two is killed, it gets requests again.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use piku_files::FileLock;
use piku_layout::paths::AppDir;
use piku_report::output;

use super::FrontSite;
use super::probe::checked_path;
use crate::lock;
use crate::ports::connections;
use crate::releases::current;

/// Time for requests under way. Longer ones go on while the machine deploys, which does not end them.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the machine to answer after its deploy, which has checked the app already.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the lock, which others take only to look at it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Word on stdin after a deploy that has succeeded.
const DEPLOYED: &str = "deployed";
/// Word on stdin after the return to the release before.
const UNDONE: &str = "undone";
/// Word on stdin after the return, by an operator, to a release of the deploy before.
const ROLLED_BACK: &str = "rolled-back";
/// Word on stdin after a change to which the same settings of the front belong.
const RESTARTED: &str = "restarted";

/// Returns whether a deploy has taken the machine out.
pub(super) fn is_draining(app: &AppDir, machine: &str) -> bool {
    lock::is_held(&lock_path(app, machine))
}

fn lock_path(app: &AppDir, machine: &str) -> PathBuf {
    app.front_state().join(format!("{machine}.lock"))
}

/// Takes the machine out, prints `drained`, and puts it back when stdin says that it has deployed, or ends.
///
/// # Errors
/// Fails if the machine does not answer after its deploy.
pub(super) fn drain_machine(site: &FrontSite, name: &str) -> anyhow::Result<()> {
    let machine = site.find_machine(name)?;
    let lock = take_lock(&site.dir, name)?;
    site.apply()?;
    let state = site.states().into_iter().find(|state| state.machine == name);
    let (address, was_up) = state.map_or((None, false), |state| (state.address, state.is_up));
    if let Some(address) = address.filter(|address| !site.upstreams().contains(address)) {
        wait_for_connections(address);
    }
    output::write(b"drained\n")?;
    let mut word = String::new();
    io::stdin().read_line(&mut word).context("cannot read from stdin")?;
    let record = site.record.clone();
    let record = match word.trim() {
        DEPLOYED => record.activated(),
        UNDONE => record.reverted(),
        ROLLED_BACK => record.exchanged(),
        // One that did not answer before, as of a stopped app, need not do so after it.
        RESTARTED if was_up => record,
        // The deploy has failed, or was killed.
        _ => {
            drop(lock);
            return site.apply();
        }
    };
    let after = FrontSite { record, ..site.clone() };
    let answer = wait_for_answer(&after, machine, address);
    // Settings of a release that does not answer here do not apply.
    let is_taken_over = answer.is_ok() || [UNDONE, ROLLED_BACK].contains(&word.trim());
    let site = if is_taken_over { &after } else { site };
    if is_taken_over {
        after.record.store(&after.dir)?;
    }
    drop(lock);
    site.apply()?;
    answer
}

fn take_lock(app: &AppDir, name: &str) -> anyhow::Result<FileLock> {
    current::create_dir(&app.front_state())?;
    let path = lock_path(app, name);
    let since = Instant::now();
    loop {
        let lock = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        if since.elapsed() > LOCK_TIMEOUT {
            bail!("another deploy has taken {name} out");
        }
        sleep(PAUSE);
    }
}

/// Waits until this machine has no connection to the address, for requests to any app there.
fn wait_for_connections(address: SocketAddr) {
    let since = Instant::now();
    while since.elapsed() < DRAIN_TIMEOUT && !connections::connections_to(address).is_empty() {
        sleep(PAUSE);
    }
}

fn wait_for_answer(
    site: &FrontSite,
    machine: &piku_layout::settings::MachineAddress,
    known: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let values = site.values()?;
    let path = checked_path(&values);
    let since = Instant::now();
    loop {
        match site.check_machine(machine, known, path).1 {
            Ok(()) => return Ok(()),
            Err(failure) if since.elapsed() > ANSWER_TIMEOUT => {
                bail!("{} does not answer this machine: {failure}", machine.name());
            }
            Err(_) => sleep(PAUSE * 10),
        }
    }
}
