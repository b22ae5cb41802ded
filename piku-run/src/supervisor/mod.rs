//! `piku-run supervise APP`: the supervisor of one app, an event loop around the state machine in `core`.
//! It may be killed at any time: its state is on disk or held by the kernel, and its successor adopts the
//! running processes.

mod actions;
mod boot_slot;
mod client_requests;
pub(crate) mod crash_hints;
mod cron_jobs;
mod events;
mod health_checks;
mod log_forwarding;
mod logs;
mod memory_shortage;
mod port_claims;
mod process_ends;
mod routing;
mod scaling;
mod status;
mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::user_error::{BUSY, UserError};

use crate::core::{CoreEvent, FoundWorker, InstanceId, JobId, OnExit, SupervisorCore};
use crate::cron::{AppCrontab, CronTimer};
use crate::desired::{self, HealthCheck};
use crate::instance::environment::ReleaseContext;
use crate::instance::health_probe::HealthProbe;
use crate::instance::prepared_root::AppRoot;
use crate::instance::record::{RecordFolder, StartCount};
use crate::ipc::connections::ClientTable;
use crate::ipc::socket::ControlSocket;
use crate::lock;
use crate::log::BlockBuffer;
use crate::nginx::SiteReachability;
use crate::ports::{self, PortClaim, PortGuard};
use crate::process::idle_memory::IdleMemory;
use crate::process::signals;
use crate::process::wait;
use crate::releases::current;
use crate::samples::SampledLimit;

pub(crate) use status::unknown;

use boot_slot::BootTurn;
use client_requests::PendingJob;
use memory_shortage::ShortageWatch;
use routing::OldWorkers;
use worker::{InstanceProcess, TASK};

pub(crate) const NAME: &str = "supervise";

/// Supervisor of one app.
#[derive(Debug)]
struct AppSupervisor {
    root: PikuRoot,
    app: AppName,
    dir: AppDir,
    settings: HostSettings,
    records: RecordFolder,
    core: SupervisorCore,
    born: Instant,
    workers: BTreeMap<InstanceId, InstanceProcess>,
    /// Claims, kept from one process of an instance to its next.
    ports: BTreeMap<InstanceId, PortClaim>,
    /// Reserved ports of instances that are down, so that no other process gets their requests.
    guards: BTreeMap<u16, PortGuard>,
    /// The kernel restricts each jail to its own ports.
    kernel_restricts_ports: bool,
    /// Time of the last search for other listeners on the ports of instances.
    watched_at: Duration,
    /// Descriptions of processes that have taken ports of instances.
    notes: BTreeMap<InstanceId, String>,
    probes: BTreeMap<InstanceId, HealthProbe>,
    /// Releases that have been read, by number.
    worlds: BTreeMap<u64, (Rc<ReleaseContext>, HealthCheck)>,
    /// Last log lines of instances on trial.
    tails: BTreeMap<InstanceId, Vec<String>>,
    /// Lines about writes that were refused to instances on trial and to the release task.
    refusals: BTreeMap<InstanceId, String>,
    /// Limits of the last processes of instances that wait for their restart.
    limits: BTreeMap<InstanceId, Vec<SampledLimit>>,
    crontab: AppCrontab,
    /// Timer on the wall clock, created for the first cron type.
    timer: Option<CronTimer>,
    jobs: BTreeMap<JobId, PendingJob>,
    /// Reachability of the app through nginx.
    reach: SiteReachability,
    /// Workers of nginx that may still send requests to retired instances.
    old: OldWorkers,
    clients: ClientTable,
    /// Prepared root for the next jail.
    prepared: AppRoot,
    /// Output on its way from any instance to its log.
    block: BlockBuffer,
    /// Clients that follow the logs.
    followers: BTreeSet<u64>,
    /// Time of the last progress message to waiting clients.
    beat: Duration,
    counter: u64,
    events: VecDeque<CoreEvent>,
    forwarder: log_forwarding::ForwarderState,
    shortage: ShortageWatch,
    memory: IdleMemory,
    /// Boot slot, for which other apps wait.
    turn: BootTurn,
    /// A shutdown was requested; nothing new is started.
    leaving: bool,
    listener: ControlSocket,
    signals: SignalFd,
    _lock: FileLock,
}

/// Supervises until a shutdown is requested or nothing is left to supervise.
pub(crate) fn run(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    current::create_dir(dir.run())?;
    let lock_path = current::supervisor_lock(&dir);
    let Some(mut lock) =
        lock::try_lock(&lock_path).with_context(|| format!("cannot lock '{}'", lock_path.display()))?
    else {
        return Err(UserError::new(format!("{app} has a supervisor already")).code(BUSY).into());
    };
    lock::write_pid(&mut lock).context("cannot sign the lock")?;
    signals::default_dispositions();
    let signals = wait::signals(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    // Orphans of an instance without a jail become children of this process instead of init's.
    set_child_subreaper(true).context("cannot become a subreaper")?;
    let settings = HostSettings::read(&root.settings())?;
    let records = RecordFolder::open(&dir).context("cannot open the folder of the records")?;
    let last = records.read_all().context("cannot read the records")?.last().map_or(TASK, |record| record.id);
    let listener = ControlSocket::bind(&dir.socket())
        .with_context(|| format!("cannot listen at '{}'", dir.socket().display()))?;
    let mut supervisor = AppSupervisor {
        root: root.clone(),
        app: app.clone(),
        dir,
        settings,
        records,
        core: SupervisorCore::new(OnExit::Restart, last),
        born: Instant::now(),
        workers: BTreeMap::new(),
        ports: BTreeMap::new(),
        guards: BTreeMap::new(),
        kernel_restricts_ports: piku_chroot::can_restrict_ports(),
        watched_at: Duration::ZERO,
        notes: BTreeMap::new(),
        probes: BTreeMap::new(),
        worlds: BTreeMap::new(),
        tails: BTreeMap::new(),
        refusals: BTreeMap::new(),
        limits: BTreeMap::new(),
        crontab: AppCrontab::empty(),
        timer: None,
        jobs: BTreeMap::new(),
        reach: SiteReachability::Unnamed,
        old: OldWorkers::default(),
        clients: ClientTable::default(),
        prepared: AppRoot::default(),
        block: BlockBuffer::default(),
        followers: BTreeSet::new(),
        beat: Duration::ZERO,
        counter: 0,
        events: VecDeque::new(),
        forwarder: log_forwarding::ForwarderState::default(),
        leaving: false,
        shortage: ShortageWatch::new(),
        memory: IdleMemory::new(),
        turn: BootTurn::take()?,
        listener,
        signals,
        _lock: lock,
    };
    supervisor.boot()?;
    supervisor.run_event_loop()
}

impl AppSupervisor {
    /// Returns the time on a clock that began before any process: an adopted process is older than this
    /// supervisor.
    fn now(&self) -> Duration {
        const BEFORE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        BEFORE + self.born.elapsed()
    }

    /// Adopts the processes of the previous supervisor and starts the state machine.
    fn boot(&mut self) -> anyhow::Result<()> {
        if let Err(err) = self.remove_half_releases() {
            self.log_error(&format!("{err:#}"));
        }
        self.update_config_store();
        let mut found = Vec::new();
        for record in self.records.read_all().context("cannot read the records")? {
            if let Some(one) = self.adopt_worker(record) {
                found.push(one);
            }
        }
        let known: Vec<InstanceId> = self.workers.keys().copied().collect();
        self.records.remove_unknown(&known).context("cannot tidy the records")?;
        let plan = self.live_plan().unwrap_or_else(|err| {
            // Its processes go on running: they serve better than nothing.
            self.log_error(&format!("cannot run the live release: {err:#}"));
            desired::as_found(&self.app, &found)
        });
        self.tell_core(CoreEvent::Boot { plan, found });
        self.load_crons(true);
        self.tell_core(CoreEvent::Tick);
        self.update_forwarder();
        Ok(())
    }

    /// Removes releases above the live one, which a deploy that was cut off has left.
    fn remove_half_releases(&self) -> anyhow::Result<()> {
        let numbers = self.dir.release_numbers().context("cannot list the releases")?;
        let live = current::live_release(&self.dir)?.unwrap_or(0);
        for number in numbers {
            if number > live {
                current::remove_dir(&self.dir.release(number))?;
            }
        }
        Ok(())
    }

    /// Returns the plan of the live release; `None` without a release, and if the app was stopped or runs in a
    /// cluster.
    fn live_plan(&mut self) -> anyhow::Result<Option<crate::core::RunPlan>> {
        if self.dir.is_stopped() || self.dir.is_in_cluster() {
            return Ok(None);
        }
        let Some(number) = current::live_release(&self.dir)? else { return Ok(None) };
        let formation = desired::read_formation(&self.dir.formation())?;
        Ok(Some(self.plan_of(number, &formation)?.0))
    }

    /// Returns the plan of a release and prints its warnings.
    fn plan_of(
        &mut self,
        number: u64,
        formation: &desired::Formation,
    ) -> anyhow::Result<(crate::core::RunPlan, Vec<String>)> {
        let world = ReleaseContext::read(&self.root, &self.app, number)?;
        let (plan, check, warnings) = desired::plan(&world, formation);
        self.worlds.insert(number, (Rc::new(world), check));
        Ok((plan, warnings))
    }

    /// Writes to the daemon's log.
    fn log_error(&self, text: &str) {
        // Without stderr the message is lost.
        let _ = writeln!(std::io::stderr().lock(), "piku-run: {}: {text}", self.app);
    }

    /// Passes an event to the state machine and performs its actions until none is left.
    fn tell_core(&mut self, event: CoreEvent) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            for action in self.core.handle_event(self.now(), event) {
                self.perform_action(action);
            }
        }
    }

    /// Reads an instance's fifo once. Returns whether it contained anything.
    fn take_output(&mut self, id: InstanceId) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        let lines = worker.take_output(&mut self.block);
        let Some(lines) = lines else { return false };
        if !self.followers.is_empty() {
            worker.log.flush();
        }
        if id == TASK {
            self.say_output(&lines);
        }
        true
    }

    /// Adopts a process by its record, or cleans up after one that has ended.
    fn adopt_worker(&mut self, record: crate::instance::record::WorkerRecord) -> Option<FoundWorker> {
        let id = record.id;
        if record.task || !record.is_alive() {
            // Its jail is empty: the leader ends last.
            worker::clear_away(&record, &self.records, self.open_log(&record.ps.to_string()));
            return None;
        }
        let found = FoundWorker {
            id,
            ps: record.ps.clone(),
            release: record.release,
            port: record.port,
            live: record.live,
            ready: record.ready,
            restarts: record.restarts,
            uptime: piku_procfs::uptime(record.start),
            once: record.runs == StartCount::Once,
        };
        if let Ok(Some(claim)) = record.port.map_or(Ok(None), |port| ports::reclaim_port(&self.root, port)) {
            self.ports.insert(id, claim);
        }
        let adopted = self
            .open_log(&record.ps.to_string())
            .context("cannot open its log")
            .and_then(|log| InstanceProcess::adopt(record, &self.records, log));
        match adopted {
            Ok(worker) => {
                self.workers.insert(id, worker);
                Some(found)
            }
            Err(err) => {
                self.log_error(&format!("cannot take up {}: {err:#}", found.ps));
                None
            }
        }
    }
}
