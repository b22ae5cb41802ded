//! Logs of instances, whose lines are gathered before they are written.

use std::time::{Duration, Instant};

use crate::ipc::protocol::SupervisorReply;
use crate::log::LogWriter;

use super::AppSupervisor;

impl AppSupervisor {
    /// Opens the log of an instance with the limits of `host.yaml`.
    pub(super) fn open_log(&self, instance: &str) -> std::io::Result<LogWriter> {
        let settings = self.settings.logs;
        let mut log = LogWriter::open(self.dir.instance_log(instance), settings.into())?;
        if let Some(pause) = settings.flush.duration() {
            log.enable_buffer(pause);
        }
        Ok(log)
    }

    /// Writes gathered lines that are due. Returns the time until the next write.
    pub(super) fn tend_logs(&mut self) -> Option<Duration> {
        let due = self.workers.values().filter_map(|worker| worker.log.flush_due()).min()?;
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        // All at once, which spares a memory card.
        self.flush_logs();
        None
    }

    pub(super) fn flush_logs(&mut self) {
        for worker in self.workers.values_mut() {
            worker.log.flush();
        }
    }

    /// Writes the gathered lines for a client that reads the logs.
    pub(super) fn show_logs(&mut self, client: u64, follow: bool) {
        self.flush_logs();
        if follow {
            self.followers.insert(client);
            self.send_reply(client, &SupervisorReply::Heard);
        } else {
            self.send_reply(client, &SupervisorReply::Done { error: None });
        }
    }

    /// Forgets clients that have stopped reading.
    pub(super) fn forget_followers(&mut self) {
        let clients = &mut self.clients;
        self.followers.retain(|number| clients.get_mut(*number).is_some());
    }
}
