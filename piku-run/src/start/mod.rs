//! `piku-run start [DIR]`: a foreman for any directory with a Procfile. It uses the supervisor's state
//! machine with a terminal in place of logs, records and sockets, and needs neither piku's root directory
//! nor a jail.

mod env_files;
mod formation;
mod printer;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, pipe2};
use piku_procfile::command::argv;
use piku_procfile::procfile::{self, ParseOptions, ProcessKind, Procfile, ProcfileEntry};

use crate::cli;
use crate::core::{
    CoreAction, CoreEvent, InstanceId, InstanceName, JobId, OnExit, ProbePace, ProcessExit, ProcessType,
    RunPlan, SupervisorCore,
};
use crate::instance::environment::Vars;
use crate::instance::launch;
use crate::ports;
use crate::process::family::ProcessFamily;
use crate::process::leftovers::MARK;
use crate::process::wait::{self, READ};
use crate::process::{reap, signals};

use env_files::EnvFiles;
use printer::LinePrinter;

/// Distance between the ports of two process types.
const STRIDE: u16 = 100;

/// A process of the foreman.
#[derive(Debug)]
struct ForemanChild {
    pid: Pid,
    output: File,
    partial: Vec<u8>,
    mark: String,
}

impl ForemanChild {
    fn family(&self) -> ProcessFamily<'_> {
        ProcessFamily { leader: self.pid, mark: Some(&self.mark) }
    }
}

#[derive(Debug)]
struct ForemanLoop {
    dir: PathBuf,
    /// Entries of the Procfile, in order.
    entries: Vec<ProcfileEntry>,
    first_port: u16,
    env: EnvFiles,
    core: SupervisorCore,
    born: Instant,
    children: BTreeMap<InstanceId, ForemanChild>,
    events: VecDeque<CoreEvent>,
    printer: LinePrinter,
    signals: SignalFd,
    /// Exit status of the first process that failed.
    failed: Option<ProcessExit>,
    /// Number of stop signals received.
    told: u32,
}

#[derive(Debug, Clone, Copy)]
enum ForemanToken {
    Signals,
    Output(InstanceId),
}

/// Runs until all processes have ended.
pub(crate) fn run(typed: cli::StartArgs) -> anyhow::Result<ExitCode> {
    let dir =
        std::path::absolute(&typed.dir).with_context(|| format!("cannot find '{}'", typed.dir.display()))?;
    let file = typed.procfile.unwrap_or_else(|| dir.join(procfile::FILE));
    let file = Procfile::read(&file, ParseOptions::default())?;
    let (mut entries, once): (Vec<ProcfileEntry>, Vec<ProcfileEntry>) = file
        .entries
        .into_iter()
        .filter(|entry| entry.kind != ProcessKind::Static)
        .partition(|entry| entry.kind.is_long_running());
    // After the others, whose ports then do not depend on these.
    entries.extend(once);
    let wanted = formation::types(&entries, &typed.formation)?;
    let env = EnvFiles::new(&dir, typed.env)?;
    let first_port = env.first_port(typed.port)?;
    formation::check_ports(first_port, &wanted)?;
    let width = |kind: &ProcessType| kind.name.as_str().len() + 1 + kind.count.to_string().len();
    let width = wanted.iter().filter(|kind| kind.count > 0).map(width).max();
    let mut printer = LinePrinter::new(width.unwrap_or(0));
    for warning in file.warnings {
        printer.print_remark(&warning.to_string());
    }
    for (entry, kind) in entries.iter().zip(&wanted) {
        if let Some(when) =
            formation::when(entry.kind).filter(|_| kind.count == 0 && typed.formation.is_empty())
        {
            let name = &entry.name;
            printer
                .print_remark(&format!("{name} is not started: it runs {when}; once and now: -m {name}=1"));
        }
    }
    signals::default_dispositions();
    let signals = wait::signals(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    set_child_subreaper(true).context("cannot become a subreaper")?;
    let mut foreman = ForemanLoop {
        env,
        dir,
        entries,
        first_port,
        core: SupervisorCore::new(OnExit::StopAll, InstanceId(0)),
        born: Instant::now(),
        children: BTreeMap::new(),
        events: VecDeque::new(),
        printer,
        signals,
        failed: None,
        told: 0,
    };
    let grace = Duration::from_secs(typed.timeout);
    let plan = RunPlan {
        release: 0,
        types: wanted,
        ready_within: Duration::MAX / 4,
        crons: Vec::new(),
        pace: ProbePace::default(),
        grace,
        asked: String::new(),
        expected: "",
        listen_ports: Vec::new(),
        app: String::new(),
    };
    foreman.tell_core(CoreEvent::Boot { plan: Some(plan), found: Vec::new() });
    foreman.handle_events()
}

impl ForemanLoop {
    fn handle_events(&mut self) -> anyhow::Result<ExitCode> {
        while !self.core.is_idle() {
            let mut watched = vec![(self.signals.as_fd(), READ, ForemanToken::Signals)];
            watched.extend(
                self.children.iter().map(|(id, one)| (one.output.as_fd(), READ, ForemanToken::Output(*id))),
            );
            let now = self.born.elapsed();
            let timeout = self.core.next_deadline().map(|deadline| deadline.saturating_sub(now));
            for token in wait::wait(&watched, timeout)? {
                match token {
                    ForemanToken::Signals => self.handle_signal(),
                    ForemanToken::Output(id) => {
                        self.take_output(id);
                    }
                }
            }
            self.tell_core(CoreEvent::Tick);
        }
        let code = self.failed.map_or(0, ProcessExit::code);
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }

    fn handle_signal(&mut self) {
        for signal in wait::received(&self.signals) {
            if signal == Signal::SIGCHLD {
                self.reap_children();
                continue;
            }
            self.told += 1;
            if self.told == 1 {
                self.printer.print_remark(&format!("{signal}, stopping all"));
                self.events.push_back(CoreEvent::Stop { job: JobId(0) });
            } else {
                // A second signal kills at once.
                self.children.values().for_each(|child| child.family().kill());
            }
        }
    }

    fn reap_children(&mut self) {
        while let Some((pid, exit)) = reap::reap_child() {
            let id = self.children.iter().find(|(_, child)| child.pid == pid).map(|(id, _)| *id);
            if let Some(id) = id {
                self.handle_end(id, exit);
            }
        }
    }

    fn handle_end(&mut self, id: InstanceId, exit: ProcessExit) {
        let Some(child) = self.children.get(&id) else { return };
        child.family().kill_leftovers();
        while self.take_output(id) {}
        if let (Some(child), Some(one)) = (self.children.remove(&id), self.core.instance(id)) {
            if !child.partial.is_empty() {
                self.printer.print_line(&one.ps.to_string(), &child.partial);
            }
            // A process that was stopped has not failed.
            if !one.is_leaving() && !exit.is_success() && self.failed.is_none() && self.told == 0 {
                self.failed = Some(exit);
            }
        }
        self.events.push_back(CoreEvent::Exited { id, exit });
    }

    /// Reads the output of an instance once. Returns whether there was any.
    fn take_output(&mut self, id: InstanceId) -> bool {
        const LONGEST: usize = 64 * 1024;
        let (Some(child), Some(one)) = (self.children.get_mut(&id), self.core.instance(id)) else {
            return false;
        };
        let mut buffer = [0; 16 * 1024];
        let count = match child.output.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            Err(err) if err.kind() == ErrorKind::Interrupted => return true,
            _ => return false,
        };
        child.partial.extend_from_slice(&buffer[..count]);
        let ps = one.ps.to_string();
        let mut begin = 0;
        while let Some(length) = child.partial[begin..].iter().position(|b| *b == b'\n') {
            self.printer.print_line(&ps, &child.partial[begin..begin + length]);
            begin += length + 1;
        }
        child.partial.drain(..begin);
        if child.partial.len() > LONGEST {
            self.printer.print_line(&ps, &std::mem::take(&mut child.partial));
        }
        true
    }

    fn tell_core(&mut self, event: CoreEvent) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            for action in self.core.handle_event(self.born.elapsed(), event) {
                self.perform_action(action);
            }
        }
    }

    fn perform_action(&mut self, action: CoreAction) {
        match action {
            CoreAction::Spawn { id } => {
                let event = match self.spawn_process(id) {
                    Ok(port) => CoreEvent::Spawned { id, port },
                    Err(err) => {
                        self.failed = self.failed.or(Some(ProcessExit::Code(1)));
                        CoreEvent::SpawnFailed { id, reason: format!("{err:#}") }
                    }
                };
                self.events.push_back(event);
            }
            CoreAction::Terminate { id } => {
                if let Some(one) = self.children.get(&id) {
                    one.family().terminate();
                }
            }
            CoreAction::Kill { id } => {
                if let Some(one) = self.children.get(&id) {
                    one.family().kill();
                }
            }
            CoreAction::LogRemark { text, .. } => self.printer.print_remark(&text),
            // Belong to changes and health checks, which a foreman has not.
            _ => {}
        }
    }

    fn spawn_process(&mut self, id: InstanceId) -> anyhow::Result<Option<u16>> {
        let ps = self.core.instance(id).context("no such instance")?.ps.clone();
        let mut vars = self.environment(&ps)?;
        let mark = format!("{}.{}", std::process::id(), id.0);
        vars.insert(MARK.to_owned(), mark.clone());
        let entry = self.entries.iter().find(|entry| entry.name == ps.kind).context("no such type")?;
        let line = match entry.kind {
            ProcessKind::Wsgi => format!("gunicorn --bind 127.0.0.1:$PORT {}", entry.command),
            _ => entry.command.clone(),
        };
        let [program, args @ ..] = argv(&line);
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(&vars).current_dir(&self.dir);
        let (output, end) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot set up a pipe")?;
        let waiting = launch::prepare(&command, end.as_fd(), &[]).context("cannot start a process")?;
        let pid = waiting.pid();
        let port = self.choose_port(&ps);
        if entry.kind.has_port() && !ports::is_free(port, true).unwrap_or(true) {
            self.printer
                .print_remark(&format!("PORT {port} is not free: {ps} will not be able to listen there"));
        }
        self.printer.print_remark(&format!("{ps} has started, pid {pid}, PORT {port}"));
        waiting.open_gate().context("it ended at once")?;
        self.children.insert(id, ForemanChild { pid, output: File::from(output), partial: Vec::new(), mark });
        Ok(None)
    }

    /// Returns the caller's environment, the foreman's variables and those of the environment files, in this
    /// order.
    fn environment(&self, ps: &InstanceName) -> anyhow::Result<Vars> {
        let mut vars = env_files::inherited();
        vars.insert("PORT".to_owned(), self.choose_port(ps).to_string());
        vars.insert("PS".to_owned(), ps.to_string());
        vars.insert("PROC_TYPE".to_owned(), ps.kind.to_string());
        self.env.extend(vars)
    }

    fn choose_port(&self, ps: &InstanceName) -> u16 {
        let at = self.entries.iter().position(|entry| entry.name == ps.kind).unwrap_or(0);
        let offset = u16::try_from(at).unwrap_or(0).saturating_mul(STRIDE);
        self.first_port.saturating_add(offset).saturating_add(u16::try_from(ps.index - 1).unwrap_or(0))
    }
}
