//! `notify`: looks for problems, compares them with those that the operator knows of, and tells what is new.
//!
//! The daemon runs it every minute if host.yaml names a receiver. A deploy, a supervisor and an app know nothing
//! of it: a slow receiver delays none of them, and no process keeps memory for it.

#![expect(clippy::disallowed_methods, reason = "the record of notifications, which only piku writes")]

mod delivery;
mod journal;
mod notify_timer;
mod problems;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use jiff::Timestamp;
use piku_events::journal::{EventResult, JournalEvent};
use piku_files::atomic_file;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::{HostSettings, NotifySettings};
use piku_report::diagnostic::readable;
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::host_problem::ProblemKind;
use delivery::{deliver, receivers};
use journal::{NotifyJournal, ProblemNotification, ProblemState};
pub(crate) use notify_timer::NotifyTimer;
use problems::find_problems;
pub(crate) use problems::{app_problems, backup_problems, disk_problem};

use crate::lock;
use crate::releases::current;

const NAME: &str = "notify";

/// Looks for problems and delivers what is new and what could not be delivered before. Does nothing while
/// another one runs, or if host.yaml names no receiver.
pub(crate) fn notify(root: &PikuRoot) -> anyhow::Result<()> {
    let settings = HostSettings::read(&root.settings())?;
    if settings.notify.is_off() {
        return Ok(());
    }
    current::create_dir(&root.run())?;
    let path = root.run().join("notify.lock");
    let locked = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
    let Some(lock) = locked else { return Ok(()) };
    let path = root.path().join("notify.json");
    let mut journal = read_journal(&path)?;
    let before = journal.clone();
    let now = Timestamp::now();
    let host = host_name();
    let certificates = journal.recent_certificates(now);
    let found = find_problems(root, &settings, certificates, now)?;
    journal.update(found, &receivers(&settings.notify), &host, now);
    // What is queued survives a kill during its delivery.
    if let Err(err) = write_journal(&path, &journal, &before) {
        // A full disk is what the operator should know of, and what cannot be recorded.
        if is_hour_over(&lock)? {
            deliver_due(&mut journal, &settings.notify, now);
        }
        return Err(err);
    }
    let before = journal.clone();
    deliver_due(&mut journal, &settings.notify, now);
    write_journal(&path, &journal, &before)
}

/// Returns whether this returned true an hour ago or earlier; the time is that of the file, which takes no space.
fn is_hour_over(file: &File) -> anyhow::Result<bool> {
    let now = SystemTime::now();
    let last = file.metadata().and_then(|about| about.modified()).context("cannot read a time")?;
    // A time ahead of the clock is of a clock that was wrong.
    let is_over = now.duration_since(last).map_or(true, |since| since >= Duration::from_secs(3600));
    if is_over {
        file.set_modified(now).context("cannot set a time")?;
    }
    Ok(is_over)
}

/// Sends a test notification to all receivers and prints which got it. Returns whether all did.
///
/// # Errors
/// Fails if host.yaml names none.
pub(crate) fn notify_test(root: &PikuRoot) -> anyhow::Result<bool> {
    let settings = HostSettings::read(&root.settings())?.notify;
    if settings.is_off() {
        let what = "host.yaml has no 'notify'";
        return Err(UserError::new(what).hint("such as: notify: {mail: ops@example.org}").into());
    }
    let notification = ProblemNotification {
        event: ProblemKind::Test,
        state: ProblemState::Begun,
        app: None,
        host: host_name(),
        at: Timestamp::now(),
        text: "this is a test; piku tells of problems here".to_owned(),
    };
    let mut all_well = true;
    for receiver in receivers(&settings) {
        match deliver(&settings, receiver, &notification) {
            Ok(()) => progress::step(&format!("{receiver}: sent")),
            Err(err) => {
                all_well = false;
                progress::error(&format!("{receiver}: {err:#}"));
            }
        }
    }
    Ok(all_well)
}

/// Delivers what is due. A receiver that fails is not tried again before the next look.
fn deliver_due(journal: &mut NotifyJournal, settings: &NotifySettings, now: Timestamp) {
    let mut failed: Vec<String> = Vec::new();
    for at in journal.due(now) {
        let queued = &journal.queue[at];
        let mut left = Vec::new();
        for receiver in &queued.receivers {
            if failed.contains(receiver) {
                left.push(receiver.clone());
            } else if let Err(err) = deliver_and_log(settings, receiver, &queued.notification) {
                progress::error(&format!("notify: {receiver}: {err:#}"));
                failed.push(receiver.clone());
                left.push(receiver.clone());
            }
        }
        journal.record_attempt(at, left, now);
    }
    let lost = journal.remove_done(now);
    if lost > 0 {
        progress::error(&format!("notify: {lost} notifications were not delivered within a day"));
    }
}

/// Delivers a notification to a receiver, and tells journald how that went.
fn deliver_and_log(
    settings: &NotifySettings,
    receiver: &str,
    notification: &ProblemNotification,
) -> anyhow::Result<()> {
    let delivered = deliver(settings, receiver, notification);
    let (result, how) = match &delivered {
        Ok(()) => (EventResult::Done, "sent"),
        Err(_) => (EventResult::Failed, "could not be sent"),
    };
    let message = format!("{how} to {receiver}: {}", notification.text);
    let app = notification.app.as_ref();
    JournalEvent { event: "notify", result, app, release: None, key: None, message: &message }.send();
    delivered
}

fn read_journal(path: &Path) -> anyhow::Result<NotifyJournal> {
    match fs::read(path) {
        // An unreadable one would silence piku for good.
        Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(NotifyJournal::default()),
        Err(err) => Err(err).with_context(|| format!("cannot read '{}'", path.display())),
    }
}

/// Writes the journal if it has changed.
fn write_journal(path: &Path, journal: &NotifyJournal, before: &NotifyJournal) -> anyhow::Result<()> {
    if journal == before {
        return Ok(());
    }
    let text = serde_json::to_vec_pretty(journal).context("cannot make JSON of it")?;
    atomic_file::write(path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
}

/// Returns the name of this machine, as one line.
pub(crate) fn host_name() -> String {
    piku_nss::host_name().map_or(String::new(), |name| readable(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_recorded_is_told_once_an_hour() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_hour_over(&file).unwrap());
        file.set_modified(SystemTime::now() - Duration::from_secs(3601)).unwrap();
        assert!(is_hour_over(&file).unwrap());
        assert!(!is_hour_over(&file).unwrap());
    }
}
