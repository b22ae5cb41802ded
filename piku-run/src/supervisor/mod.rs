//! `piku-run supervise APP`: the loop around the core, one process an app. It blocks on descriptors, tells the core what
//! happened and does what the core says. It may be killed at any moment: what it must not forget is on disk or in the
//! kernel's hands, and its successor takes the workers up where they are.

mod actions;
mod boot_slot;
mod client_requests;
mod crash_hints;
mod cron_jobs;
mod events;
mod health_checks;
mod log_forwarding;
mod logs;
mod memory_shortage;
mod port_claims;
mod routing;
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
use piku_chroot::report;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::user_error::{BUSY, UserError};

use crate::core::{CoreEvent, FoundWorker, InstanceId, JobId, OnExit, ProcessExit, SupervisorCore};
use crate::cron::{AppCrontab, CronTimer};
use crate::desired::{self, HealthCheck};
use crate::instance::environment::ReleaseContext;
use crate::instance::health_probe::HealthProbe;
use crate::instance::record::{RecordFolder, StartCount};
use crate::ipc::connections::ClientTable;
use crate::ipc::socket::ControlSocket;
use crate::lock::FileLock;
use crate::nginx::SiteReachability;
use crate::ports::{self, PortClaim, PortGuard};
use crate::process::signals;
use crate::process::usage::SampledLimit;
use crate::process::wait;
use crate::releases::current;

pub(crate) use status::{stopped, unknown};

use boot_slot::BootTurn;
use client_requests::PendingJob;
use memory_shortage::ShortageWatch;
use routing::OldWorkers;
use worker::{InstanceProcess, TASK};

/// The subcommand's name.
pub(crate) const NAME: &str = "supervise";

/// One app's supervisor.
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
    /// Kept from one process of an instance to its next.
    ports: BTreeMap<InstanceId, PortClaim>,
    /// Of instances that are down, held so that nobody else gets their requests.
    guards: BTreeMap<u16, PortGuard>,
    /// True if the kernel keeps each jail to its own ports.
    guards_ports: bool,
    /// When somebody was looked for who listens beside an instance.
    watched_at: Duration,
    /// The processes that have taken ports of instances, in words.
    notes: BTreeMap<InstanceId, String>,
    probes: BTreeMap<InstanceId, HealthProbe>,
    /// Releases that have been read.
    worlds: BTreeMap<u64, (Rc<ReleaseContext>, HealthCheck)>,
    /// The last words of instances on trial.
    tails: BTreeMap<InstanceId, Vec<String>>,
    /// What the last processes were limited to, of instances that wait for their next one.
    limits: BTreeMap<InstanceId, Vec<SampledLimit>>,
    crontab: AppCrontab,
    /// Of the wall clock; there once a cron was.
    timer: Option<CronTimer>,
    jobs: BTreeMap<JobId, PendingJob>,
    /// How the app is reached.
    reach: SiteReachability,
    /// Who may still send requests to instances that get no new ones.
    old: OldWorkers,
    clients: ClientTable,
    /// Of the clients those that read the logs as they grow.
    followers: BTreeSet<u64>,
    /// When those who wait were last told that their request is worked on.
    beat: Duration,
    counter: u64,
    events: VecDeque<CoreEvent>,
    drain: log_forwarding::ForwarderState,
    shortage: ShortageWatch,
    /// At boot: others wait for it to end.
    turn: BootTurn,
    /// Asked to leave: nothing new is begun.
    leaving: bool,
    listener: ControlSocket,
    signals: SignalFd,
    _lock: FileLock,
}

/// Supervises until it is told to leave, or until there is nothing to supervise.
pub(crate) fn run(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    current::make(dir.run())?;
    let lock_path = current::supervisor_lock(&dir);
    let Some(mut lock) =
        FileLock::take(&lock_path).with_context(|| format!("cannot lock '{}'", lock_path.display()))?
    else {
        return Err(UserError::new(format!("{app} has a supervisor already")).code(BUSY).into());
    };
    lock.sign().context("cannot sign the lock")?;
    signals::default_dispositions();
    let signals = wait::signals(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    // What a worker without a jail leaves behind becomes this process's child and not init's.
    set_child_subreaper(true).context("cannot become a subreaper")?;
    let settings = HostSettings::read(&root.settings())?;
    let records = RecordFolder::open(&dir).context("cannot open the folder of the records")?;
    let last = records.all().context("cannot read the records")?.last().map_or(TASK, |record| record.id);
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
        guards_ports: piku_chroot::can_restrict_ports(),
        watched_at: Duration::ZERO,
        notes: BTreeMap::new(),
        probes: BTreeMap::new(),
        worlds: BTreeMap::new(),
        tails: BTreeMap::new(),
        limits: BTreeMap::new(),
        crontab: AppCrontab::empty(),
        timer: None,
        jobs: BTreeMap::new(),
        reach: SiteReachability::Unnamed,
        old: OldWorkers::default(),
        clients: ClientTable::default(),
        followers: BTreeSet::new(),
        beat: Duration::ZERO,
        counter: 0,
        events: VecDeque::new(),
        drain: log_forwarding::ForwarderState::default(),
        leaving: false,
        shortage: ShortageWatch::new(),
        turn: BootTurn::take()?,
        listener,
        signals,
        _lock: lock,
    };
    supervisor.boot()?;
    supervisor.work()
}

impl AppSupervisor {
    /// The time on a clock that began before any worker: one that is taken up has been running for longer than this
    /// supervisor.
    fn now(&self) -> Duration {
        const BEFORE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        BEFORE + self.born.elapsed()
    }

    /// Takes up what the supervisor before this one has left, and begins.
    fn boot(&mut self) -> anyhow::Result<()> {
        if let Err(err) = self.remove_half_releases() {
            self.complain(&format!("{err:#}"));
        }
        self.follow();
        let mut found = Vec::new();
        for record in self.records.all().context("cannot read the records")? {
            if let Some(one) = self.take_up(record) {
                found.push(one);
            }
        }
        let known: Vec<InstanceId> = self.workers.keys().copied().collect();
        self.records.tidy(&known).context("cannot tidy the records")?;
        let plan = self.live_plan().unwrap_or_else(|err| {
            // Its workers, if they live, go on: what they serve is better than nothing.
            self.complain(&format!("cannot run the live release: {err:#}"));
            desired::as_found(&found)
        });
        self.tell(CoreEvent::Boot { plan, found });
        self.load_crons(true);
        self.tell(CoreEvent::Tick);
        self.lead_drain();
        Ok(())
    }

    /// A release above the live one is what a deploy has left that did not come to its end.
    fn remove_half_releases(&self) -> anyhow::Result<()> {
        let numbers = self.dir.release_numbers().context("cannot list the releases")?;
        let live = current::live(&self.dir)?.unwrap_or(0);
        for number in numbers {
            if number > live {
                current::remove(&self.dir.release(number))?;
            }
        }
        Ok(())
    }

    /// What the live release and the formation say; nothing when there is no release or the app was stopped.
    fn live_plan(&mut self) -> anyhow::Result<Option<crate::core::RunPlan>> {
        if self.dir.is_stopped() {
            return Ok(None);
        }
        let Some(number) = current::live(&self.dir)? else { return Ok(None) };
        let formation = desired::read_formation(&self.dir.formation())?;
        Ok(Some(self.plan_of(number, &formation)?.0))
    }

    /// The plan of a release, and what its author should know.
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

    /// To the daemon's log.
    fn complain(&self, text: &str) {
        // Without a stderr there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "piku-run: {}: {text}", self.app);
    }

    /// Tells the core, and does what it says until it has no more to say.
    fn tell(&mut self, event: CoreEvent) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            for action in self.core.handle(self.now(), event) {
                self.perform(action);
            }
        }
    }

    /// Reads a worker's fifo once; whether there was anything.
    fn take_output(&mut self, id: InstanceId) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        let lines = worker.take_output();
        let Some(lines) = lines else { return false };
        if !self.followers.is_empty() {
            worker.log.flush();
        }
        if id == TASK {
            self.say_output(&lines);
        }
        true
    }

    /// A worker's process has ended.
    fn ended(&mut self, id: InstanceId, exit: ProcessExit) {
        let Some(worker) = self.workers.get(&id) else { return };
        worker.family().sweep();
        // A jail whose monitor was killed is ended by the kernel a moment later.
        self.records.wait_until_free(id);
        while self.take_output(id) {}
        let Some(mut worker) = self.workers.remove(&id) else { return };
        let (_, ended) = report::read(&self.records.report(id));
        let exit = match (ended, exit) {
            (Some(ended), _) if ended.oom_kills > 0 => {
                ProcessExit::OutOfMemory { peak: ended.memory_peak_bytes }
            }
            // Of one that was taken up only its jail knows how it ended.
            (Some(ended), ProcessExit::Unknown) => ProcessExit::Code(ended.exit_code.into()),
            (_, exit) => exit,
        };
        // One that was told to end may have been killed by us.
        let was_told = self.core.instance(id).is_some_and(crate::core::AppInstance::is_leaving);
        let shortage = self.shortage.look(exit).filter(|_| !was_told);
        if let Some(text) = &shortage {
            worker.log.write_remark(text, jiff::Timestamp::now());
        }
        worker.log.flush();
        self.probes.remove(&id);
        if id == TASK {
            self.say_output(shortage.as_slice());
            if let Some(rest) = worker.rest() {
                self.say_output(&[rest]);
            }
            self.records.remove(TASK);
            self.events.push_back(CoreEvent::TaskEnded(Ok(exit)));
            return;
        }
        if worker.record.runs == StartCount::Once {
            self.cron_ended(&worker.record.ps.kind, &status::exit(exit));
        } else if !worker.record.live {
            self.tails.insert(id, worker.log.last_lines(20));
        }
        self.limits.insert(id, self.limits_of(&worker));
        self.hold_port(id, &worker);
        self.events.push_back(CoreEvent::Exited { id, exit });
    }

    /// An instance for the core's eyes, from a record; what cannot be taken up is cleared away.
    fn take_up(&mut self, record: crate::instance::record::WorkerRecord) -> Option<FoundWorker> {
        let id = record.id;
        if record.task || !record.is_alive() {
            // Its jail, if it had one, is empty: the leader leaves last.
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
        if let Ok(Some(claim)) = record.port.map_or(Ok(None), |port| ports::take_up(&self.root, port)) {
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
                self.complain(&format!("cannot take up {}: {err:#}", found.ps));
                None
            }
        }
    }
}
