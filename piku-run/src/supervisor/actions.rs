//! Executes the actions of the state machine.

use piku_events::journal::{EventResult, JournalEvent};

use super::worker::TASK;
use super::{AppSupervisor, routing};
use crate::core::{CoreAction, CoreEvent, InstanceId, InstanceName};

impl AppSupervisor {
    pub(super) fn perform_action(&mut self, action: CoreAction) {
        match action {
            CoreAction::Spawn { id } => {
                let event = match self.spawn(id) {
                    Ok(port) => CoreEvent::Spawned { id, port },
                    Err(err) => CoreEvent::SpawnFailed { id, reason: format!("{err:#}") },
                };
                if let (CoreEvent::SpawnFailed { .. }, Some(one)) = (&event, self.core.instance(id)) {
                    let kind = one.ps.kind.clone();
                    self.cron_ended(&kind, "not started");
                }
                self.events.push_back(event);
            }
            CoreAction::RunTask { release, job } => {
                if let Err(err) = self.start_task(release, job) {
                    self.events.push_back(CoreEvent::TaskEnded(Err(format!("{err:#}"))));
                }
            }
            CoreAction::KillTask => self.kill_instance(TASK),
            CoreAction::Probe { id } => self.start_probe(id),
            CoreAction::Observe { id } => {
                let seen = self.observe_start(id);
                self.events.push_back(CoreEvent::Observed { id, seen });
            }
            CoreAction::Terminate { id } => {
                if let Some(worker) = self.workers.get(&id).filter(|worker| worker.end.is_none()) {
                    worker.family().terminate();
                }
            }
            CoreAction::Kill { id } => self.kill_instance(id),
            CoreAction::Forget { id } => {
                self.probes.remove(&id);
                self.ports.remove(&id);
                self.notes.remove(&id);
                self.limits.remove(&id);
                self.old.forget(id);
                self.records.remove(id);
                if let Some(number) = self.workers.remove(&id).map(|worker| worker.record.release) {
                    self.forget_release(number);
                }
            }
            CoreAction::Record { id } => self.write_down(id),
            CoreAction::Switch { job, route } => {
                let result = self.switch(job, &route).map_err(|err| routing::words(&err));
                self.events.push_back(CoreEvent::Switched(result));
            }
            CoreAction::Route(route) => {
                if let Err(err) = self.send_requests(route.as_ref()) {
                    self.log_error(&routing::words(&err));
                }
                self.release_guards();
            }
            CoreAction::Drain { id } => self.watch_drain(id),
            CoreAction::ReportProgress { job, line } => self.send_progress(job, line),
            CoreAction::LogRemark { id, ps, text } => self.log_remark(id, &ps, &text),
            CoreAction::ReportCrashLoop { ps, release, has_begun } => {
                let (result, what) = if has_begun {
                    (EventResult::Begun, "crashes again and again")
                } else {
                    (EventResult::Ended, "no longer crashes again and again")
                };
                let message = format!("{}: {ps} of release {release} {what}", self.app);
                let (app, release) = (Some(&self.app), Some(release));
                JournalEvent { event: "crash-loop", result, app, release, key: None, message: &message }
                    .send();
            }
            CoreAction::FinishJob { job, result } => self.finish_job(job, result),
        }
    }

    fn kill_instance(&self, id: InstanceId) {
        if let Some(worker) = self.workers.get(&id).filter(|worker| worker.end.is_none()) {
            worker.family().kill();
        }
    }

    fn forget_release(&mut self, number: u64) {
        let is_used = self.core.instances().any(|(_, one)| one.release == number)
            || self.core.plan().is_some_and(|plan| plan.release == number);
        if !is_used && !self.core.is_changing() {
            self.worlds.remove(&number);
        }
    }

    pub(super) fn log_remark(&mut self, id: InstanceId, ps: &InstanceName, text: &str) {
        let now = jiff::Timestamp::now();
        if let Some(worker) = self.workers.get_mut(&id) {
            return worker.log.write_remark(text, now);
        }
        self.log_note(ps, text);
    }

    /// Writes a remark to the log of an instance without a process.
    pub(super) fn log_note(&self, ps: &InstanceName, text: &str) {
        let now = jiff::Timestamp::now();
        match self.open_log(&ps.to_string()) {
            Ok(mut log) => log.write_remark(text, now),
            Err(err) => self.log_error(&format!("{text} (cannot log it: {err})")),
        }
    }
}
