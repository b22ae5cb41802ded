//! Whether instances answer.

use super::Supervisor;
use crate::core::{Event, Id, Outcome};
use crate::desired::Check;
use crate::listening::{self, Belongs};
use crate::probe::{Probe, Progress};

impl Supervisor {
    pub(super) fn probe(&mut self, id: Id) {
        let Some(one) = self.core.instance(id) else { return };
        let Some(port) = one.port else { return };
        let check = self.worlds.get(&one.release).map(|(_, check)| check.clone());
        let check = check.unwrap_or(Check { host: "localhost".to_owned(), path: None, zone: None });
        self.probes.insert(id, Probe::start(port, &check.host, check.path.as_deref()));
        self.look(id);
    }

    /// Takes a health check as far as it goes.
    pub(super) fn look(&mut self, id: Id) {
        let Some(probe) = self.probes.get_mut(&id) else { return };
        let outcome = match probe.ready() {
            Progress::Waiting => return,
            Progress::Alive if self.is_foreign(id) => Outcome::Foreign,
            Progress::Alive => Outcome::Alive,
            Progress::Http(status) => Outcome::Http(status),
            Progress::NotHttp => Outcome::NotHttp,
            Progress::Refused => Outcome::Refused,
            Progress::Failed(reason) => Outcome::Failed(reason),
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
