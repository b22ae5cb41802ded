//! Schedules the cron jobs of an app. Pure: the time is passed in, due runs are returned; no process, file or
//! clock.
//!
//! A run is missed if the machine was off at its time or its clock was wrong. A job that runs at most daily
//! is then run once; a more frequent job waits for its next time. A job at a fixed hour runs once in the hour
//! that the end of daylight-saving time repeats, and right after the hour that its beginning skips. Until the
//! clock is set, nothing is due.

mod schedule;
mod timer;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use piku_layout::clock;
use piku_layout::name::ProcessName;
use serde::{Deserialize, Serialize};

pub(crate) use schedule::CronSchedule;
pub(crate) use timer::CronTimer;

/// A run that is later than this counts as missed.
const MAX_DELAY: SignedDuration = SignedDuration::from_mins(10);
/// If the clock is set back by less than this, no job runs a second time.
const MAX_SET_BACK: SignedDuration = SignedDuration::from_hours(3);
/// Number of upcoming times that are printed.
const SHOWN: usize = 3;

/// The state of a cron job that is stored for the next supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CronMemory {
    /// If the schedule has changed, no run counts as missed.
    pub(crate) schedule: String,
    /// All runs up to this time have been handled.
    pub(crate) seen: Timestamp,
    pub(crate) last_run: Option<Timestamp>,
    /// Result of the last run, such as `exit 0`; `None` while it runs.
    pub(crate) last_exit: Option<String>,
    /// Begin of the last run that ended with exit code 0.
    #[serde(default)]
    pub(crate) last_success: Option<Timestamp>,
}

/// Result of a run that has succeeded.
pub(crate) const SUCCESS: &str = "exit 0";

pub(crate) type CronMemories = BTreeMap<ProcessName, CronMemory>;

#[derive(Debug)]
pub(crate) struct AppCrontab {
    zone: TimeZone,
    entries: Vec<CronEntry>,
    /// True until the clock is set.
    waits: bool,
}

#[derive(Debug)]
pub(crate) struct CronEntry {
    pub(crate) name: ProcessName,
    pub(crate) memory: CronMemory,
    pub(crate) next: Option<Timestamp>,
    schedule: CronSchedule,
}

/// A run that is due, or was missed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DueRun {
    pub(crate) name: ProcessName,
    /// False for a missed run that is skipped.
    pub(crate) run: bool,
    pub(crate) remark: Option<String>,
}

impl AppCrontab {
    pub(crate) fn empty() -> Self {
        Self { zone: TimeZone::UTC, entries: Vec::new(), waits: false }
    }

    /// Plans the jobs at `now`. With `resumed`, runs that were due since the `memories` were written count as
    /// missed; otherwise the app was just started, and all schedules begin now.
    pub(crate) fn new(
        crons: &[(ProcessName, String)],
        zone: TimeZone,
        memories: &CronMemories,
        now: Timestamp,
        resumed: bool,
    ) -> Self {
        let entry = |(name, text): &(ProcessName, String)| {
            // The Procfile was checked. A schedule that this version cannot parse never runs.
            let schedule = CronSchedule::parse(text)?;
            let known = memories.get(name);
            let same = known.filter(|memory| memory.schedule == *text);
            let seen = same.filter(|_| resumed).map_or(now, |memory| memory.seen);
            let memory = CronMemory {
                schedule: text.clone(),
                seen,
                last_run: known.and_then(|memory| memory.last_run),
                last_exit: known.and_then(|memory| memory.last_exit.clone()),
                last_success: known.and_then(|memory| memory.last_success),
            };
            let next = if is_set(now) { schedule.next_run(due_since(seen, now), &zone) } else { None };
            Some(CronEntry { name: name.clone(), memory, next, schedule })
        };
        let entries = crons.iter().filter_map(entry).collect();
        Self { zone, entries, waits: !is_set(now) }
    }

    pub(crate) fn entries(&self) -> &[CronEntry] {
        &self.entries
    }

    /// Returns the time of the next run, or, until the clock is set, the earliest plausible time.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        if self.waits && !self.entries.is_empty() {
            return Timestamp::from_second(clock::EARLIEST).ok();
        }
        self.entries.iter().filter_map(|entry| entry.next).min()
    }

    /// Returns the runs that are due at `now`, and marks them as handled.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<DueRun> {
        self.waits = !is_set(now);
        let mut due = Vec::new();
        for entry in &mut self.entries {
            if self.waits {
                entry.next = None;
                continue;
            }
            entry.memory.seen = due_since(entry.memory.seen, now);
            let Some(next) = entry.schedule.next_run(entry.memory.seen, &self.zone) else {
                entry.next = None;
                continue;
            };
            if next > now {
                entry.next = Some(next);
                continue;
            }
            let missed = now.duration_since(next) > MAX_DELAY;
            let run = !missed || entry.schedule.is_at_most_daily(next, &self.zone);
            let when = next.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
            let remark = match (missed, run) {
                (false, _) => None,
                (true, true) => Some(format!("the run of {when} was missed, it runs now")),
                (true, false) => Some(format!("the run of {when} was missed, the next one is on time")),
            };
            if run {
                entry.memory.last_run = Some(now);
                entry.memory.last_exit = None;
            }
            entry.memory.seen = now;
            entry.next = entry.schedule.next_run(now, &self.zone);
            due.push(DueRun { name: entry.name.clone(), run, remark });
        }
        due
    }

    /// Records that a job runs at `now`, outside of its schedule.
    pub(crate) fn record_start(&mut self, name: &ProcessName, now: Timestamp) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == *name) {
            entry.memory.last_run = Some(now);
            entry.memory.last_exit = None;
        }
    }

    /// Records the result of a job's run, such as `exit 0`.
    pub(crate) fn record_exit(&mut self, name: &ProcessName, result: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == *name) {
            entry.memory.last_exit = Some(result.to_owned());
            if result == SUCCESS {
                entry.memory.last_success = entry.memory.last_run;
            }
        }
    }

    /// Returns the state to store for the next supervisor.
    pub(crate) fn memories(&self) -> CronMemories {
        self.entries.iter().map(|entry| (entry.name.clone(), entry.memory.clone())).collect()
    }

    /// Describes the next runs, one line per job.
    pub(crate) fn describe_upcoming(&self) -> Vec<String> {
        let zone = self.zone.iana_name().unwrap_or("local time").to_owned();
        let line = |entry: &CronEntry| {
            if self.waits {
                return format!("{} waits until the clock of the machine is set", entry.name);
            }
            let mut times = Vec::new();
            let mut at = entry.next;
            while let Some(time) = at.filter(|_| times.len() < SHOWN) {
                times.push(time.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M").to_string());
                at = entry.schedule.next_run(time, &self.zone);
            }
            if times.is_empty() {
                return format!("{} never runs: its day does not exist", entry.name);
            }
            format!("{} runs next at {} ({zone})", entry.name, times.join(", "))
        };
        self.entries.iter().map(line).collect()
    }
}

/// Returns the time after which runs are due: `seen`, unless a wrong clock recorded it. A clock that is set
/// back a little was right before; one that is set back far, or was unset, was not.
fn due_since(seen: Timestamp, now: Timestamp) -> Timestamp {
    if seen.duration_since(now) <= MAX_SET_BACK && is_set(seen) { seen } else { now }
}

fn is_set(now: Timestamp) -> bool {
    clock::is_set(now.as_second())
}

#[cfg(test)]
mod tests;
