//! `piku-run nginx`: keeps piku's nginx running in the foreground, under systemd or in a terminal. It writes
//! the main file, starts nginx, has each app refresh its site, and runs until nginx ends or a signal stops
//! it.
//!
//! nginx survives when this process is killed; the next one adopts it. After an upgrade, SIGHUP makes this
//! process execute the new program, which adopts nginx and inherits the lock.

#![expect(
    clippy::disallowed_methods,
    reason = "nginx's directory and the names of apps, which only piku writes"
)]

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::{BUSY, UserError};
use rustix::process::{PidfdFlags, pidfd_open};

use super::WebServer;
use super::local_names::LocalNames;
use super::log_rotation::LogRotation;
use super::master::NginxMaster;
use super::old_workers::OldWorkerMonitor;
use super::program::NginxProgram;
use super::site::refresh::spawn_refresh;
use crate::cron::CronTimer;
use crate::lock;
use crate::nginx::front::monitor::FrontMonitor;
use crate::process::idle_memory::IdleMemory;
use crate::process::own_program::OwnProgram;
use crate::process::signals;
use crate::process::wait::{self, READ};
use crate::releases::current;

/// Name of the subcommand `piku-run nginx`.
pub(crate) const NAME: &str = "nginx";

/// Longest time until nginx serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);

struct NginxService {
    web: WebServer,
    program: OwnProgram,
    master: NginxMaster,
    pidfd: OwnedFd,
    /// Becomes readable when the clock is set.
    clock: CronTimer,
    memory: IdleMemory,
    /// Becomes readable after each reload. `None` if the user has no inotify instance left.
    reloads: Option<Inotify>,
    old_workers: OldWorkerMonitor,
    logs: LogRotation,
    local_names: LocalNames,
    fronts: FrontMonitor,
    /// `None` if nginx was adopted from an earlier service.
    child: Option<Child>,
    lock: FileLock,
}

#[derive(Debug, Clone, Copy)]
enum ServiceToken {
    Signals,
    Ended,
    ClockSet,
    Reloaded,
    Logged,
}

/// Runs until a signal stops it or nginx ends.
pub(crate) fn run(root: &PikuRoot) -> anyhow::Result<ExitCode> {
    let web = WebServer::load(root)?;
    if !web.settings.enabled {
        let hint = format!("set 'nginx: {{enabled: true}}' in '{}'", root.settings().display());
        return Err(UserError::new("nginx is off on this machine").hint(hint).into());
    }
    web.dir.create()?;
    let nginx = NginxProgram::require(&web.dir)?;
    current::create_dir(&root.acme().join("webroot/.well-known/acme-challenge"))?;
    let path = web.dir.service_lock();
    let lock = lock::inherit(&path)
        .and_then(|lock| lock.map_or_else(|| lock::try_lock(&path), |lock| Ok(Some(lock))));
    let Some(mut lock) = lock.with_context(|| format!("cannot lock '{}'", path.display()))? else {
        return Err(UserError::new("another 'piku-run nginx' is running already").code(BUSY).into());
    };
    lock::write_pid(&mut lock).context("cannot sign the lock")?;
    signals::default_dispositions();
    let signals = wait::signals(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1])?;
    // The workers of a killed master hold its ports. As their subreaper, this process can end them.
    set_child_subreaper(true).context("cannot become a subreaper")?;

    let mut service = start_or_adopt(web, &nginx, lock)?;
    log(&format!("nginx serves, pid {}", service.master.pid));
    // The files may be from before a boot; the supervisors know the current ports.
    spawn_refresh(&service.web);
    service.fronts.start_if_needed(root);
    service.run_loop(&signals)
}

/// Starts nginx or adopts the running one. The lock is held from before the files are read until nginx can be
/// signalled.
fn start_or_adopt(web: WebServer, nginx: &NginxProgram, lock: FileLock) -> anyhow::Result<NginxService> {
    let reloads = web.dir.lock_reload()?;
    let files = web.dir.lock()?;
    web.dir.fit_shared_settings(nginx.build())?;
    web.ensure_status_certificate();
    web.remove_bad_sites(nginx)?;
    web.write_main_conf(nginx)?;
    let (master, child) = if let Some(master) = NginxMaster::find(&web.dir) {
        web.reload_nginx(master, Some(&files))?;
        (master, None)
    } else {
        let (master, child) = web.start_nginx(nginx)?;
        (master, Some(child))
    };
    web.dir.finish_all_reloads()?;
    drop((files, reloads));
    let pid = rustix::process::Pid::from_raw(master.pid.as_raw()).context("no pid")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("nginx has just ended")?;
    let clock = watch_clock().context("cannot make a timer")?;
    let reloads = watch_reloads(&web);
    let logs = LogRotation::new(&web.dir, web.log_limits);
    Ok(NginxService {
        web,
        program: OwnProgram::find()?,
        master,
        pidfd,
        clock,
        memory: IdleMemory::new(),
        reloads,
        old_workers: OldWorkerMonitor::default(),
        logs,
        local_names: LocalNames::default(),
        fronts: FrontMonitor::default(),
        child,
        lock,
    })
}

impl WebServer {
    /// Asks the running service to read host.yaml again and to refresh all sites; returns whether one runs.
    pub(crate) fn ask_to_reload(&self) -> bool {
        let path = self.dir.service_lock();
        // A pid in a file that nobody locks may be that of any process by now.
        let pid = lock::holder(&path).filter(|_| lock::is_held(&path));
        pid.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGHUP).is_ok())
    }

    /// Removes the files of deleted apps, those with ports from before a boot, and those that nginx rejects:
    /// a bad file must not keep the other apps offline.
    fn remove_bad_sites(&self, nginx: &NginxProgram) -> anyhow::Result<()> {
        let boot = piku_procfs::boot_id();
        let apps = self.root.apps().context("cannot list the apps")?;
        self.dir.remove_records(|name| !apps.iter().any(|app| app.as_str() == name))?;
        for app in self.dir.list_apps()? {
            let metadata = self.dir.read_metadata(&app);
            let is_stale =
                metadata.is_none_or(|metadata| metadata.boot.is_some_and(|written| written != boot));
            if is_stale || !self.root.app(&app).path().is_dir() {
                self.dir.remove_app(&app)?;
            }
        }
        let confs = self.dir.read_app_confs()?;
        if let Err(reason) = self.test_files(nginx, &confs)? {
            let mut good: Vec<(AppName, String)> = Vec::new();
            for (app, text) in confs {
                good.push((app.clone(), text));
                if let Err(reason) = self.test_files(nginx, &good)? {
                    good.pop();
                    self.dir.remove_app(&app)?;
                    log(&format!("{app} is left out: {reason}"));
                }
            }
            if good.is_empty() {
                self.test_files(nginx, &[])?
                    .map_err(|_| UserError::new(format!("nginx rejects its main file: {reason}")))?;
            }
        }
        Ok(())
    }

    fn start_nginx(&self, nginx: &NginxProgram) -> anyhow::Result<(NginxMaster, Child)> {
        // A dead nginx may have left its pid file.
        current::remove_dir(&self.dir.pid_file())?;
        let mut command = nginx.command(&self.dir.main_conf());
        command.args(["-g", &NginxProgram::global_directives("daemon off;")]).stdout(Stdio::null());
        let mask = SigSet::thread_get_mask().context("cannot read the signal mask")?;
        // The child inherits the mask.
        SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
        let child = command.spawn();
        mask.thread_set_mask().context("cannot block signals")?;
        let mut child = child.context("cannot run nginx")?;
        let since = Instant::now();
        loop {
            if let Some(status) = child.try_wait().context("cannot wait for nginx")? {
                let sockets: Vec<String> =
                    self.settings.http.iter().chain(&self.settings.https).map(ToString::to_string).collect();
                let what = format!("nginx does not start: {status}");
                let hint = format!(
                    "its reason stands above; {} must be free, and a port below 1024 needs CAP_NET_BIND_SERVICE, \
                     which piku-nginx.service has",
                    sockets.join(" and ")
                );
                return Err(UserError::new(what).hint(hint).into());
            }
            if let Some(master) = NginxMaster::find(&self.dir).filter(|master| master.is_serving()) {
                return Ok((master, child));
            }
            if since.elapsed() > START_TIMEOUT {
                let _ = child.kill();
                let _ = child.wait();
                let what = format!("nginx does not serve within {} seconds", START_TIMEOUT.as_secs());
                return Err(UserError::new(what).into());
            }
            sleep(Duration::from_millis(5));
        }
    }
}

impl NginxService {
    fn run_loop(&mut self, signals: &nix::sys::signalfd::SignalFd) -> anyhow::Result<ExitCode> {
        // Deadline for a graceful stop, once one was asked for.
        let mut end: Option<Instant> = None;
        loop {
            let (is_rotated, next_rotation) = self.logs.rotate();
            if is_rotated {
                self.signal_nginx(Signal::SIGUSR1);
            }
            let next_check = self.old_workers.enforce_limits(self.master, &self.web.settings, log);
            let next_names = self.local_names.update(&self.web);
            let mut watched = vec![
                (signals.as_fd(), READ, ServiceToken::Signals),
                (self.pidfd.as_fd(), READ, ServiceToken::Ended),
                (self.clock.as_fd(), READ, ServiceToken::ClockSet),
            ];
            watched.extend(self.reloads.as_ref().map(|watch| (watch.as_fd(), READ, ServiceToken::Reloaded)));
            watched.extend(self.logs.fd().map(|fd| (fd, READ, ServiceToken::Logged)));
            let left = |time: Instant| time.saturating_duration_since(Instant::now());
            let deadlines =
                end.into_iter().chain(next_check).chain(next_rotation).chain(next_names).map(left);
            let timeout = deadlines.min();
            for token in wait::wait_idle(&watched, timeout, &self.memory)? {
                self.memory.note_work();
                match token {
                    ServiceToken::Ended => return Ok(self.clean_up(end.is_some())),
                    // The limits are enforced before the next wait.
                    ServiceToken::Reloaded => {
                        let _ = self.reloads.as_ref().map(Inotify::read_events);
                        self.local_names.check_soon();
                    }
                    ServiceToken::Logged => self.logs.acknowledge(),
                    // By the new time, a certificate may have expired or not be valid yet.
                    ServiceToken::ClockSet => {
                        self.clock.acknowledge();
                        spawn_refresh(&self.web);
                    }
                    ServiceToken::Signals => {
                        for signal in wait::received(signals) {
                            self.handle_signal(signal, &mut end);
                        }
                    }
                }
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                self.signal_nginx(Signal::SIGTERM);
                end = Some(Instant::now() + Duration::from_secs(1));
            }
        }
    }

    fn handle_signal(&mut self, signal: Signal, end: &mut Option<Instant>) {
        match signal {
            Signal::SIGHUP => {
                if end.is_none() && self.program.is_replaced() {
                    self.local_names.withdraw_all();
                    log(&format!("{:#}", self.execute_successor()));
                }
                if let Err(err) = self.reload_settings() {
                    log(&format!("{err:#}"));
                }
            }
            Signal::SIGUSR1 => self.signal_nginx(Signal::SIGUSR1),
            // A second signal stops at once.
            _ if end.is_some() => self.signal_nginx(Signal::SIGTERM),
            _ => {
                // Graceful: nginx finishes the requests under way.
                self.signal_nginx(Signal::SIGQUIT);
                *end = Some(Instant::now() + Duration::from_secs(u64::from(self.web.settings.drain)));
            }
        }
    }

    /// Rereads `host.yaml` and reloads nginx.
    fn reload_settings(&mut self) -> anyhow::Result<()> {
        self.web = WebServer::load(&self.web.root)?;
        self.local_names.check_soon();
        self.logs = LogRotation::new(&self.web.dir, self.web.log_limits);
        let nginx = NginxProgram::require(&self.web.dir)?;
        let reloads = self.web.dir.lock_reload()?;
        let files = self.web.dir.lock()?;
        self.web.ensure_status_certificate();
        self.web.write_main_conf(&nginx)?;
        self.web.reload_nginx(self.master, Some(&files))?;
        self.web.dir.finish_all_reloads()?;
        drop((files, reloads));
        spawn_refresh(&self.web);
        self.fronts.start_if_needed(&self.web.root);
        Ok(())
    }

    /// Executes the program that an upgrade has put in place of this one, in this process. nginx stays its
    /// child and serves meanwhile; the lock goes over as stdin. Returns why this one has to go on.
    fn execute_successor(&self) -> anyhow::Error {
        // With settings that end the new program, nginx would end, too.
        match WebServer::load(&self.web.root) {
            Ok(web) if web.settings.enabled => {}
            Ok(_) => {
                return anyhow::anyhow!("nginx is off in host.yaml: the program before the upgrade goes on");
            }
            Err(err) => return err,
        }
        match self.lock.as_fd().try_clone_to_owned() {
            Ok(lock) => self.program.execute(lock),
            Err(err) => anyhow::Error::new(err).context("cannot pass the lock on"),
        }
    }

    fn signal_nginx(&self, signal: Signal) {
        let _ = kill(self.master.pid, signal);
    }

    /// Kills what remains of an nginx that has ended; returns success if the stop was asked for.
    fn clean_up(&mut self, wanted: bool) -> ExitCode {
        let status = self.child.as_mut().and_then(|child| child.wait().ok());
        let own = nix::unistd::getpid().as_raw();
        for pid in piku_procfs::process_tree(own).into_iter().filter(|pid| *pid != own) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if wanted {
            return ExitCode::SUCCESS;
        }
        log(&status
            .map_or_else(|| "nginx has ended".to_owned(), |status| format!("nginx has ended: {status}")));
        ExitCode::FAILURE
    }
}

/// Returns a timer that never expires and becomes readable when the clock is set.
fn watch_clock() -> std::io::Result<CronTimer> {
    let timer = CronTimer::new()?;
    timer.set(None)?;
    Ok(timer)
}

/// Watches for the removal of the marker that exists during a reload. Tests of a configuration remove
/// directories there too.
fn watch_reloads(web: &WebServer) -> Option<Inotify> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
    watch.add_watch(web.dir.path(), AddWatchFlags::IN_DELETE).ok()?;
    Some(watch)
}

pub(crate) fn log(text: &str) {
    // stderr may be closed; then the line is dropped.
    let _ = writeln!(std::io::stderr().lock(), "piku-run: {text}");
}
