//! Processes of instances: started after their record is written, adopted by it, read from, ended.

#![expect(
    clippy::disallowed_methods,
    reason = "pipes and spools of instances in the folder of what runs, which only piku writes"
)]

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use nix::unistd::Pid;
use piku_chroot::jail::JailSpec;
use piku_chroot::{limits as jail_limits, report};
use piku_layout::settings::{AppUsers, HostSettings};
use piku_procfile::command::argv;
use piku_procfile::schedule;
use rustix::process::{PidfdFlags, pidfd_open};

use super::AppSupervisor;
use super::process_ends::InstanceEnd;
use crate::core::{InstanceId, InstanceName, InstanceState, JobId};
use crate::desired::{extra_listen_ports, limits};
use crate::grants::resolve_grants;
use crate::instance::environment::{AppIsolation, CommandOptions, ProcessRole, ReleaseContext, Vars};
use crate::instance::launch;
use crate::instance::ready_socket::{self, NotifySocket};
use crate::instance::record::{RecordFolder, StartCount, WorkerRecord};
use crate::lock;
use crate::log::{BlockBuffer, LogIntake, LogWriter, open_fifo, open_fifo_for_worker, recover_spool};
use crate::process::family::ProcessFamily;
use crate::process::leftovers::MARK;
use crate::process::processor_meter::ProcessorMeter;
use crate::releases::current;

/// Id of the release task; instances have ids from 1.
pub(super) const TASK: InstanceId = InstanceId(0);

/// Longest line of a release task that is shown.
const LINE_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct InstanceProcess {
    pub(super) pid: Pid,
    /// For an adopted process, which is not a child: signals its end.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) record: WorkerRecord,
    pub(super) output: LogIntake,
    pub(super) log: LogWriter,
    /// Socket for its readiness notifications.
    pub(super) notify: Option<NotifySocket>,
    /// Output of the release task after its last newline.
    partial: Vec<u8>,
    pub(super) processor: ProcessorMeter,
    /// Its end, once the process has ended: the pid is that of nobody, or of another process.
    pub(super) end: Option<InstanceEnd>,
    /// Set if its jail was to have the prepared root.
    pub(super) uses_prepared_root: bool,
}

impl InstanceProcess {
    /// Adopts a running process.
    pub(super) fn adopt(
        record: WorkerRecord,
        records: &RecordFolder,
        mut log: LogWriter,
    ) -> anyhow::Result<Self> {
        let known = rustix::process::Pid::from_raw(record.pid).context("no pid")?;
        // From here on its pid is not used again, or the descriptor reports its end.
        let pidfd = pidfd_open(known, PidfdFlags::empty()).context("cannot open its pidfd")?;
        anyhow::ensure!(record.is_alive(), "it has just ended");
        let fifo = open_fifo(&records.fifo(record.id)).context("cannot open its fifo")?;
        let output = LogIntake::open(fifo, &records.spool(record.id), &mut log);
        // Notifications were lost meanwhile. The process counts as ready, and its next notifications must
        // not fail.
        let folder = records.notify(record.id);
        let notify = folder.is_dir().then(|| NotifySocket::bind(&folder)).transpose();
        let notify = notify.context("cannot listen for its readiness")?;
        Ok(Self::new(record, Some(pidfd), output, log, notify))
    }

    /// Returns the process of a record. `pidfd` is that of an adopted one.
    fn new(
        record: WorkerRecord,
        pidfd: Option<OwnedFd>,
        output: LogIntake,
        log: LogWriter,
        notify: Option<NotifySocket>,
    ) -> Self {
        let processor = ProcessorMeter::new(record.pid, record.start);
        let pid = Pid::from_raw(record.pid);
        Self {
            pid,
            pidfd,
            record,
            output,
            log,
            notify,
            partial: Vec::new(),
            processor,
            end: None,
            uses_prepared_root: false,
        }
    }

    pub(super) fn is_child(&self, pid: Pid) -> bool {
        self.pidfd.is_none() && self.end.is_none() && self.pid == pid
    }

    pub(super) fn family(&self) -> ProcessFamily<'_> {
        ProcessFamily { leader: self.pid, mark: self.record.mark.as_deref() }
    }

    /// Reads its output once and logs it. Returns whole lines for the release task; `None` if there was no
    /// output.
    pub(super) fn take_output(&mut self, buffer: &mut BlockBuffer) -> Option<Vec<String>> {
        let bytes = self.output.move_to_log(&mut self.log, buffer)?;
        if self.record.id != TASK {
            return Some(Vec::new());
        }
        self.partial.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            lines.push(shown(&self.partial[..end]));
            self.partial.drain(..=end);
        }
        if self.partial.len() > LINE_BYTES {
            lines.extend(self.drain_output());
        }
        Some(lines)
    }

    /// Returns the last line of the release task if it has no newline.
    pub(super) fn drain_output(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.is_empty()).then(|| shown(&rest))
    }
}

/// Returns the command line of a process type, without the schedule in front of that of a cron job.
fn command_line<'a>(world: &'a ReleaseContext, kind: &str, runs: StartCount) -> anyhow::Result<&'a str> {
    let line = world.release.processes.get(kind).with_context(|| format!("the release has no '{kind}'"))?;
    if runs != StartCount::Once {
        return Ok(line);
    }
    Ok(schedule::split_schedule(line).map_or(line, |(_, command)| command))
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES)]).trim_end_matches('\r').to_owned()
}

/// Kills the remaining processes of an instance that is not adopted, and logs its last output.
pub(super) fn clear_away(record: &WorkerRecord, records: &RecordFolder, log: io::Result<LogWriter>) {
    if let Ok(spool) = File::options().read(true).write(true).open(records.spool(record.id)) {
        // Output that cannot be logged now is lost.
        let _ = log.and_then(|mut log| recover_spool(&spool, &mut log));
    }
    if record.boot != piku_procfs::boot_id() {
        return;
    }
    let family = ProcessFamily { leader: Pid::from_raw(record.pid), mark: record.mark.as_deref() };
    if record.is_alive() {
        family.kill();
        if let Some(mut search) = family.search_leftovers() {
            search.advance(Duration::MAX);
        }
    } else {
        family.kill_leftovers();
    }
}

impl AppSupervisor {
    /// Starts the process of an instance. Returns its port.
    pub(super) fn spawn(&mut self, id: InstanceId) -> anyhow::Result<Option<u16>> {
        let one = self.core.instance(id).context("no such instance")?;
        let (ps, release, restarts, live) = (one.ps.clone(), one.release, one.restarts, one.live);
        let (listens, kept, moves, pinned) = (one.must_listen, one.port, one.port_moves, one.pinned);
        let is_cron = matches!(one.state, InstanceState::CronRun { .. });
        match pinned {
            Some(port) if listens => self.claim_pinned_port(id, port)?,
            None if listens => self.claim_port(id, release, kept, moves)?,
            _ => {}
        }
        let port = self.ports.get(&id).map(crate::ports::PortClaim::port);
        let runs = if is_cron { StartCount::Once } else { StartCount::Always };
        let settings = self.current_settings();
        let record =
            WorkerRecord { port, live, restarts, runs, ..self.new_record(id, ps, release, &settings) };
        let worker = self.start_process(record, settings)?;
        self.workers.insert(id, worker);
        Ok(port)
    }

    /// Starts the process of an instance again, whose jail could not be made with the prepared root.
    pub(super) fn spawn_without_prepared_root(&mut self, record: WorkerRecord) -> anyhow::Result<()> {
        self.prepared.give_up();
        let id = record.id;
        self.counter += 1;
        let record = WorkerRecord { pid: 0, start: 0, mark: None, since: Timestamp::now(), ..record };
        let settings = self.current_settings();
        let worker = self.start_process(record, settings)?;
        self.workers.insert(id, worker);
        Ok(())
    }

    pub(super) fn start_task(&mut self, release: u64, job: JobId) -> anyhow::Result<()> {
        self.say_step(job, "Running the release task");
        let ps = InstanceName { kind: "release".parse()?, index: 1 };
        let settings = self.current_settings();
        let record = WorkerRecord { task: true, ..self.new_record(TASK, ps, release, &settings) };
        let worker = self.start_process(record, settings)?;
        self.workers.insert(TASK, worker);
        Ok(())
    }

    /// Returns the users of the app: those of its running processes, if any, since all share the same data.
    fn app_users(&self, settings: &HostSettings) -> AppUsers {
        let other = self.workers.values().next().map(|worker| worker.record.users);
        other.unwrap_or(settings.app_users)
    }

    /// Returns the current host settings; those of this supervisor's start if the file cannot be read.
    pub(super) fn current_settings(&self) -> HostSettings {
        HostSettings::read(&self.root.settings()).unwrap_or_else(|_| self.settings.clone())
    }

    /// Returns the record of a process that is not started yet.
    fn new_record(
        &mut self,
        id: InstanceId,
        ps: InstanceName,
        release: u64,
        settings: &HostSettings,
    ) -> WorkerRecord {
        self.counter += 1;
        WorkerRecord {
            id,
            ps,
            release,
            port: None,
            pid: 0,
            start: 0,
            boot: piku_procfs::boot_id(),
            mark: None,
            users: self.app_users(settings),
            since: Timestamp::now(),
            live: false,
            ready: false,
            restarts: 0,
            limits: String::new(),
            runs: StartCount::default(),
            task: false,
        }
    }

    fn start_process(
        &mut self,
        mut record: WorkerRecord,
        settings: HostSettings,
    ) -> anyhow::Result<InstanceProcess> {
        let world = match self.worlds.get(&record.release) {
            Some((world, _)) => world.clone(),
            None => std::rc::Rc::new(ReleaseContext::read(&self.root, &self.app, record.release)?),
        };
        let kind = record.ps.kind.as_str();
        let line = command_line(&world, kind, record.runs)?;
        let name = record.ps.to_string();
        let role = ProcessRole { ps: &name, kind, port: record.port };
        let mut vars = world.vars(role)?;
        if !world.release.jailed {
            let mark = format!("{}.{}.{}.{}", self.app, std::process::id(), record.id.0, self.counter);
            vars.insert(MARK.to_owned(), mark.clone());
            record.mark = Some(mark);
        }
        current::create_data_dir(&self.dir)?;
        let report = self.records.report(record.id);
        // The report of the previous process has been read.
        current::remove_dir(&report)?;
        record.limits = limits::of(kind, &vars)?;
        let folder = self.records.notify(record.id);
        let notifies = self.core.instance(record.id).is_some_and(|one| one.pace.announced);
        let notify = notifies.then(|| NotifySocket::bind(&folder)).transpose();
        let notify = notify.context("cannot listen for its readiness")?;
        if notifies {
            let path = NotifySocket::path(&folder, world.release.jailed);
            vars.insert(ready_socket::VARIABLE.to_owned(), path.display().to_string());
        }
        let (jail, remarks) =
            self.jail_of(&world, &record, &vars, notifies.then_some(folder.as_path()), settings)?;
        let prepared = jail.as_ref().and_then(|jail| self.prepared_root(jail, &vars));
        let prepared = prepared.as_ref().map(AsFd::as_fd);
        let jail = jail.map(|jail| prepared.into_iter().fold(jail, JailSpec::prepared));
        let command = world.command_in(jail.as_ref(), &vars, &argv(line))?;

        let mut log = self.open_log(&name).context("cannot open its log")?;
        for warning in remarks {
            log.write_remark(&warning, Timestamp::now());
        }
        let (output, end) = self.open_output(&record, &mut log)?;
        let lock = lock::try_lock(&self.records.lock(record.id)).context("cannot lock")?;
        let lock = lock.context("the one before it is still there")?;
        let mut kept = vec![lock.as_fd()];
        kept.extend(self.ports.get(&record.id).map(crate::ports::PortClaim::fd));
        kept.extend(prepared);

        let waiting = if world.is_jailed() {
            launch::prepare_gated(command, end.as_fd(), &kept)
        } else {
            launch::prepare(&command, end.as_fd(), &kept)
        };
        let waiting = waiting.context("cannot start a process")?;
        let pid = waiting.pid();
        record.pid = pid.as_raw();
        record.start = piku_procfs::ProcessStat::read(record.pid).context("it ended at once")?.start;
        if !world.release.jailed {
            jail_limits::set_rlimits_on(&record.limits, pid).context("cannot limit it")?;
        }
        self.records.write(&record).context("cannot write its record")?;
        waiting.open_gate().context("it ended at once")?;
        // The instance is starting meanwhile.
        if let Err(err) = self.prepared.make_if_due() {
            let what = "the app's instances start more slowly: cannot prepare their jails";
            log.write_remark(&format!("{what}: {err:#}"), Timestamp::now());
        }
        let uses_prepared_root = prepared.is_some();
        Ok(InstanceProcess { uses_prepared_root, ..InstanceProcess::new(record, None, output, log, notify) })
    }

    /// Returns the jail of a process, if the release has one, and remarks for its log. It is told to report its readiness
    /// in the folder `notify`, if there is one.
    fn jail_of(
        &self,
        world: &ReleaseContext,
        record: &WorkerRecord,
        vars: &Vars,
        notify: Option<&Path>,
        settings: HostSettings,
    ) -> anyhow::Result<(Option<JailSpec>, Vec<String>)> {
        let listen = extra_listen_ports(vars, &self.settings)?;
        let tmp_size = limits::tmp_size(record.ps.kind.as_str(), vars)?;
        let (grants, remarks) = resolve_grants(&self.root, settings.grants.of(&self.app), record.users);
        let around = CommandOptions {
            limits: &record.limits,
            tmp_size: tmp_size.as_deref(),
            notify,
            listen: &listen,
            grants: &grants,
            port: record.port,
            gated: true,
            ..CommandOptions::default()
        };
        let isolation = AppIsolation::new(record.users, settings);
        Ok((world.jail(&isolation, vars, &self.records.report(record.id), around)?, remarks))
    }

    /// Opens the fifo for the output of a process: the end that is read into its log, and the end of the process.
    fn open_output(
        &self,
        record: &WorkerRecord,
        log: &mut LogWriter,
    ) -> anyhow::Result<(LogIntake, OwnedFd)> {
        let fifo = self.records.fifo(record.id);
        let output = open_fifo(&fifo).context("cannot make its fifo")?;
        let output = LogIntake::open(output, &self.records.spool(record.id), log);
        let end = open_fifo_for_worker(&fifo).context("cannot open its fifo")?;
        if record.users == AppUsers::Own {
            // For programs that open /dev/stdout again. Only piku can enter the directory of the fifo.
            fs::set_permissions(&fifo, Permissions::from_mode(0o622)).context("cannot share its fifo")?;
        }
        Ok((output, end))
    }

    /// Returns the prepared root for the next jail, if it would use one.
    fn prepared_root(&mut self, jail: &JailSpec, vars: &Vars) -> Option<Rc<OwnedFd>> {
        let spec = jail.to_prepared(vars.get("HOME").map(String::as_str))?;
        let reports = self.workers.keys().map(|id| report::read(&self.records.report(*id)).0);
        if spec.has_own_user() && reports.flatten().any(|started| started.counts_processes_by_user()) {
            self.prepared.keep_apart();
        }
        self.prepared.for_next(spec, &self.root.uid_ranges())
    }

    /// Writes the record of an instance that has become ready or live.
    pub(super) fn write_down(&mut self, id: InstanceId) {
        let (Some(one), Some(worker)) = (self.core.instance(id), self.workers.get_mut(&id)) else { return };
        worker.record.live = one.live;
        // Also for a leaving instance: the next supervisor lets it finish its requests.
        worker.record.ready = one.is_up() || one.is_leaving() && one.routed.is_some();
        if let Err(err) = self.records.write(&worker.record) {
            self.log_error(&format!("cannot write the record of {}: {err}", one.ps));
        }
    }
}
