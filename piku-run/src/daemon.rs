//! `piku-run daemon`: starts one supervisor for each app and restarts it with backoff when it dies. It does
//! not know instances, stays in the foreground, and may be restarted at any time.
//!
//! Supervisors outlive a daemon that is killed; the next one finds them by their locks and watches them by
//! pidfd.

#![expect(clippy::disallowed_methods, reason = "marks and locks of apps, which only piku writes")]

mod catch_up_timer;
mod client_requests;
mod interrupted;
mod supervisor_child;

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use piku_chroot::limits;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::{self, BUSY, UserError};

use crate::backup_plans::BackupTimer;
use crate::core::CrashBackoff;
use crate::data_limit::DataUsageTimer;
use crate::garbage::{ExpiryTimer, RemovalQueue};
use crate::ipc::connections::ClientTable;
use crate::ipc::socket::ControlSocket;
use crate::lock;
use crate::notify::NotifyTimer;
use crate::process::idle_memory::IdleMemory;
use crate::process::own_program::OwnProgram;
use crate::process::signals;
use crate::process::wait::{self, PollInterest, READ};
use crate::protections;
use crate::releases::current;
use crate::status::StatusTimer;

use catch_up_timer::CatchUpTimer;
use supervisor_child::SupervisorChild;

pub(crate) const NAME: &str = "daemon";

/// Number of apps that start at once at boot, if the number of processors is unknown.
const AT_ONCE: usize = 1;

/// Longest time for which a supervisor may delay others at boot. It frees its slot earlier unless it is
/// stuck.
const LONGEST_TURN: Duration = Duration::from_secs(40);

/// An app with a supervisor, now, before or soon.
#[derive(Debug, Default)]
struct WatchedApp {
    supervisor: Option<SupervisorChild>,
    since: Option<Instant>,
    backoff: CrashBackoff,
    /// Time of the next start.
    again: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum DaemonToken {
    Signals,
    Listener,
    Client(u64),
    Ended(usize),
    Booted(usize),
    StatusChanged,
}

#[derive(Debug)]
struct DaemonLoop {
    root: PikuRoot,
    program: PathBuf,
    apps: BTreeMap<AppName, WatchedApp>,
    /// Apps that wait at boot; as many start at once as there are processors.
    waiting: VecDeque<AppName>,
    clients: ClientTable,
    listener: ControlSocket,
    signals: SignalFd,
    memory: IdleMemory,
    notify: NotifyTimer,
    status: StatusTimer,
    backups: BackupTimer,
    data_usage: DataUsageTimer,
    expiry: ExpiryTimer,
    catch_up: CatchUpTimer,
    removals: RemovalQueue,
    leaving: bool,
    _lock: FileLock,
}

/// Runs until SIGTERM. Supervisors then end and instances keep running.
pub(crate) fn run(root: &PikuRoot) -> anyhow::Result<()> {
    current::create_dir(&root.run())?;
    let path = root.daemon_lock();
    let Some(mut lock) =
        lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?
    else {
        let holder = lock::holder(&path).map_or(String::new(), |pid| format!(", pid {pid}"));
        let what = format!("a daemon runs for '{}' already{holder}", root.path().display());
        return Err(UserError::new(what).code(BUSY).into());
    };
    // Who reads the pid may send a signal at once.
    signals::default_dispositions();
    let signals = wait::signals(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    lock::write_pid(&mut lock).context("cannot sign the lock")?;
    // Supervisors and monitors run in the daemon's cgroup, beside those of the jails.
    if let Err(err) = limits::claim_delegated_cgroup(NAME) {
        log_error(&format!("cgroups do not hold all limits of the workers: {err:#}"));
        for hint in user_error::advice(&err).0 {
            log_error(&format!("hint: {hint}"));
        }
    }
    // The installation has done that; this is for hosts without it.
    if let Err(err) = protections::record_first(root) {
        log_error(&format!("{err:#}"));
    }
    // Orphans of a supervisor that dies are reaped here.
    set_child_subreaper(true).context("cannot become a subreaper")?;
    let socket = root.daemon_socket();
    let listener =
        ControlSocket::bind(&socket).with_context(|| format!("cannot listen at '{}'", socket.display()))?;
    let program = OwnProgram::find()?.path().to_owned();
    let mut daemon = DaemonLoop {
        root: root.clone(),
        program,
        apps: BTreeMap::new(),
        waiting: VecDeque::new(),
        clients: ClientTable::default(),
        listener,
        signals,
        memory: IdleMemory::new(),
        notify: NotifyTimer::read(root),
        status: StatusTimer::read(root),
        backups: BackupTimer::read(root),
        data_usage: DataUsageTimer::new(),
        expiry: ExpiryTimer::new(),
        catch_up: CatchUpTimer::read(root),
        removals: RemovalQueue::find_pending(root),
        leaving: false,
        _lock: lock,
    };
    daemon.boot()?;
    if let Err(err) = daemon.removals.start_due(&daemon.root, &daemon.program) {
        log_error(&format!("{err:#}"));
    }
    daemon.handle_events()
}

impl DaemonLoop {
    /// Starts the supervisors of all apps that have a release and were not stopped. An app that fails to
    /// start does not delay the others.
    fn boot(&mut self) -> anyhow::Result<()> {
        for app in self.root.supervised().context("cannot list the apps")? {
            let dir = self.root.app(&app);
            if interrupted::resume(&self.root, &app, &self.program) {
                continue;
            }
            // Also without a release: a supervisor killed during a first deploy may have left processes.
            let runs_here = !dir.is_stopped() && !dir.is_in_cluster();
            if dir.current_number().is_some() && runs_here || dir.run().join("workers").exists() {
                self.waiting.push_back(app);
            }
        }
        self.start_waiting();
        Ok(())
    }

    /// Starts waiting apps up to the limit, except those that have a supervisor by now.
    fn start_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let at_once = std::thread::available_parallelism().map_or(AT_ONCE, std::num::NonZero::get);
        let boots = |watch: &WatchedApp| watch.supervisor.as_ref().is_some_and(|one| one.booting.is_some());
        while self.apps.values().filter(|watch| boots(watch)).count() < at_once {
            let Some(app) = self.waiting.pop_front() else { break };
            if self.apps.get(&app).is_none_or(|watch| watch.supervisor.is_none()) {
                self.start_supervisor(&app, true);
            }
        }
    }

    fn handle_events(&mut self) -> anyhow::Result<()> {
        loop {
            if self.leaving {
                break;
            }
            let now = Instant::now();
            let due = self.apps.values().filter_map(|watch| watch.again);
            let due = due.chain(self.turns_end()).chain(self.notify.at()).chain(self.status.at());
            let due = due.chain(self.backups.at()).chain([
                self.data_usage.at(),
                self.expiry.at(),
                self.removals.at(),
            ]);
            let due = due.chain(self.catch_up.at()).min();
            let next = due.map(|due| due.saturating_duration_since(now));
            let next = next.into_iter().chain(self.clients.time_left()).chain(self.listener.paused());
            let next = next.min();
            let ready = {
                let names: Vec<&WatchedApp> = self.apps.values().collect();
                let mut watched = vec![(self.signals.as_fd(), READ, DaemonToken::Signals)];
                if self.listener.paused().is_none() {
                    watched.push((self.listener.as_fd(), READ, DaemonToken::Listener));
                }
                for (number, client) in self.clients.iter() {
                    let interest = PollInterest { read: true, write: client.has_unsent() };
                    watched.push((client.as_fd(), interest, DaemonToken::Client(number)));
                }
                watched.extend(self.status.fd().map(|fd| (fd, READ, DaemonToken::StatusChanged)));
                for (at, watch) in names.iter().enumerate() {
                    let Some(one) = &watch.supervisor else { continue };
                    watched.extend(
                        one.pidfd.as_ref().map(|pidfd| (pidfd.as_fd(), READ, DaemonToken::Ended(at))),
                    );
                    watched
                        .extend(one.booting.as_ref().map(|end| (end.as_fd(), READ, DaemonToken::Booted(at))));
                }
                wait::wait_idle(&watched, next, &self.memory)?
            };
            let mut ended = Vec::new();
            let mut booted = Vec::new();
            if !ready.is_empty() {
                self.memory.note_work();
            }
            for token in ready {
                match token {
                    DaemonToken::Signals => self.handle_signal(),
                    DaemonToken::Listener => {
                        while let Some(connection) = self.listener.accept() {
                            let number = self.clients.add(connection);
                            self.serve_clients(number);
                        }
                    }
                    DaemonToken::Client(number) => self.serve_clients(number),
                    DaemonToken::Ended(at) => ended.extend(self.apps.keys().nth(at).cloned()),
                    DaemonToken::StatusChanged => self.status.note_changes(),
                    DaemonToken::Booted(at) => booted.extend(self.apps.keys().nth(at).cloned()),
                }
            }
            for app in booted {
                if let Some(one) = self.apps.get_mut(&app).and_then(|watch| watch.supervisor.as_mut()) {
                    one.booting = None;
                }
            }
            // Its exit status is unknown; a new one finds out whether there is work.
            for app in ended {
                self.handle_end(&app, false);
            }
            self.clients.remove_gone();
            self.end_turns();
            self.start_due();
            let started = [
                self.notify.start_due(&self.root, &self.program),
                self.status.start_due(&self.root, &self.program),
                self.backups.start_due(&self.root, &self.program),
                self.data_usage.start_due(&self.root, &self.program),
                self.expiry.start_due(&self.root, &self.program),
                self.catch_up.start_due(&self.root),
                self.removals.start_due(&self.root, &self.program),
            ];
            for err in started.into_iter().filter_map(Result::err) {
                log_error(&format!("{err:#}"));
            }
            self.start_waiting();
        }
        self.listener.remove_path();
        for one in self.apps.values().filter_map(|watch| watch.supervisor.as_ref()) {
            let _ = kill(one.pid, Signal::SIGTERM);
        }
        Ok(())
    }

    fn handle_signal(&mut self) {
        for signal in wait::received(&self.signals) {
            match signal {
                Signal::SIGTERM | Signal::SIGINT => self.leaving = true,
                Signal::SIGCHLD => self.reap_children(),
                Signal::SIGHUP => {
                    self.notify = NotifyTimer::read(&self.root);
                    self.status = StatusTimer::read(&self.root);
                    self.backups = BackupTimer::read(&self.root);
                    self.catch_up = CatchUpTimer::read(&self.root);
                    self.data_usage.look_again(&self.root);
                }
                _ => {}
            }
        }
    }

    fn reap_children(&mut self) {
        loop {
            let (pid, well) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code == 0),
                Ok(WaitStatus::Signaled(pid, ..)) => (pid, false),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            self.removals.note_end(pid, well);
            let of = |watch: &WatchedApp| {
                watch.supervisor.as_ref().is_some_and(|one| one.pid == pid && one.pidfd.is_none())
            };
            let app = self.apps.iter().find(|(_, watch)| of(watch)).map(|(app, _)| app.clone());
            if let Some(app) = app {
                self.handle_end(&app, well);
            }
        }
    }

    /// Handles the end of a supervisor: success means that it has no work, otherwise it is restarted.
    fn handle_end(&mut self, app: &AppName, well: bool) {
        let gone = !self.root.app(app).path().is_dir();
        let Some(watch) = self.apps.get_mut(app) else { return };
        watch.supervisor = None;
        if well || gone {
            self.apps.remove(app);
            return;
        }
        let now = Instant::now();
        let uptime = watch.since.map_or(Duration::ZERO, |since| now - since);
        let pause = watch.backoff.record_crash(uptime, u64::from(std::process::id()));
        watch.again = Some(now + pause);
        log_error(&format!(
            "{app}: the supervisor has ended, a new one comes in {:.1} s",
            pause.as_secs_f64()
        ));
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let is_due = |watch: &WatchedApp| watch.again.is_some_and(|again| again <= now);
        let due: Vec<AppName> =
            self.apps.iter().filter(|(_, watch)| is_due(watch)).map(|(app, _)| app.clone()).collect();
        for app in due {
            self.start_supervisor(&app, false);
        }
    }

    /// Returns the time at which the next boot slot expires.
    fn turns_end(&self) -> Option<Instant> {
        let booting =
            |watch: &&WatchedApp| watch.supervisor.as_ref().is_some_and(|one| one.booting.is_some());
        self.apps.values().filter(booting).filter_map(|watch| Some(watch.since? + LONGEST_TURN)).min()
    }

    fn end_turns(&mut self) {
        let now = Instant::now();
        for watch in self.apps.values_mut() {
            let is_over = watch.since.is_some_and(|since| now >= since + LONGEST_TURN);
            if let Some(one) = watch.supervisor.as_mut().filter(|_| is_over) {
                one.booting = None;
            }
        }
    }

    /// Starts a supervisor, or adopts the running one.
    fn start_supervisor(&mut self, app: &AppName, boot: bool) {
        let lock = current::supervisor_lock(&self.root.app(app));
        let watch = self.apps.entry(app.clone()).or_default();
        watch.again = None;
        watch.since = Some(Instant::now());
        match SupervisorChild::find(&lock)
            .map_or_else(|| SupervisorChild::spawn(&self.program, &self.root, app, boot), Ok)
        {
            Ok(supervisor) => watch.supervisor = Some(supervisor),
            Err(err) => {
                log_error(&format!("{app}: {err:#}"));
                self.handle_end(app, false);
            }
        }
    }
}

/// Writes a line to the daemon's log.
fn log_error(text: &str) {
    // Without stderr the message is lost.
    let _ = writeln!(std::io::stderr().lock(), "piku-run: {text}");
}
