//! Log forwarding: one process if `LOG_DRAIN` is set. It is restarted when it ends, and replaced when its
//! destination changes. It ends with the supervisor; the next one resumes at its checkpoint.

#![expect(
    clippy::disallowed_methods,
    reason = "the forwarder's state in the run directory, which only piku writes"
)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use piku_layout::paths::ROOT_VARIABLE;

use super::AppSupervisor;
use crate::core::{CrashBackoff, InstanceName};
use crate::instance::environment::ProcessRole;
use crate::log_forwarding::{INSTANCE, NAME, SyslogAddress, VARIABLE, failure_file};
use crate::samples::{InstanceSample as Row, SampledState};

/// State of log forwarding.
#[derive(Debug, Default)]
pub(super) struct ForwarderState {
    /// Destination, as the app or its operator wrote it.
    wanted: Option<String>,
    process: Option<Child>,
    began: Duration,
    /// Number of restarts after it ended by itself.
    restarts: u32,
    backoff: CrashBackoff,
    /// Time of the next start.
    again: Option<Duration>,
}

impl ForwarderState {
    /// Returns whether the live release wants its logs forwarded.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// Returns the time of the next start, if one is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.again
    }

    /// Records the end of a child; returns true if it was the forwarder.
    pub(super) fn handle_end(&mut self, pid: Pid, now: Duration) -> bool {
        let is_forwarder = |child: &Child| i32::try_from(child.id()) == Ok(pid.as_raw());
        if !self.process.as_ref().is_some_and(is_forwarder) {
            return false;
        }
        self.process = None;
        self.restarts += 1;
        if self.wanted.is_some() {
            let pause =
                self.backoff.record_crash(now.saturating_sub(self.began), pid.as_raw().unsigned_abs().into());
            self.again = Some(now + pause);
        }
        true
    }
}

impl AppSupervisor {
    /// Sets the destination of the live release. A stopped app keeps its destination for its last lines.
    pub(super) fn update_forwarder(&mut self) {
        let Some(release) = self.core.plan().map(|plan| plan.release) else { return };
        let Some((world, _)) = self.worlds.get(&release) else { return };
        let Ok(mut vars) = world.vars(ProcessRole { ps: "web.1", kind: "web", port: Some(0) }) else {
            return;
        };
        // The deploy has reported a bad value.
        let wanted = vars.swap_remove(VARIABLE).filter(|value| value.parse::<SyslogAddress>().is_ok());
        if wanted == self.forwarder.wanted {
            return;
        }
        self.forwarder.wanted = wanted;
        self.forwarder.backoff = CrashBackoff::default();
        self.forwarder.restarts = 0;
        self.forwarder.again = self.forwarder.wanted.is_some().then_some(self.now());
        if let Some(mut process) = self.forwarder.process.take() {
            // It writes checkpoints and loses nothing.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Returns its row in `ps`, with state `backoff` while nothing can be sent.
    pub(super) fn forwarder_row(&self) -> Option<Row> {
        self.forwarder.wanted.as_ref()?;
        let (name, _) = INSTANCE.split_once('.')?;
        let ps = InstanceName { kind: name.parse().ok()?, index: 1 };
        let why = fs::read_to_string(failure_file(&self.dir)).ok();
        let process = self.forwarder.process.as_ref();
        let runs = process.is_some() && why.is_none();
        Some(Row {
            state: if runs { SampledState::Running } else { SampledState::Backoff },
            pid: process.map(Child::id),
            uptime_s: process.map(|_| self.now().saturating_sub(self.forwarder.began).as_secs()),
            restarts: self.forwarder.restarts,
            last_exit: why,
            ..Row::empty_slot(&self.app, &ps)
        })
    }

    pub(super) fn start_due_forwarder(&mut self) {
        let now = self.now();
        let Some(wanted) =
            self.forwarder.wanted.clone().filter(|_| self.forwarder.again.is_some_and(|at| at <= now))
        else {
            return;
        };
        self.forwarder.again = None;
        self.forwarder.began = now;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("piku-run").arg(NAME).arg(self.app.as_str()).env_clear();
        command.env(ROOT_VARIABLE, self.root.path()).env(VARIABLE, wanted);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        match command.spawn() {
            Ok(process) => self.forwarder.process = Some(process),
            Err(err) => {
                self.log_error(&format!("cannot start log forwarding: {err}"));
                let pause =
                    self.forwarder.backoff.record_crash(Duration::ZERO, u64::from(std::process::id()));
                self.forwarder.again = Some(now + pause.max(Duration::from_secs(1)));
            }
        }
    }
}
