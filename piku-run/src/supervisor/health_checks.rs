//! Health checks of starting instances.

use super::AppSupervisor;
use super::crash_hints::LINES;
use crate::core::{ClientErrorReply, CoreEvent, InstanceId, ProbeOutcome, StartObservation};
use crate::desired::health::HealthProtocol;
use crate::instance::health_probe::{HealthProbe, ProbeProgress, is_about_host};
use crate::instance::observation;
use crate::ports::listening::PortHolder;

impl AppSupervisor {
    pub(super) fn start_probe(&mut self, id: InstanceId) {
        let Some(one) = self.core.instance(id) else { return };
        let Some(port) = one.port else { return };
        if self.workers.get(&id).is_some_and(|worker| worker.end.is_some()) {
            return;
        }
        // Do not send a check to another process.
        if let PortHolder::Stranger(stranger) = self.port_holder(id, port) {
            return self.report_port_taken(id, port, stranger);
        }
        let Some(one) = self.core.instance(id) else { return };
        let check = self.worlds.get(&one.release).map(|(_, check)| check.clone());
        let check = check.unwrap_or_default();
        // The previous check ends, so that an instance has one connection at a time.
        self.probes.remove(&id);
        let probe = match check.protocol {
            HealthProtocol::Http => HealthProbe::start(port, &check.host, check.path.as_deref()),
            HealthProtocol::Tcp => HealthProbe::connect(port),
        };
        self.probes.insert(id, probe);
        self.advance_probe(id);
    }

    /// Advances a health check as far as possible.
    pub(super) fn advance_probe(&mut self, id: InstanceId) {
        let Some(probe) = self.probes.get_mut(&id) else { return };
        let outcome = match probe.advance() {
            ProbeProgress::Waiting => return,
            ProbeProgress::Refused => ProbeOutcome::Refused,
            ProbeProgress::Failed(reason) => ProbeOutcome::Failed(reason),
            answer => match self.answering(id) {
                Some((port, PortHolder::Stranger(stranger))) => {
                    return self.report_port_taken(id, port, stranger);
                }
                // The process that answered no longer listens.
                Some((_, PortHolder::Nobody)) | None => ProbeOutcome::Refused,
                Some((_, PortHolder::Own)) => match self.with_log(id, answer) {
                    ProbeProgress::Http(status) => ProbeOutcome::Http(status),
                    ProbeProgress::Closed => ProbeOutcome::Closed,
                    ProbeProgress::NotHttp => ProbeOutcome::NotHttp,
                    ProbeProgress::ClientError(reply) => ProbeOutcome::ClientError(reply),
                    _ => ProbeOutcome::Alive,
                },
            },
        };
        self.probes.remove(&id);
        self.events.push_back(CoreEvent::Probed { id, outcome });
    }

    /// Adds to a response what the log of its instance says about it.
    fn with_log(&mut self, id: InstanceId, answer: ProbeProgress) -> ProbeProgress {
        let (ProbeProgress::ClientError(reply), Some(worker)) = (&answer, self.workers.get_mut(&id)) else {
            return answer;
        };
        if reply.status != 400 || reply.refuses_host {
            return answer;
        }
        worker.log.flush();
        let refuses_host = worker.log.last_lines(LINES).iter().any(|line| is_about_host(line));
        ProbeProgress::ClientError(ClientErrorReply { refuses_host, ..*reply })
    }

    /// Looks at the processes of a starting instance.
    pub(super) fn observe_start(&self, id: InstanceId) -> StartObservation {
        let Some(worker) = self.workers.get(&id) else { return StartObservation::default() };
        let mut seen = observation::observe_processes(&worker.family().roots());
        // With a user of the app's own, the sockets of its other instances cannot be told apart.
        let others: Vec<u16> =
            self.core.instances().filter(|(other, _)| *other != id).filter_map(|(_, one)| one.port).collect();
        seen.listeners.retain(|listener| !others.contains(&listener.port()));
        seen
    }

    /// Returns the port of an instance and its holder. It counts as ready only if its own socket answers.
    fn answering(&self, id: InstanceId) -> Option<(u16, PortHolder)> {
        let port = self.core.instance(id)?.port?;
        Some((port, self.port_holder(id, port)))
    }
}
