//! Readiness: a started instance becomes ready by a notification, by health checks, or by staying up.

use std::time::Duration;

use super::startup::{FIRST_LOOK, IDLE_LOOK};
use super::{
    ClientErrorReply, CoreAction, InstanceId, InstanceState, ProbeOutcome, ProgressLine, SETTLE,
    SupervisorCore,
};

/// Minimum wait before a probe that timed out is repeated.
const LATE: Duration = Duration::from_secs(10);

impl SupervisorCore {
    pub(super) fn mark_started(&mut self, id: InstanceId) {
        let since = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let unannounced = one.pace.announced;
        let uptime = one.pace.uptime.unwrap_or(SETTLE);
        let settled = (!one.must_listen && !unannounced).then(|| since + uptime);
        one.state = InstanceState::Starting {
            since,
            ask: None,
            patience: None,
            unannounced,
            settled,
            last: None,
            diagnosed: false,
        };
        one.watch.begin(since, if one.is_settling() { IDLE_LOOK } else { FIRST_LOOK });
    }

    pub(super) fn record_spawn(&mut self, id: InstanceId, port: Option<u16>) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        one.port = port;
        self.schedule_probe(id);
        let Some(one) = self.instances.get(&id) else { return };
        let text = match port {
            Some(port) => format!("Starting {} on port {port}", one.ps),
            None => format!("Starting {}", one.ps),
        };
        let is_retried = one.is_retried();
        let change = self.change.as_ref().filter(|change| change.fresh.contains(&id) && !is_retried);
        if let Some(change) = change {
            self.out.push(CoreAction::ReportProgress { job: change.job, line: ProgressLine::Step(text) });
        }
    }

    /// Schedules the first health check of an instance that listens.
    pub(super) fn schedule_probe(&mut self, id: InstanceId) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id).filter(|one| one.must_listen) else { return };
        if let InstanceState::Starting { ask, unannounced: false, .. } = &mut one.state {
            *ask = Some(now);
        }
    }

    /// Keeps an instance that is ending from becoming ready.
    pub(super) fn forget_readiness(&mut self, id: InstanceId) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        if let InstanceState::Starting { ask, patience, unannounced, settled, .. } = &mut one.state {
            (*ask, *patience, *unannounced, *settled) = (None, None, false, None);
        }
    }

    /// Records the readiness notification of an instance. One that listens must pass a health check as
    /// well, since nginx sends it requests.
    pub(super) fn record_notification(&mut self, id: InstanceId) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let InstanceState::Starting { unannounced, .. } = &mut one.state else { return };
        if !std::mem::take(unannounced) {
            return;
        }
        if one.must_listen { self.schedule_probe(id) } else { self.mark_ready(id, None) }
    }

    pub(super) fn handle_probe(&mut self, id: InstanceId, outcome: ProbeOutcome) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let InstanceState::Starting { since, ask, patience, last, .. } = &mut one.state else { return };
        // The interval grows: at most a tenth of the start time is lost by waiting.
        let pause = one.pace.interval.unwrap_or_else(|| {
            (now.saturating_sub(*since) / 10).clamp(Duration::from_millis(10), Duration::from_secs(2))
        });
        let is_late = patience.take().is_none();
        match outcome {
            // Probe again: a program that loads on its first request may answer the second one in time.
            ProbeOutcome::Alive | ProbeOutcome::ClientError(_) if is_late => {
                *ask = Some(now);
                return;
            }
            ProbeOutcome::Alive => return self.mark_ready(id, None),
            ProbeOutcome::ClientError(reply) => return self.mark_ready(id, Some(reply)),
            // The connection stays open for a while, so that a program with one thread does not queue
            // requests that time out.
            ProbeOutcome::Silent => *ask = Some(now + pause.max(LATE)),
            _ => *ask = Some(now + pause),
        }
        // Keep the most informative outcome: a response says more than none.
        let has_response =
            |outcome: &ProbeOutcome| !matches!(outcome, ProbeOutcome::Refused | ProbeOutcome::Silent);
        if has_response(&outcome) || !last.as_ref().is_some_and(has_response) {
            *last = Some(outcome);
        }
    }

    /// Marks an instance as ready; `reply` is the response of its health check if it is no success.
    pub(super) fn mark_ready(&mut self, id: InstanceId, reply: Option<ClientErrorReply>) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let InstanceState::Starting { since, .. } = one.state else { return };
        one.state = InstanceState::Ready { since };
        one.port_moves = 0;
        if one.live {
            one.routed = one.port;
        }
        let text = format!(
            "{} is {} after {:.1} s",
            one.ps,
            one.ready_label(),
            self.now.saturating_sub(since).as_secs_f64()
        );
        let is_retried = one.is_retried();
        let change = self.change.as_ref().filter(|change| change.fresh.contains(&id) && !is_retried);
        if let Some(change) = change {
            let reply = reply.map(|reply| reply.describe(&change.plan)).unwrap_or_default();
            let line = ProgressLine::Detail(text + &reply);
            self.out.push(CoreAction::ReportProgress { job: change.job, line });
        }
        self.out.push(CoreAction::Record { id });
    }
}
