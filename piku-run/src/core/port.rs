//! A port that somebody else has: the instance leaves it, and requests with it.

use super::{ChangeRefusal, CoreAction, InstanceId, InstanceState, ProgressLine, SupervisorCore};

/// After so many moves in a row whoever takes the ports is faster than the app.
pub(super) const MAX_MOVES: u32 = 8;

impl SupervisorCore {
    /// Sends no more requests to the port of an instance, ends its process, and has it started on another port.
    pub(super) fn port_taken(&mut self, id: InstanceId, by: &str) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id).filter(|one| !one.is_leaving()) else { return };
        let Some(port) = one.port.take() else { return };
        // At once: whoever has the port would get them.
        one.routed = None;
        one.moves += 1;
        let text = format!("port {port} of {} is taken by {by}", one.ps);
        let (ps, moves) = (one.ps.clone(), one.moves);
        if matches!(one.state, InstanceState::Starting { .. } | InstanceState::Up { .. }) {
            one.state = InstanceState::Moving { kill: now + one.grace };
            self.out.push(CoreAction::Terminate { id });
        }
        self.out.push(CoreAction::Remark { id, ps, text: format!("{text}: it is started on another") });
        let job = self.change.as_ref().filter(|change| change.fresh.contains(&id)).map(|change| change.job);
        let Some(job) = job else { return };
        if moves > MAX_MOVES {
            let reason = format!("{text}, as the {MAX_MOVES} ports before it were");
            return self.fail(ChangeRefusal { reason, blame: None, busy: false });
        }
        self.out.push(CoreAction::Say {
            job,
            line: ProgressLine::Detail(format!("{text}: another one is used")),
        });
    }

    /// Sends no more requests to the port of an instance that has crashed. It is started again as after each crash, on another
    /// port.
    pub(super) fn port_lost(&mut self, id: InstanceId, by: &str) {
        let Some(one) = self.instances.get_mut(&id).filter(|one| !one.is_leaving()) else { return };
        let Some(port) = one.port.take() else { return };
        one.routed = None;
        let text = format!("port {port} of {} is taken by {by}: it is started on another", one.ps);
        self.out.push(CoreAction::Remark { id, ps: one.ps.clone(), text });
    }
}
