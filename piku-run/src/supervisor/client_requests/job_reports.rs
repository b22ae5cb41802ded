//! Lines that a client sees while its request is carried out, and the last response.

use std::net::IpAddr;

use piku_report::user_error::{BUSY, FAILED};

use super::{JobContent, PendingJob};
use crate::core::{ChangeError, InstanceId, JobId, ProgressLine};
use crate::ipc::protocol::{FailedReply, SupervisorReply};
use crate::releases::current;
use crate::supervisor::AppSupervisor;
use crate::supervisor::worker::TASK;

impl AppSupervisor {
    pub(in crate::supervisor) fn send_progress(&mut self, job: JobId, line: ProgressLine) {
        let Some(client) = self.jobs.get(&job).map(|pending| pending.client) else { return };
        let reply = match line {
            ProgressLine::Step(text) => SupervisorReply::Step { text },
            ProgressLine::Detail(text) => SupervisorReply::Detail { text },
            ProgressLine::WithLog { id, text, rest } => {
                let said = self.last_line(id).map(|line| format!(": {line}")).unwrap_or_default();
                let rest = if rest.is_empty() { rest } else { format!("; {rest}") };
                SupervisorReply::Detail { text: format!("{text}{said}{rest}") }
            }
        };
        self.send_reply(client, &reply);
    }

    /// Returns the last log line of an instance on trial.
    fn last_line(&mut self, id: InstanceId) -> Option<String> {
        const LONGEST: usize = 200;
        let line = match self.workers.get_mut(&id) {
            Some(worker) => {
                worker.log.flush();
                worker.log.last_lines(1).pop()
            }
            None => self.tails.get(&id)?.last().cloned(),
        };
        line.map(|line| line.chars().take(LONGEST).collect())
    }

    pub(in crate::supervisor) fn say_step(&mut self, job: JobId, text: &str) {
        self.send_progress(job, ProgressLine::Step(text.to_owned()));
    }

    /// Sends lines of the release task to the client of its deploy.
    pub(in crate::supervisor) fn say_output(&mut self, lines: &[String]) {
        let job = self
            .jobs
            .iter()
            .find(|(_, pending)| matches!(pending.what, JobContent::Deploy(..)))
            .map(|(job, _)| *job);
        let Some(job) = job else { return };
        for line in lines {
            self.send_progress(job, ProgressLine::Detail(line.clone()));
        }
    }

    pub(in crate::supervisor) fn finish_job(&mut self, job: JobId, result: Result<(), ChangeError>) {
        let Some(PendingJob { client, what }) = self.jobs.remove(&job) else { return };
        if result.is_ok() {
            self.load_crons(false);
        }
        let error = match (result, &what) {
            (Ok(()), JobContent::Deploy(number, address)) => {
                let texts = self.crontab.describe_upcoming().into_iter();
                let texts = texts.chain(self.why_unserved_type()).chain(self.warn_of_site(*number));
                let texts = texts.chain(self.exposure_warnings()).chain(self.warn_of_databases(*number));
                for text in texts.collect::<Vec<_>>() {
                    self.send_reply(client, &SupervisorReply::Detail { text });
                }
                let text = self.where_it_is(*number, *address);
                self.send_reply(client, &SupervisorReply::Step { text });
                None
            }
            (Ok(()), _) => None,
            (Err(refusal), what) => {
                if let JobContent::Deploy(number, _) = what {
                    self.worlds.remove(number);
                    if let Err(err) = current::remove_dir(&self.dir.release(*number)) {
                        self.log_error(&format!("{err:#}"));
                    }
                }
                let tail = refusal.culprit.and_then(|id| self.tails.remove(&id)).unwrap_or_default();
                let code = if refusal.is_retryable { BUSY } else { FAILED };
                let refused = self.refusals.remove(&refusal.culprit.unwrap_or(TASK));
                let hints = refusal.hints.into_iter().chain(self.hints(&tail)).chain(refused).collect();
                Some(FailedReply { reason: refusal.reason, code, hints, tail, conflict: None })
            }
        };
        self.tails.clear();
        self.refusals.clear();
        self.update_forwarder();
        self.send_reply(client, &SupervisorReply::Done { error });
    }

    /// Returns why an app gets no requests: nothing in its Procfile does.
    fn why_unserved_type(&self) -> Option<String> {
        let plan = self.core.plan()?;
        let is_served = plan.types.iter().any(|kind| kind.must_listen)
            || self
                .worlds
                .get(&plan.release)
                .is_some_and(|(world, _)| world.release.processes.contains_key("static"));
        (!is_served).then(|| "it gets no requests: its Procfile has no 'web'".to_owned())
    }

    /// Returns the last line of a deploy, with the URLs for a client that reached this machine at `address`.
    fn where_it_is(&self, number: u64, address: Option<IpAddr>) -> String {
        if self.has_front() {
            return format!("{} is live, release {number}", self.app);
        }
        let ports = self
            .core
            .instances()
            .filter(|(_, one)| one.release == number && one.live)
            .filter_map(|(_, one)| Some(format!("http://127.0.0.1:{}", one.port?)));
        let mut addresses = self.reach.urls(address);
        if addresses.is_empty() {
            addresses.extend(ports);
        }
        match addresses.as_slice() {
            [] => format!("{} is live, release {number}", self.app),
            all => format!("{} is live, release {number}: {}", self.app, all.join(" ")),
        }
    }
}
