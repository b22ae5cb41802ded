//! What the supervisor waits for, and what it does with what has come: signals, clients, output, ends, answers to probes.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::AppSupervisor;
use crate::core::{AppInstance, CoreEvent, InstanceId, ProcessExit};
use crate::ipc::protocol::{SupervisorReply, SupervisorRequest};
use crate::ipc::socket::{ClientConnection, ControlSocket};
use crate::process::reap;
use crate::process::wait::{self, PollInterest, READ};

/// How long a supervisor without work stays: whoever had it started has yet to ask.
const LINGER: Duration = Duration::from_secs(5);

/// The interval at which a waiting client is told that it does not wait in vain.
const BEAT: Duration = Duration::from_secs(10);

/// What a descriptor belongs to.
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
    pub(super) fn work(&mut self) -> anyhow::Result<()> {
        let mut busy = self.now();
        loop {
            if self.leaving && !self.core.is_changing() {
                break;
            }
            let has_work = !self.core.is_idle() || self.core.plan().is_some() || !self.clients.is_empty();
            if has_work {
                busy = self.now();
            } else if self.now() >= busy + LINGER && !self.someone_came() {
                return Ok(());
            }
            let leave = (!has_work).then_some(busy + LINGER);
            self.tend_drain();
            let starts = self.core.instances().any(|(_, one)| one.is_starting());
            let turn = self.turn.tend(starts, self.born.elapsed()).map(|left| self.now() + left);
            let beat = self.tell_waiting();
            let watch = self.watch_ports();
            let logs = self.tend_logs();
            self.tell(CoreEvent::Tick);
            let next =
                self.core.deadline().into_iter().chain(leave).chain(self.drain.deadline()).chain(turn).min();
            let next = next.map(|next| next.saturating_sub(self.now()));
            let next = next
                .into_iter()
                .chain(beat)
                .chain(watch)
                .chain(logs)
                .chain(self.clients.time_left())
                .chain(self.pauses())
                .min();
            let ready = wait::wait(&self.watched(), next)?;
            for token in ready {
                self.happened(token);
            }
            self.clients.remove_gone();
            self.forget_followers();
            self.tell(CoreEvent::Tick);
        }
        self.flush_logs();
        self.listener.hide();
        Ok(())
    }

    /// Before it ends for want of work: whether somebody has found the socket just before it was hidden.
    fn someone_came(&mut self) -> bool {
        self.listener.hide();
        let Some(connection) = self.listener.accept() else { return false };
        self.add_client(connection);
        match ControlSocket::bind(&self.dir.socket()) {
            Ok(listener) => self.listener = listener,
            Err(err) => self.complain(&format!("cannot listen again: {err}")),
        }
        true
    }

    /// The times after which descriptors that are left out now are looked at again.
    fn pauses(&self) -> impl Iterator<Item = Duration> + '_ {
        let notify = self.workers.values().filter_map(|worker| worker.notify.as_ref()?.paused());
        notify.chain(self.listener.paused())
    }

    fn watched(&self) -> Vec<(std::os::fd::BorrowedFd<'_>, PollInterest, SupervisorToken)> {
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
            if let Some(pidfd) = &worker.pidfd {
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

    fn happened(&mut self, token: SupervisorToken) {
        match token {
            SupervisorToken::Signals => {
                for signal in wait::received(&self.signals) {
                    match signal {
                        Signal::SIGTERM | Signal::SIGINT => self.leaving = true,
                        // One SIGCHLD may stand for many.
                        Signal::SIGCHLD => self.reap(),
                        _ => {}
                    }
                }
            }
            SupervisorToken::Listener => {
                while let Some(connection) = self.listener.accept() {
                    self.add_client(connection);
                }
            }
            SupervisorToken::Client(number) => self.serve(number),
            SupervisorToken::Output(id) => {
                self.take_output(id);
            }
            SupervisorToken::Ended(id) => self.ended(id, ProcessExit::Unknown),
            SupervisorToken::Probe(id) => self.look(id),
            SupervisorToken::OldWorker(pid) => self.old_worker_ended(pid),
            SupervisorToken::Crons => self.look_at_crons(),
            SupervisorToken::Notify(id) => self.take_messages(id),
        }
    }

    /// What an instance, or a stranger in its name, says of its readiness.
    fn take_messages(&mut self, id: InstanceId) {
        let waits = self.core.instance(id).is_some_and(AppInstance::is_starting);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(notify) = &mut worker.notify else { return };
        let mut senders: Vec<i32> =
            notify.receive().iter().filter(|message| message.ready).map(|message| message.pid).collect();
        // Finding out whose they are takes a look at many processes, so not once a message, and not when nobody asks.
        senders.dedup();
        let family = worker.family();
        if waits && senders.into_iter().any(|sender| family.may_speak(sender)) {
            self.events.push_back(CoreEvent::Notified { id });
        }
    }

    /// Tells those whose change is under way that it still is, every few seconds; returns when to do so again.
    fn tell_waiting(&mut self) -> Option<Duration> {
        let waiting = self.waiting_clients();
        if waiting.is_empty() {
            return None;
        }
        let now = self.now();
        if now >= self.beat + BEAT {
            self.beat = now;
            for client in waiting {
                self.reply(client, &SupervisorReply::Heard);
            }
        }
        Some((self.beat + BEAT).saturating_sub(now))
    }

    fn add_client(&mut self, connection: ClientConnection) {
        let number = self.clients.add(connection);
        self.serve(number);
    }

    fn serve(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(number) else { return };
        client.flush();
        if let Some(request) = client.receive::<SupervisorRequest>() {
            self.request(number, request);
        }
    }

    /// Children that have ended: workers, and what workers have left behind.
    fn reap(&mut self) {
        while let Some((pid, exit)) = reap::next() {
            if self.drain.ended(pid, self.now()) {
                continue;
            }
            let id = self.workers.iter().find(|(_, worker)| worker.is_child(pid)).map(|(id, _)| *id);
            if let Some(id) = id {
                self.ended(id, exit);
            }
        }
    }
}
