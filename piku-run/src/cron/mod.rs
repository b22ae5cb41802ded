//! When the cron types of an app run: values and a wall clock in, what is due out. No process, no file, no clock of its own.
//!
//! A run that comes to be known too late, because the machine was off or its clock was wrong, was missed. It is made up for,
//! once, where the schedule runs no more than once a day; what runs more often waits for its next time. While the hour that
//! summer time repeats is repeated, what runs at a fixed hour runs once; in the hour that it leaves out, what would have
//! run runs right after it. As long as nobody has set the clock nothing is due; what begins then begins when it is set.

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

/// Later than this a run was missed.
const LATE: SignedDuration = SignedDuration::from_mins(10);
/// A clock that is set back by less than this runs nothing a second time.
const SET_BACK: SignedDuration = SignedDuration::from_hours(3);
/// How many of the next times are shown.
const SHOWN: usize = 3;

/// What is kept of a cron type from one supervisor to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CronMemory {
    /// With another one nothing was missed.
    pub(crate) schedule: String,
    /// Until when all that was due has been seen to.
    pub(crate) seen: Timestamp,
    /// When it was last started.
    pub(crate) last_run: Option<Timestamp>,
    /// How that ended: `exit 0`; nothing while it runs.
    pub(crate) last_exit: Option<String>,
}

/// Of all cron types of an app.
pub(crate) type CronMemories = BTreeMap<ProcessName, CronMemory>;

/// The cron types of an app.
#[derive(Debug)]
pub(crate) struct AppCrontab {
    zone: TimeZone,
    entries: Vec<CronEntry>,
    /// True as long as the clock has yet to be set.
    waits: bool,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct CronEntry {
    pub(crate) name: ProcessName,
    pub(crate) memory: CronMemory,
    pub(crate) next: Option<Timestamp>,
    schedule: CronSchedule,
}

/// What comes of a time that has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DueRun {
    pub(crate) name: ProcessName,
    /// Whether to run it.
    pub(crate) run: bool,
    /// What its log should say.
    pub(crate) remark: Option<String>,
}

impl AppCrontab {
    /// Of nothing.
    pub(crate) fn none() -> Self {
        Self { zone: TimeZone::UTC, entries: Vec::new(), waits: false }
    }

    /// What is planned at `now`. Where the supervisor is `resumed`, what was due since its `memories` were written was missed;
    /// otherwise somebody has just started the app, and all begins now.
    pub(crate) fn new(
        crons: &[(ProcessName, String)],
        zone: TimeZone,
        memories: &CronMemories,
        now: Timestamp,
        resumed: bool,
    ) -> Self {
        let entry = |(name, text): &(ProcessName, String)| {
            // The Procfile was checked; what no version of the parser takes never runs.
            let schedule = CronSchedule::parse(text)?;
            let known = memories.get(name);
            let same = known.filter(|memory| memory.schedule == *text);
            let seen = same.filter(|_| resumed).map_or(now, |memory| memory.seen);
            let memory = CronMemory {
                schedule: text.clone(),
                seen,
                last_run: known.and_then(|memory| memory.last_run),
                last_exit: known.and_then(|memory| memory.last_exit.clone()),
            };
            let next = if is_set(now) { schedule.after(from(seen, now), &zone) } else { None };
            Some(CronEntry { name: name.clone(), memory, next, schedule })
        };
        let entries = crons.iter().filter_map(entry).collect();
        Self { zone, entries, waits: !is_set(now) }
    }

    pub(crate) fn entries(&self) -> &[CronEntry] {
        &self.entries
    }

    /// When something is due, or the clock has been set.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        if self.waits && !self.entries.is_empty() {
            return Timestamp::from_second(clock::EARLIEST).ok();
        }
        self.entries.iter().filter_map(|entry| entry.next).min()
    }

    /// What is due by now.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<DueRun> {
        self.waits = !is_set(now);
        let mut due = Vec::new();
        for entry in &mut self.entries {
            if self.waits {
                entry.next = None;
                continue;
            }
            entry.memory.seen = from(entry.memory.seen, now);
            let Some(next) = entry.schedule.after(entry.memory.seen, &self.zone) else {
                entry.next = None;
                continue;
            };
            if next > now {
                entry.next = Some(next);
                continue;
            }
            let missed = now.duration_since(next) > LATE;
            let run = !missed || entry.schedule.is_seldom(next, &self.zone);
            let when = next.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
            let remark = match (missed, run) {
                (false, _) => None,
                (true, true) => Some(format!("the run of {when} was missed, it is made up for now")),
                (true, false) => Some(format!("the run of {when} was missed, the next one is on time")),
            };
            if run {
                entry.memory.last_run = Some(now);
                entry.memory.last_exit = None;
            }
            entry.memory.seen = now;
            entry.next = entry.schedule.after(now, &self.zone);
            due.push(DueRun { name: entry.name.clone(), run, remark });
        }
        due
    }

    /// How a run has ended.
    pub(crate) fn ended(&mut self, name: &ProcessName, how: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == *name) {
            entry.memory.last_exit = Some(how.to_owned());
        }
    }

    /// To be kept.
    pub(crate) fn memories(&self) -> CronMemories {
        self.entries.iter().map(|entry| (entry.name.clone(), entry.memory.clone())).collect()
    }

    /// A line for each: the next times.
    pub(crate) fn upcoming(&self) -> Vec<String> {
        let zone = self.zone.iana_name().unwrap_or("local time").to_owned();
        let line = |entry: &CronEntry| {
            if self.waits {
                return format!("{} waits until the clock of the machine is set", entry.name);
            }
            let mut times = Vec::new();
            let mut at = entry.next;
            while let Some(time) = at.filter(|_| times.len() < SHOWN) {
                times.push(time.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M").to_string());
                at = entry.schedule.after(time, &self.zone);
            }
            if times.is_empty() {
                return format!("{} never runs: there is no such day", entry.name);
            }
            format!("{} runs next at {} ({zone})", entry.name, times.join(", "))
        };
        self.entries.iter().map(line).collect()
    }
}

/// From when on something may be due. A clock that was set back a little has seen that already; one that says a time long
/// before was wrong before, and so was one that has just been set.
fn from(seen: Timestamp, now: Timestamp) -> Timestamp {
    if seen.duration_since(now) <= SET_BACK && is_set(seen) { seen } else { now }
}

fn is_set(now: Timestamp) -> bool {
    clock::is_set(now.as_second())
}

#[cfg(test)]
mod tests;
