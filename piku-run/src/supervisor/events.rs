//! Event loop of the supervisor: signals, clients, output, process ends, health checks.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::AppSupervisor;
use crate::core::{AppInstance, CoreEvent, InstanceId, ProcessExit};
use crate::ipc::protocol::{SupervisorReply, SupervisorRequest};
use crate::ipc::socket::{ClientConnection, ControlSocket};
use crate::process::reap;
use crate::process::wait::{self, PollInterest, READ};

/// Time for which a supervisor without work waits for a request. Later requests start another.
const LINGER: Duration = Duration::from_secs(5);

/// Interval at which waiting clients are told that their request is in progress.
const BEAT: Duration = Duration::from_secs(10);

/// Owner of a descriptor.
#[derive(Debug, Clone, Copy)]
enum SupervisorToken {
    Signals,
    Listener,
    Client(u64),
    Output(InstanceId),
    Ended(InstanceId),
    Probe(InstanceId),
    Notify(InstanceId),
    OldWorker(i32),
    Crons,
}

impl AppSupervisor {
    pub(super) fn run_event_loop(&mut self) -> anyhow::Result<()> {
        let mut busy = self.now();
        loop {
            if self.leaving && !self.core.is_changing() {
                break;
            }
            let has_work = !self.core.is_idle() || self.is_needed() || !self.clients.is_empty();
            if has_work {
                busy = self.now();
            } else if self.now() >= busy + LINGER && !self.someone_came() {
                return Ok(());
            }
            let leave = (!has_work).then_some(busy + LINGER);
            self.start_due_forwarder();
            let starts = self.core.instances().any(|(_, one)| one.is_starting());
            let turn = self.turn.release_when_up(starts, self.born.elapsed()).map(|left| self.now() + left);
            let beat = self.tell_waiting();
            let watch = self.watch_ports();
            let logs = self.tend_logs();
            // An instance that has ended must not become ready by the time that has passed.
            self.reap_children();
            let ends = self.advance_ends();
            self.tell_core(CoreEvent::Tick);
            let next = self
                .core
                .next_deadline()
                .into_iter()
                .chain(leave)
                .chain(self.forwarder.deadline())
                .chain(turn)
                .min();
            let next = next.map(|next| next.saturating_sub(self.now()));
            let next = next
                .into_iter()
                .chain(beat)
                .chain(watch)
                .chain(logs)
                .chain(ends)
                .chain(self.clients.time_left())
                .chain(self.paused_until())
                .min();
            let ready = wait::wait_idle(&self.watched_fds(), next, &self.memory)?;
            for token in ready {
                self.handle_source(token);
            }
            self.clients.remove_gone();
            self.forget_followers();
            self.tell_core(CoreEvent::Tick);
        }
        self.flush_logs();
        self.listener.remove_path();
        Ok(())
    }

    /// Returns whether the live release has something to supervise. nginx serves static files alone.
    fn is_needed(&self) -> bool {
        self.core.plan().is_some_and(|plan| plan.has_processes() || self.forwarder.is_wanted())
    }

    /// Returns whether a client connected just before the socket was removed.
    fn someone_came(&mut self) -> bool {
        self.listener.remove_path();
        let Some(connection) = self.listener.accept() else { return false };
        self.add_client(connection);
        match ControlSocket::bind(&self.dir.socket()) {
            Ok(listener) => self.listener = listener,
            Err(err) => self.log_error(&format!("cannot listen again: {err}")),
        }
        true
    }

    /// Returns the times until paused descriptors are watched again.
    fn paused_until(&self) -> impl Iterator<Item = Duration> + '_ {
        let notify = self.workers.values().filter_map(|worker| worker.notify.as_ref()?.paused());
        notify.chain(self.listener.paused())
    }

    fn watched_fds(&self) -> Vec<(std::os::fd::BorrowedFd<'_>, PollInterest, SupervisorToken)> {
        let mut watched = vec![(self.signals.as_fd(), READ, SupervisorToken::Signals)];
        if self.listener.paused().is_none() {
            watched.push((self.listener.as_fd(), READ, SupervisorToken::Listener));
        }
        watched.extend(self.timer.as_ref().map(|timer| (timer.as_fd(), READ, SupervisorToken::Crons)));
        for (id, worker) in &self.workers {
            watched.push((worker.output.as_fd(), READ, SupervisorToken::Output(*id)));
            if let Some(notify) = worker.notify.as_ref().filter(|notify| notify.paused().is_none()) {
                watched.push((notify.as_fd(), READ, SupervisorToken::Notify(*id)));
            }
            if let Some(pidfd) = worker.pidfd.as_ref().filter(|_| worker.end.is_none()) {
                watched.push((pidfd.as_fd(), READ, SupervisorToken::Ended(*id)));
            }
        }
        for (id, probe) in &self.probes {
            if let Some(fd) = probe.fd() {
                let (read, write) = probe.interest();
                watched.push((fd, PollInterest { read, write }, SupervisorToken::Probe(*id)));
            }
        }
        for (pid, worker) in self.old.iter() {
            watched.push((worker.as_fd(), READ, SupervisorToken::OldWorker(pid)));
        }
        for (number, client) in self.clients.iter() {
            let interest = PollInterest { read: true, write: client.has_unsent() };
            watched.push((client.as_fd(), interest, SupervisorToken::Client(number)));
        }
        watched
    }

    fn handle_source(&mut self, token: SupervisorToken) {
        match token {
            SupervisorToken::Output(_) => self.memory.note_output(),
            _ => self.memory.note_work(),
        }
        match token {
            SupervisorToken::Signals => {
                for signal in wait::received(&self.signals) {
                    match signal {
                        Signal::SIGTERM | Signal::SIGINT => self.leaving = true,
                        // One SIGCHLD may stand for several children.
                        Signal::SIGCHLD => self.reap_children(),
                        _ => {}
                    }
                }
            }
            SupervisorToken::Listener => {
                while let Some(connection) = self.listener.accept() {
                    self.add_client(connection);
                }
            }
            SupervisorToken::Client(number) => self.serve_clients(number),
            SupervisorToken::Output(id) => {
                self.take_output(id);
            }
            SupervisorToken::Ended(id) => self.handle_end(id, ProcessExit::Unknown),
            SupervisorToken::Probe(id) => self.advance_probe(id),
            SupervisorToken::OldWorker(pid) => self.old_worker_ended(pid),
            SupervisorToken::Crons => self.look_at_crons(),
            SupervisorToken::Notify(id) => self.take_messages(id),
        }
    }

    /// Handles the readiness notifications of an instance. Other processes may send them too.
    fn take_messages(&mut self, id: InstanceId) {
        let waits = self.core.instance(id).is_some_and(AppInstance::is_starting);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(notify) = &mut worker.notify else { return };
        let mut senders: Vec<i32> =
            notify.receive().iter().filter(|message| message.ready).map(|message| message.pid).collect();
        // Identifying a sender scans many processes: once per sender, and only if its answer matters.
        senders.dedup();
        let family = worker.family();
        let waits = waits && worker.end.is_none();
        if waits && senders.into_iter().any(|sender| family.may_notify(sender)) {
            self.events.push_back(CoreEvent::Notified { id });
        }
    }

    /// Tells waiting clients every few seconds that their change is in progress. Returns the time until the
    /// next message.
    fn tell_waiting(&mut self) -> Option<Duration> {
        let waiting = self.waiting_clients();
        if waiting.is_empty() {
            return None;
        }
        let now = self.now();
        if now >= self.beat + BEAT {
            self.beat = now;
            for client in waiting {
                self.send_reply(client, &SupervisorReply::Heard);
            }
        }
        Some((self.beat + BEAT).saturating_sub(now))
    }

    fn add_client(&mut self, connection: ClientConnection) {
        let number = self.clients.add(connection);
        self.serve_clients(number);
    }

    fn serve_clients(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(number) else { return };
        client.flush();
        if let Some(request) = client.receive::<SupervisorRequest>() {
            self.handle_request(number, request);
        }
    }

    /// Reaps children: processes of instances, and what they have left.
    fn reap_children(&mut self) {
        while let Some((pid, exit)) = reap::reap_child() {
            if self.forwarder.handle_end(pid, self.now()) {
                continue;
            }
            let id = self.workers.iter().find(|(_, worker)| worker.is_child(pid)).map(|(id, _)| *id);
            if let Some(id) = id {
                self.handle_end(id, exit);
            }
        }
    }
}
