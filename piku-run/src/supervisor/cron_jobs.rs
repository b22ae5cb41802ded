//! Cron types: the timer, runs that are due, and the record of past runs.

#![expect(clippy::disallowed_methods, reason = "the memory of the crons, which only piku writes")]

use std::fs;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_files::atomic_file;
use piku_layout::name::ProcessName;

use super::AppSupervisor;
use crate::core::{CoreEvent, InstanceName};
use crate::cron::{AppCrontab, CronMemories, CronTimer};

impl AppSupervisor {
    /// Loads the schedules of the live release. With `resumed`, the app was meant to run all the time, and
    /// runs that were due meanwhile count as missed.
    pub(super) fn load_crons(&mut self, resumed: bool) {
        let plan = self.core.plan();
        let release = plan.map(|plan| plan.release);
        let crons = plan.map(|plan| plan.crons.clone()).unwrap_or_default();
        if crons.is_empty() && self.crontab.entries().is_empty() {
            return;
        }
        let zone =
            release.and_then(|number| self.worlds.get(&number)).and_then(|(_, check)| check.zone.clone());
        let memories = self.read_memories().unwrap_or_else(|err| {
            self.log_error(&format!("{err:#}"));
            CronMemories::new()
        });
        let zone = zone.unwrap_or_else(TimeZone::system);
        self.crontab = AppCrontab::new(&crons, zone, &memories, Timestamp::now(), resumed);
        self.look_at_crons();
    }

    /// Handles the timer: it has expired, or the clock was set.
    pub(super) fn look_at_crons(&mut self) {
        if let Some(timer) = &self.timer {
            timer.acknowledge();
        }
        for due in self.crontab.take_due(Timestamp::now()) {
            if let Some(text) = due.remark {
                self.log_note(&InstanceName { kind: due.name.clone(), index: 1 }, &text);
            }
            if due.run {
                self.events.push_back(CoreEvent::CronDue { kind: due.name });
            }
        }
        self.save_runs();
        let next = self.crontab.next_wakeup();
        let set = match (&self.timer, next) {
            (None, None) => return,
            (Some(timer), next) => timer.set(next),
            (None, next) => CronTimer::new().and_then(|timer| self.timer.insert(timer).set(next)),
        };
        if let Err(err) = set {
            self.log_error(&format!("cannot set the timer of the crons: {err}"));
        }
    }

    /// Records a run that a client has asked for.
    pub(super) fn cron_asked(&mut self, kind: &ProcessName) {
        self.crontab.record_start(kind, Timestamp::now());
        self.save_runs();
    }

    pub(super) fn cron_ended(&mut self, kind: &ProcessName, how: &str) {
        self.crontab.record_exit(kind, how);
        self.save_runs();
    }

    fn read_memories(&self) -> anyhow::Result<CronMemories> {
        let path = self.dir.crons();
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("bad memory in '{}'", path.display()))
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(CronMemories::new()),
            Err(err) => Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        }
    }

    fn save_runs(&self) {
        // Without entries nothing has changed, and the directory may be about to be removed.
        if self.crontab.entries().is_empty() || !self.dir.path().is_dir() {
            return;
        }
        let path = self.dir.crons();
        let written = serde_json::to_vec(&self.crontab.memories())
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(atomic_file::write_ordered(&path, &text, 0o600)?));
        if let Err(err) = written {
            self.log_error(&format!("cannot write '{}': {err:#}", path.display()));
        }
    }
}
