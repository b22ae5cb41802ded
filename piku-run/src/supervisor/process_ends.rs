//! Ends of instances: an instance has ended when none of its processes is left. While they end, the supervisor
//! serves everyone else.

use std::time::{Duration, Instant};

use piku_chroot::SETUP_FAILED;
use piku_chroot::report::{self, JailStart};

use super::worker::TASK;
use super::{AppSupervisor, crash_hints, status};
use crate::core::{CoreEvent, InstanceId, ProcessExit};
use crate::instance::record::StartCount;
use crate::process::leftovers::LeftoverSearch;

/// Time for which a search may keep the supervisor from other work.
const SLICE: Duration = Duration::from_millis(20);
/// Pause between two slices.
const PAUSE: Duration = Duration::from_millis(1);
/// Longest wait for a process that the search does not find, or that the kernel has not ended yet, to let go
/// of the lock of its instance.
const LOCK_TIME: Duration = Duration::from_secs(5);

/// The end of an instance whose first process has ended.
#[derive(Debug)]
pub(super) struct InstanceEnd {
    exit: ProcessExit,
    /// Search for what the process has left, until it is over.
    search: Option<LeftoverSearch>,
    /// End of the wait for the lock, set once the search is over.
    lock_until: Option<Instant>,
}

impl AppSupervisor {
    /// Handles the end of the first process of an instance.
    pub(super) fn handle_end(&mut self, id: InstanceId, exit: ProcessExit) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.end.is_some() {
            return;
        }
        let search = worker.family().search_leftovers();
        worker.end = Some(InstanceEnd { exit, search, lock_until: None });
        let starts_again = worker.uses_prepared_root && self.has_no_jail(id, exit);
        if !starts_again {
            self.probes.remove(&id);
            self.events.push_back(CoreEvent::Ending { id });
        }
        self.advance_end(id);
    }

    /// Continues with the ends that wait for something. Returns the time until it must be called again.
    pub(super) fn advance_ends(&mut self) -> Option<Duration> {
        let waiting: Vec<InstanceId> =
            self.workers.iter().filter(|(_, worker)| worker.end.is_some()).map(|(id, _)| *id).collect();
        for id in waiting {
            self.advance_end(id);
        }
        self.workers.values().any(|worker| worker.end.is_some()).then_some(PAUSE)
    }

    fn advance_end(&mut self, id: InstanceId) {
        let Some(end) = self.workers.get_mut(&id).and_then(|worker| worker.end.as_mut()) else { return };
        if end.search.as_mut().is_some_and(|search| !search.advance(SLICE)) {
            return;
        }
        end.search = None;
        let until = *end.lock_until.get_or_insert_with(|| Instant::now() + LOCK_TIME);
        let exit = end.exit;
        // If its monitor was killed, the kernel ends the jail a moment later.
        if self.records.is_free(id) || Instant::now() >= until {
            self.finish_end(id, exit);
        }
    }

    /// Returns true if the jail of an instance could not be made. An older piku-chroot does not know prepared roots.
    fn has_no_jail(&self, id: InstanceId, exit: ProcessExit) -> bool {
        exit == ProcessExit::Code(SETUP_FAILED.into()) && report::read(&self.records.report(id)).0.is_none()
    }

    /// Returns true if the instance has been told to end.
    fn is_leaving(&self, id: InstanceId) -> bool {
        self.core.instance(id).is_some_and(crate::core::AppInstance::is_leaving)
    }

    /// Handles the end of an instance, of which no process is left.
    fn finish_end(&mut self, id: InstanceId, exit: ProcessExit) {
        while self.take_output(id) {}
        let Some(mut worker) = self.workers.remove(&id) else { return };
        let (started, ended) = report::read(&self.records.report(id));
        let exit = match (ended, exit) {
            (Some(ended), _) if ended.oom_kills > 0 => {
                ProcessExit::OutOfMemory { peak: ended.memory_peak_bytes }
            }
            // Only the jail knows the exit code of an adopted process.
            (Some(ended), ProcessExit::Unknown) => ProcessExit::Code(ended.exit_code.into()),
            (_, exit) => exit,
        };
        if worker.uses_prepared_root && self.has_no_jail(id, exit) && !self.is_leaving(id) {
            worker.log.flush();
            let record = worker.record.clone();
            drop(worker);
            if let Err(err) = self.spawn_without_prepared_root(record) {
                let reason = format!("{err:#}");
                self.events.push_back(match id {
                    TASK => CoreEvent::TaskEnded(Err(reason)),
                    _ => CoreEvent::SpawnFailed { id, reason },
                });
            }
            return;
        }
        if started.as_ref().is_some_and(JailStart::counts_processes_by_user) {
            self.prepared.keep_apart();
        }
        // A process that was terminated may have been killed by this supervisor.
        let was_told = self.is_leaving(id);
        let shortage = self.shortage.explain_exit(exit).filter(|_| !was_told);
        worker.log.flush();
        let is_trial = !worker.record.live || id == TASK;
        let explains = exit != ProcessExit::Code(0) && (is_trial || !was_told);
        let lines = if explains { worker.log.last_lines(crash_hints::LINES) } else { Vec::new() };
        let last_lines = &lines[lines.len().saturating_sub(20)..];
        let refusal = self.explain_refusal(&worker, started.as_ref(), &lines);
        let no_space = self.explain_no_space(last_lines);
        let failed = !was_told && !matches!(exit, ProcessExit::Code(0));
        // A deploy shows the hints of its own instances.
        let grant =
            (failed && (worker.record.live || id == TASK)).then(|| self.explain_missing_grant(last_lines));
        let grant = grant.flatten();
        for text in shortage.iter().chain(&refusal).chain(&no_space).chain(&grant) {
            worker.log.write_remark(text, jiff::Timestamp::now());
        }
        worker.log.flush();
        self.probes.remove(&id);
        if id == TASK {
            self.say_output(shortage.as_slice());
            if let Some(rest) = worker.drain_output() {
                self.say_output(&[rest]);
            }
            self.say_output(grant.as_slice());
            self.refusals.extend(refusal.map(|text| (TASK, text)));
            self.records.remove(TASK);
            self.events.push_back(CoreEvent::TaskEnded(Ok(exit)));
            return;
        }
        if worker.record.runs == StartCount::Once {
            self.cron_ended(&worker.record.ps.kind, &status::exit(exit));
        } else if !worker.record.live {
            self.refusals.extend(refusal.map(|text| (id, text)));
            self.tails.insert(id, worker.log.last_lines(20));
        }
        self.limits.insert(id, status::held_limits(&worker.record, started));
        self.hold_port(id, &worker);
        self.events.push_back(CoreEvent::Exited { id, exit });
    }
}
