//! `piku-run nginx`: keeps piku's nginx running, in the foreground, for a unit as for a terminal. It writes the file of the
//! instance, starts nginx, has the apps put in what has changed, and stays until nginx ends or it is told to.
//!
//! nginx outlives a keeper that is killed; the next one takes it up.

#![expect(
    clippy::disallowed_methods,
    reason = "nginx's folder and the names of apps, which only piku writes"
)]

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::{BUSY, UserError};
use rustix::process::{PidfdFlags, pidfd_open};

use super::WebServer;
use super::master::NginxMaster;
use super::program::NginxProgram;
use super::sites_folder;
use crate::cron::CronTimer;
use crate::ipc::client;
use crate::ipc::client::AskPatience;
use crate::ipc::protocol::SupervisorRequest;
use crate::lock::FileLock;
use crate::process::wait::{self, READ};
use crate::process::{self, signals, tree};
use crate::releases::current;

/// The subcommand's name.
pub(crate) const NAME: &str = "nginx";

/// How long nginx may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the size of the access log is looked at, and what it may be.
const LOG_PAUSE: Duration = Duration::from_secs(600);
const LOG_BYTES: u64 = 16 << 20;

/// An nginx that is kept.
struct KeptNginx {
    web: WebServer,
    master: NginxMaster,
    pidfd: OwnedFd,
    /// Tells when somebody sets the clock.
    clock: CronTimer,
    /// Nothing when another keeper has started it.
    child: Option<Child>,
    _lock: FileLock,
}

#[derive(Debug, Clone, Copy)]
enum KeeperToken {
    Signals,
    Ended,
    ClockSet,
}

/// Runs until it is told to end, or until nginx ends.
pub(crate) fn run(root: &PikuRoot) -> anyhow::Result<ExitCode> {
    let web = WebServer::of(root)?;
    if !web.settings.enabled {
        let hint = format!("set 'nginx: {{enabled: true}}' in '{}'", root.settings().display());
        return Err(UserError::new("nginx is off on this machine").hint(hint).into());
    }
    let nginx = NginxProgram::needed()?;
    web.folder.make()?;
    current::make(&root.acme().join("webroot/.well-known/acme-challenge"))?;
    let path = web.folder.keeper_lock();
    let lock = FileLock::take(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
    let Some(mut lock) = lock else {
        return Err(UserError::new("piku's nginx is kept running already").code(BUSY).into());
    };
    lock.sign().context("cannot sign the lock")?;
    signals::default_dispositions();
    let signals = wait::signals(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1])?;
    // Workers whose master was killed hold its ports. They come to this process, which ends them.
    set_child_subreaper(true).context("cannot become a subreaper")?;

    let mut kept = begin(web, &nginx, lock)?;
    say(&format!("nginx serves, pid {}", kept.master.pid));
    let poke = kept.web.clone();
    // The supervisors know of what this machine has become.
    std::thread::spawn(move || have_all_put_in(&poke));
    kept.work(&signals)
}

/// Starts nginx, or takes up the one that runs. Nobody changes a file from before they are read until it can be told.
fn begin(web: WebServer, nginx: &NginxProgram, lock: FileLock) -> anyhow::Result<KeptNginx> {
    let files = web.folder.lock()?;
    web.leave_out(nginx)?;
    sites_folder::write(&web.folder.main(), web.instance(nginx)?.file()?.as_bytes())?;
    let (master, child) = if let Some(master) = NginxMaster::find(&web.folder) {
        master.reload(&web.folder)?;
        (master, None)
    } else {
        let (master, child) = web.start(nginx)?;
        (master, Some(child))
    };
    web.folder.set_untold(false)?;
    drop(files);
    let pid = rustix::process::Pid::from_raw(master.pid.as_raw()).context("no pid")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("nginx has just ended")?;
    let clock = watch_clock().context("cannot make a timer")?;
    Ok(KeptNginx { web, master, pidfd, clock, child, _lock: lock })
}

impl WebServer {
    /// Leaves out the files that are no good any more: ports that were given before the machine was booted are others' by
    /// now; and one app's file that has gone bad keeps no other from being served.
    fn leave_out(&self, nginx: &NginxProgram) -> anyhow::Result<()> {
        let boot = process::boot_id();
        for (app, _) in self.folder.apps()? {
            let about = self.folder.about(&app);
            let is_stale = about.is_none_or(|about| about.boot.is_some_and(|of| of != boot));
            if is_stale || !self.root.app(&app).path().is_dir() {
                self.folder.remove(&app)?;
            }
        }
        if let Err(said) = self.test_files(nginx, &self.folder.apps()?)? {
            let mut good: Vec<(AppName, String)> = Vec::new();
            for (app, text) in self.folder.apps()? {
                good.push((app.clone(), text));
                if let Err(said) = self.test_files(nginx, &good)? {
                    good.pop();
                    self.folder.remove(&app)?;
                    say(&format!("{app} is left out: {said}"));
                }
            }
            if good.is_empty() {
                self.test_files(nginx, &[])?
                    .map_err(|_| UserError::new(format!("nginx does not take its file: {said}")))?;
            }
        }
        Ok(())
    }

    fn start(&self, nginx: &NginxProgram) -> anyhow::Result<(NginxMaster, Child)> {
        // One that a dead nginx has left.
        current::remove(&self.folder.pid())?;
        self.rotate()?;
        let mut command = nginx.command(&self.folder.main());
        command.args(["-g", &NginxProgram::globals("daemon off;")]).stdout(Stdio::null());
        let mask = SigSet::thread_get_mask().context("cannot read the signal mask")?;
        // What is started inherits the mask.
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
                    "it says why above; it needs {} for itself, and a port below 1024 needs CAP_NET_BIND_SERVICE, \
                     which piku-nginx.service has",
                    sockets.join(" and ")
                );
                return Err(UserError::new(what).hint(hint).into());
            }
            if let Some(master) = NginxMaster::find(&self.folder).filter(|master| master.serves()) {
                return Ok((master, child));
            }
            if since.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(UserError::new("nginx does not begin to serve").into());
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Puts a long access log aside; whether there was one. One of before is kept.
    fn rotate(&self) -> anyhow::Result<bool> {
        let path = self.folder.access_log();
        let is_long = fs::metadata(&path).is_ok_and(|about| about.len() > LOG_BYTES);
        if is_long {
            let old = path.with_extension("log.1");
            fs::rename(&path, &old).with_context(|| format!("cannot rename '{}'", path.display()))?;
        }
        Ok(is_long)
    }
}

impl KeptNginx {
    fn work(&mut self, signals: &nix::sys::signalfd::SignalFd) -> anyhow::Result<ExitCode> {
        // Once it has been told to end: when patience is over.
        let mut end: Option<Instant> = None;
        loop {
            let watched = [
                (signals.as_fd(), READ, KeeperToken::Signals),
                (self.pidfd.as_fd(), READ, KeeperToken::Ended),
                (self.clock.as_fd(), READ, KeeperToken::ClockSet),
            ];
            let timeout = end.map_or(LOG_PAUSE, |end| end.saturating_duration_since(Instant::now()));
            for token in wait::wait(&watched, Some(timeout))? {
                match token {
                    KeeperToken::Ended => return Ok(self.ended(end.is_some())),
                    // A certificate may have ended long ago by now, or not have begun.
                    KeeperToken::ClockSet => {
                        self.clock.heard();
                        let web = self.web.clone();
                        std::thread::spawn(move || have_all_put_in(&web));
                    }
                    KeeperToken::Signals => {
                        for signal in wait::received(signals) {
                            self.signalled(signal, &mut end);
                        }
                    }
                }
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                self.tell(Signal::SIGTERM);
                end = Some(Instant::now() + Duration::from_secs(1));
            } else if self.web.rotate()? {
                self.tell(Signal::SIGUSR1);
            }
        }
    }

    fn signalled(&mut self, signal: Signal, end: &mut Option<Instant>) {
        match signal {
            Signal::SIGHUP => {
                if let Err(err) = self.read_again() {
                    say(&format!("{err:#}"));
                }
            }
            Signal::SIGUSR1 => self.tell(Signal::SIGUSR1),
            // Whoever says it twice does not want to wait.
            _ if end.is_some() => self.tell(Signal::SIGTERM),
            _ => {
                // It finishes the requests that it has.
                self.tell(Signal::SIGQUIT);
                *end = Some(Instant::now() + Duration::from_secs(u64::from(self.web.settings.drain)));
            }
        }
    }

    /// Another `host.yaml`.
    fn read_again(&mut self) -> anyhow::Result<()> {
        self.web = WebServer::of(&self.web.root)?;
        let nginx = NginxProgram::needed()?;
        let files = self.web.folder.lock()?;
        sites_folder::write(&self.web.folder.main(), self.web.instance(&nginx)?.file()?.as_bytes())?;
        self.master.reload(&self.web.folder)?;
        drop(files);
        let web = self.web.clone();
        // Not here: nginx is looked after meanwhile.
        std::thread::spawn(move || have_all_put_in(&web));
        Ok(())
    }

    fn tell(&self, signal: Signal) {
        let _ = kill(self.master.pid, signal);
    }

    /// nginx has ended, and nothing of it stays.
    fn ended(&mut self, wanted: bool) -> ExitCode {
        let status = self.child.as_mut().and_then(|child| child.wait().ok());
        let own = std::process::id();
        for pid in tree::of(own).into_iter().filter(|pid| *pid != own) {
            let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)), Signal::SIGKILL);
        }
        if wanted {
            return ExitCode::SUCCESS;
        }
        say(&status
            .map_or_else(|| "nginx has ended".to_owned(), |status| format!("nginx has ended: {status}")));
        ExitCode::FAILURE
    }
}

/// A timer that ends when the clock is set, and at no time.
fn watch_clock() -> std::io::Result<CronTimer> {
    let timer = CronTimer::new()?;
    timer.set(None)?;
    Ok(timer)
}

/// Has each supervisor that runs put its app in as it is now. One that does not answer keeps none of the others waiting.
fn have_all_put_in(web: &WebServer) {
    let put_in = |app: &AppName| {
        if client::is_supervised(&web.root, app) {
            if let Err(err) = client::ask_within(&web.root, app, &SupervisorRequest::Route, AskPatience::EACH)
            {
                say(&format!("{app}: {err:#}"));
            }
        }
    };
    let apps = web.root.apps().unwrap_or_default();
    std::thread::scope(|scope| {
        for app in &apps {
            scope.spawn(|| put_in(app));
        }
    });
}

/// To whoever reads this process's log.
fn say(text: &str) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "piku-run: {text}");
}
