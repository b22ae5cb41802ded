//! Whether instances answer.

use super::Supervisor;
use crate::core::{Event, Id, Outcome};
use crate::desired::health::HealthProtocol;
use crate::listening::PortHolder;
use crate::probe::{Probe, Progress};

impl Supervisor {
    pub(super) fn probe(&mut self, id: Id) {
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
            HealthProtocol::Http => Probe::start(port, &check.host, check.path.as_deref()),
            HealthProtocol::Tcp => Probe::connect(port),
        };
        self.probes.insert(id, probe);
        self.look(id);
    }

    /// Takes a health check as far as it goes.
    pub(super) fn look(&mut self, id: Id) {
        let Some(probe) = self.probes.get_mut(&id) else { return };
        let outcome = match probe.ready() {
            Progress::Waiting => return,
            Progress::Refused => Outcome::Refused,
            Progress::Failed(reason) => Outcome::Failed(reason),
            answer => match self.answering(id) {
                Some((port, PortHolder::Stranger(stranger))) => {
                    return self.lose_port(id, port, stranger);
                }
                // Whoever has answered listens no more.
                Some((_, PortHolder::Nobody)) | None => Outcome::Refused,
                Some((_, PortHolder::Own)) => match answer {
                    Progress::Http(status) => Outcome::Http(status),
                    Progress::Closed => Outcome::Closed,
                    Progress::NotHttp => Outcome::NotHttp,
                    _ => Outcome::Alive,
                },
            },
        };
        self.probes.remove(&id);
        self.events.push_back(Event::Probed { id, outcome });
    }

    /// Ready means that the socket that answers belongs to this instance.
    fn answering(&self, id: Id) -> Option<(u16, PortHolder)> {
        let port = self.core.instance(id)?.port?;
        Some((port, self.port_holder(id, port)))
    }
}
