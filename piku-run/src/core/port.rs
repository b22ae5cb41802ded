//! Loss of a port to another process: the instance and its requests move to another port.

use super::{ChangeError, CoreAction, InstanceId, InstanceState, ProgressLine, SupervisorCore};

/// Number of moves in a row after which the instance backs off, since the other process is faster.
pub(super) const MAX_MOVES: u32 = 8;

impl SupervisorCore {
    /// Takes the port of an instance out of the route and restarts the instance on another port.
    pub(super) fn port_taken(&mut self, id: InstanceId, by: &str) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id).filter(|one| !one.is_leaving()) else { return };
        let Some(port) = one.port.take() else { return };
        // At once: the other process would get the requests.
        one.routed = None;
        one.port_moves += 1;
        let text = format!("port {port} of {} is taken by {by}", one.ps);
        let (ps, moves, is_pinned) = (one.ps.clone(), one.port_moves, one.pinned.is_some());
        let then =
            if is_pinned { "it is started again when the port is free" } else { "it is started on another" };
        if matches!(one.state, InstanceState::Starting { .. } | InstanceState::Ready { .. }) {
            one.state = InstanceState::Moving { kill: now + one.grace };
            self.out.push(CoreAction::Terminate { id });
        }
        self.out.push(CoreAction::LogRemark { id, ps, text: format!("{text}: {then}") });
        let job = self.change.as_ref().filter(|change| change.fresh.contains(&id)).map(|change| change.job);
        let Some(job) = job.filter(|_| !is_pinned) else { return };
        if moves > MAX_MOVES {
            let reason = format!("{text}, as the {MAX_MOVES} ports before it were");
            return self.fail_change(ChangeError::new(reason));
        }
        self.out.push(CoreAction::ReportProgress {
            job,
            line: ProgressLine::Detail(format!("{text}: another one is used")),
        });
    }

    /// Takes the port of a crashed instance out of the route. The instance restarts on another port.
    pub(super) fn port_lost(&mut self, id: InstanceId, by: &str) {
        let Some(one) = self.instances.get_mut(&id).filter(|one| !one.is_leaving()) else { return };
        let Some(port) = one.port.take() else { return };
        one.routed = None;
        let then = if one.pinned.is_some() { "when the port is free" } else { "on another" };
        let text = format!("port {port} of {} is taken by {by}: it is started again {then}", one.ps);
        self.out.push(CoreAction::LogRemark { id, ps: one.ps.clone(), text });
    }
}
