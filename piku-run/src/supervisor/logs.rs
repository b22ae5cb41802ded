//! The logs of instances, where their lines are gathered before they are written.

use std::time::{Duration, Instant};

use crate::ipc::protocol::SupervisorReply;
use crate::log::LogWriter;

use super::AppSupervisor;

impl AppSupervisor {
    /// The log of an instance, kept as `host.yaml` says.
    pub(super) fn open_log(&self, instance: &str) -> std::io::Result<LogWriter> {
        let settings = self.settings.logs;
        let mut log = LogWriter::open(self.dir.instance_log(instance), settings.into())?;
        if let Some(pause) = settings.flush.duration() {
            log.enable_buffer(pause);
        }
        Ok(log)
    }

    /// Writes what was gathered where it is due; returns the time after which that is so again.
    pub(super) fn tend_logs(&mut self) -> Option<Duration> {
        let due = self.workers.values().filter_map(|worker| worker.log.flush_due()).min()?;
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        // All at once: a card then has one thing to write.
        self.flush_logs();
        None
    }

    pub(super) fn flush_logs(&mut self) {
        for worker in self.workers.values_mut() {
            worker.log.flush();
        }
    }

    /// Somebody reads the logs.
    pub(super) fn show_logs(&mut self, client: u64, follow: bool) {
        self.flush_logs();
        if follow {
            self.followers.insert(client);
            self.reply(client, &SupervisorReply::Heard);
        } else {
            self.reply(client, &SupervisorReply::Done { error: None });
        }
    }

    /// Forgets those who have stopped reading.
    pub(super) fn forget_followers(&mut self) {
        let clients = &mut self.clients;
        self.followers.retain(|number| clients.get_mut(*number).is_some());
    }
}
