//! Rows of `ps`: one per instance, from the state machine and the running processes.

use anyhow::Context;
use piku_chroot::limits;
use piku_chroot::report::{self, JailStart};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;

use crate::core::{AppInstance, InstanceName, InstanceState, ProcessExit};
use crate::desired::resting_app;
use crate::instance::record::{RecordFolder, WorkerRecord};
use crate::samples::{InstanceSample as Row, NO_SANDBOX, SampledLimit, SampledState};

use super::AppSupervisor;
use super::port_claims;
use super::worker::InstanceProcess;

impl AppSupervisor {
    /// Returns all instances, including those on trial and leaving; if nothing is to run, the empty slots.
    pub(super) fn instance_rows(&self) -> anyhow::Result<Vec<Row>> {
        if self.core.is_idle() && self.core.plan().is_none() {
            return resting_app::empty_slots(&self.root, &self.app);
        }
        let mut rows: Vec<(&AppInstance, Row)> = Vec::new();
        for (id, one) in self.core.instances() {
            let worker = self.workers.get(&id);
            let exposed = if one.is_up() && one.must_listen { self.exposed_ports(id) } else { Vec::new() };
            let warning = (!exposed.is_empty()).then(|| port_claims::join_ports(&exposed));
            let notes: Vec<String> = self.notes.get(&id).cloned().into_iter().chain(warning).collect();
            let uptime = one.running_since().map(|since| self.now().saturating_sub(since).as_secs());
            let row = Row {
                state: state(one),
                pid: worker.map(|worker| worker.pid.as_raw().unsigned_abs()),
                port: one.port,
                release: Some(one.release),
                uptime_s: uptime.filter(|_| worker.is_some()),
                restarts: one.restarts,
                cpu_percent: worker.and_then(|worker| worker.processor.percent()),
                cpu_seconds: worker.map(|worker| worker.processor.total_seconds()),
                last_exit: one.last_exit.map(exit),
                last_memory_peak_bytes: one.last_exit.and_then(peak_of),
                sandbox: worker.and_then(|worker| self.sandbox(worker)),
                limits: match worker {
                    Some(worker) => self.limits_of(worker),
                    None => self.limits.get(&id).cloned().unwrap_or_default(),
                },
                listens_on_all: !exposed.is_empty(),
                note: (!notes.is_empty()).then(|| notes.join("; ")),
                ..Row::empty_slot(&self.app, &one.ps)
            };
            rows.push((one, row));
        }
        // In the order of the Procfile; within a slot live instances first, leaving ones last.
        let types = self.core.plan().map(|plan| plan.types.as_slice()).unwrap_or_default();
        let order = |one: &AppInstance| {
            let at = types.iter().position(|kind| kind.name == one.ps.kind).unwrap_or(usize::MAX);
            (at, one.ps.clone(), !one.live, one.is_leaving())
        };
        rows.sort_by_key(|(one, _)| order(one));
        let mut rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        self.add_crons(&mut rows);
        rows.extend(self.forwarder_row());
        Ok(rows)
    }

    /// Adds a row for each cron type.
    fn add_crons(&self, rows: &mut Vec<Row>) {
        for entry in self.crontab.entries() {
            let at = rows.iter().position(|row| row.kind == entry.name).unwrap_or(rows.len());
            if at == rows.len() {
                let mut row =
                    Row::empty_slot(&self.app, &InstanceName { kind: entry.name.clone(), index: 1 });
                row.state = SampledState::Waiting;
                row.release = self.core.plan().map(|plan| plan.release);
                rows.push(row);
            }
            rows[at].next_run = entry.next;
            rows[at].last_run = entry.memory.last_run;
            rows[at].last_success = entry.memory.last_success;
            rows[at].last_exit.clone_from(&entry.memory.last_exit);
        }
    }
}

impl AppSupervisor {
    /// Returns the protections of a process; `None` while it is being set up.
    fn sandbox(&self, worker: &InstanceProcess) -> Option<String> {
        // A marked process runs without a jail.
        if worker.record.mark.is_some() {
            return Some(NO_SANDBOX.to_owned());
        }
        let (started, _) = report::read(&self.records.report(worker.record.id));
        started.map(|started| started.line())
    }

    /// Returns the limits of a process; empty while it is being set up.
    fn limits_of(&self, worker: &InstanceProcess) -> Vec<SampledLimit> {
        held_limits(&worker.record, report::read(&self.records.report(worker.record.id)).0)
    }
}

/// Returns the limits of a process by the report of its jail; empty while that is being set up.
pub(super) fn held_limits(record: &WorkerRecord, jail: Option<JailStart>) -> Vec<SampledLimit> {
    let held = match jail {
        _ if record.mark.is_some() => limits::rlimits_for(&record.limits),
        Some(started) => started.limits,
        None => return Vec::new(),
    };
    let limit = |(limit, value): (&str, &str)| {
        let by = held.iter().find(|one| one.limit == limit).map(|one| one.by);
        SampledLimit { limit: limit.to_owned(), value: value.to_owned(), by }
    };
    record.limits.split(',').filter_map(|word| word.split_once('=')).map(limit).collect()
}

/// Returns the instances of an app whose supervisor does not respond, from their records.
pub(crate) fn unknown(root: &PikuRoot, app: &AppName) -> anyhow::Result<Vec<Row>> {
    let dir = root.app(app);
    let records =
        RecordFolder::open(&dir).and_then(|records| records.read_all()).context("cannot read the records")?;
    let row = |record: WorkerRecord| Row {
        state: SampledState::Unknown,
        pid: record.is_alive().then(|| record.pid.unsigned_abs()),
        port: record.port,
        release: Some(record.release),
        uptime_s: record.is_alive().then(|| piku_procfs::uptime(record.start).as_secs()),
        restarts: record.restarts,
        ..Row::empty_slot(app, &record.ps)
    };
    let mut rows: Vec<Row> = records.into_iter().filter(|record| !record.task).map(row).collect();
    if rows.is_empty() {
        let unknown = |row| Row { state: SampledState::Unknown, ..row };
        rows = resting_app::empty_slots(root, app)?.into_iter().map(unknown).collect();
    }
    Ok(rows)
}

fn state(one: &AppInstance) -> SampledState {
    match one.state {
        InstanceState::Starting { .. } | InstanceState::Moving { .. } => SampledState::Starting,
        InstanceState::Ready { .. } if one.must_listen => SampledState::Healthy,
        InstanceState::Ready { .. } | InstanceState::CronRun { .. } => SampledState::Running,
        InstanceState::Backoff { .. } if one.is_crash_looping() => SampledState::CrashLooping,
        InstanceState::Backoff { .. } => SampledState::Backoff,
        InstanceState::Draining { .. } | InstanceState::Stopping { .. } | InstanceState::Killing => {
            SampledState::Draining
        }
    }
}

fn peak_of(exit: ProcessExit) -> Option<u64> {
    if let ProcessExit::OutOfMemory { peak } = exit { peak } else { None }
}

pub(super) fn exit(exit: ProcessExit) -> String {
    match exit {
        ProcessExit::Code(code) => format!("exit {code}"),
        ProcessExit::Signal(signal) => format!("signal {signal}"),
        ProcessExit::OutOfMemory { .. } => "out of memory".to_owned(),
        ProcessExit::Unknown => "unknown".to_owned(),
    }
}
