//! Whether instances answer.

use super::AppSupervisor;
use crate::core::{CoreEvent, InstanceId, ProbeOutcome};
use crate::desired::health::HealthProtocol;
use crate::instance::health_probe::{HealthProbe, ProbeProgress};
use crate::ports::listening::PortHolder;

impl AppSupervisor {
    pub(super) fn probe(&mut self, id: InstanceId) {
        let Some(one) = self.core.instance(id) else { return };
        let Some(port) = one.port else { return };
        // A stranger is not even asked.
        if let PortHolder::Stranger(stranger) = self.port_holder(id, port) {
            return self.lose_port(id, port, stranger);
        }
        let Some(one) = self.core.instance(id) else { return };
        let check = self.worlds.get(&one.release).map(|(_, check)| check.clone());
        let check = check.unwrap_or_default();
        // The one before it, answered or not, is over: there is never more than one connection at a time.
        self.probes.remove(&id);
        let probe = match check.protocol {
            HealthProtocol::Http => HealthProbe::start(port, &check.host, check.path.as_deref()),
            HealthProtocol::Tcp => HealthProbe::connect(port),
        };
        self.probes.insert(id, probe);
        self.look(id);
    }

    /// Takes a health check as far as it goes.
    pub(super) fn look(&mut self, id: InstanceId) {
        let Some(probe) = self.probes.get_mut(&id) else { return };
        let outcome = match probe.ready() {
            ProbeProgress::Waiting => return,
            ProbeProgress::Refused => ProbeOutcome::Refused,
            ProbeProgress::Failed(reason) => ProbeOutcome::Failed(reason),
            answer => match self.answering(id) {
                Some((port, PortHolder::Stranger(stranger))) => {
                    return self.lose_port(id, port, stranger);
                }
                // Whoever has answered listens no more.
                Some((_, PortHolder::Nobody)) | None => ProbeOutcome::Refused,
                Some((_, PortHolder::Own)) => match answer {
                    ProbeProgress::Http(status) => ProbeOutcome::Http(status),
                    ProbeProgress::Closed => ProbeOutcome::Closed,
                    ProbeProgress::NotHttp => ProbeOutcome::NotHttp,
                    _ => ProbeOutcome::Alive,
                },
            },
        };
        self.probes.remove(&id);
        self.events.push_back(CoreEvent::Probed { id, outcome });
    }

    /// Ready means that the socket that answers belongs to this instance.
    fn answering(&self, id: InstanceId) -> Option<(u16, PortHolder)> {
        let port = self.core.instance(id)?.port?;
        Some((port, self.port_holder(id, port)))
    }
}
