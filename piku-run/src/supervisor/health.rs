//! Whether instances answer.

use super::Supervisor;
use crate::core::{Event, Id, Outcome};
use crate::desired::health::HealthProtocol;
use crate::listening::{self, Belongs};
use crate::probe::{Probe, Progress};

impl Supervisor {
    pub(super) fn probe(&mut self, id: Id) {
        let Some(one) = self.core.instance(id) else { return };
        let Some(port) = one.port else { return };
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
            // Whatever a stranger says, the instance has not said it.
            _ if self.is_foreign(id) => Outcome::Foreign,
            Progress::Alive | Progress::Open => Outcome::Alive,
            Progress::Http(status) => Outcome::Http(status),
            Progress::Closed => Outcome::Closed,
            Progress::NotHttp => Outcome::NotHttp,
        };
        self.probes.remove(&id);
        self.events.push_back(Event::Probed { id, outcome });
    }

    /// Ready means that the socket that answers belongs to this instance.
    fn is_foreign(&self, id: Id) -> bool {
        let worker = self.workers.get(&id);
        worker.is_some_and(|worker| {
            worker.record.port.is_some_and(|port| {
                listening::belongs(worker.pid.as_raw().unsigned_abs(), port) == Belongs::No
            })
        })
    }
}
