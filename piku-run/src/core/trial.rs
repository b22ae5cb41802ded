//! Processes that end while they are on trial: those that decide about the change fail it, plain workers are
//! reported and started again.

use std::time::Duration;

use super::{ChangeError, CoreAction, InstanceId, ProcessExit, ProgressLine, SupervisorCore, TrialRule};

impl SupervisorCore {
    /// Handles the end of an instance on trial. `was_ready` is its state before.
    pub(super) fn handle_trial_exit(
        &mut self,
        id: InstanceId,
        exit: ProcessExit,
        uptime: Duration,
        was_ready: bool,
    ) {
        let Some(one) = self.instances.get(&id) else { return };
        let (ps, rule) = (one.ps.clone(), one.trial);
        let fails = match rule {
            TrialRule::MustBeReady => true,
            TrialRule::MustNotFail => !exit.is_success(),
            TrialRule::Reported => false,
        };
        if !fails {
            self.report_ended_worker(id, exit, uptime);
            return self.back_off(id, uptime);
        }
        let when = if was_ready { "before the others were" } else { "before it was" };
        let mut error =
            ChangeError { culprit: Some(id), ..ChangeError::new(format!("{ps} {exit} {when} ready")) };
        if let (TrialRule::MustNotFail, Some(change)) = (rule, &self.change) {
            error.hints.push(format!(
                "in an app without 'web' the workers decide; without this one: piku ps:scale {} {}=0",
                change.plan.app, ps.kind
            ));
        }
        self.forget_instance(id);
        self.fail_change(error);
    }

    /// Reports the first end of a worker of each type.
    fn report_ended_worker(&mut self, id: InstanceId, exit: ProcessExit, uptime: Duration) {
        let Some(one) = self.instances.get(&id) else { return };
        let Some(change) = &mut self.change else { return };
        if !change.ended.insert(one.ps.kind.clone()) {
            return;
        }
        let (app, ps, kind) = (&change.plan.app, &one.ps, &one.ps.kind);
        let text = format!("{ps} {exit} after {:.1} s", uptime.as_secs_f64());
        let mut rest = format!("it is started again with pauses: piku logs {app} {kind}");
        if exit.is_success() {
            rest = format!("{rest}; if it should not run all the time: piku ps:scale {app} {kind}=0");
        }
        let line = ProgressLine::WithLog { id, text, rest };
        self.out.push(CoreAction::ReportProgress { job: change.job, line });
    }

    /// Fails the change of an app without `web` of which no worker is left running.
    pub(super) fn check_something_runs(&mut self) -> bool {
        let Some(change) = &self.change else { return true };
        let decides =
            |id: &InstanceId| self.instances.get(id).is_some_and(|one| one.trial != TrialRule::Reported);
        let release = change.plan.release;
        let mut running = self.instances.values().filter(|one| one.release == release && !one.is_leaving());
        if !change.fresh.iter().any(decides) || running.any(super::AppInstance::is_up) {
            return true;
        }
        let culprit = change.fresh.iter().copied().find(decides);
        let Some(one) = culprit.and_then(|id| self.instances.get(&id)) else { return true };
        let exit = one.last_exit.unwrap_or(ProcessExit::Unknown);
        let reason = format!("nothing of the app keeps running: {} {exit}", one.ps);
        let hint = format!(
            "an app without 'web' needs a worker that goes on running; a command that runs once is 'release' in \
             the Procfile, or piku run {} …",
            change.plan.app
        );
        self.fail_change(ChangeError { culprit, hints: vec![hint], ..ChangeError::new(reason) });
        false
    }
}
