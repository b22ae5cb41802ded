//! The state of the machine and its apps: the data of `status`.

use jiff::Timestamp;
use piku_files::free_space::FreeSpace;
use piku_layout::deploys::deploy_totals::DeployTotals;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_procfile::schedule;
use serde::Serialize;

use crate::backup_plans::{AppBackup, AppBackups};
use crate::data_limit::{DataUsage, DataUsageRecord};
use crate::host_problem::HostProblem;
use crate::ipc::fan_out::ask_all;
use crate::live_samples::samples_of;
use crate::nginx::{CertificateStatus, WebServer};
use crate::notify;
use crate::samples::{self, InstanceSample, SampledState};
use crate::status::app_row::AppRow;
use crate::status::app_row::describe_app;
use crate::supervisor;

use super::deploys::{self, DeployReport};
use super::history::{DayOfUsage, UsageHistory};

/// State of the machine. Fields are added, never renamed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HostReport {
    /// Name of the machine.
    pub(super) host: String,
    /// Version of piku.
    pub(super) version: String,
    pub(super) at: Timestamp,
    pub(super) disk: DiskReport,
    pub(super) memory: MemoryReport,
    pub(super) problems: Vec<HostProblem>,
    pub(super) apps: Vec<AppReport>,
}

/// The file system of piku's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct DiskReport {
    pub(super) total_bytes: u64,
    /// Bytes available to users other than root.
    pub(super) free_bytes: u64,
}

/// Memory of the machine; `None` if the kernel does not report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct MemoryReport {
    pub(super) total_bytes: Option<u64>,
    pub(super) available_bytes: Option<u64>,
}

/// State of an app.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AppReport {
    /// The row of `apps`.
    #[serde(flatten)]
    pub(super) summary: AppRow,
    /// First line of the message of the live commit.
    pub(super) subject: Option<String>,
    /// The rows of `ps`. A cron type has a row, too.
    pub(super) processes: Vec<InstanceSample>,
    /// The rows of `certs`.
    pub(super) certificates: Vec<CertificateStatus>,
    /// Numbers of all deploys by a push or from another machine.
    pub(super) deploys_total: DeployTotals,
    /// The last deploys and other new releases, newest first.
    pub(super) deploys: Vec<DeployReport>,
    /// Last backup by each plan of host.yaml.
    pub(super) backups: Vec<AppBackup>,
    /// Size of the data, if `DATA_LIMIT` limits it.
    pub(super) data: Option<DataUsage>,
    /// Usage of a day; empty while nobody records it.
    pub(super) history: DayOfUsage,
}

/// Parts of a report that take time and space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportDetail {
    /// Without the deploys and their logs.
    Figures,
    /// With the deploys.
    Deploys,
    /// With the deploys and the ends of their logs.
    Logs,
}

impl HostReport {
    /// Collects the state of these apps. Their supervisors are asked in parallel.
    pub(super) fn collect(
        root: &PikuRoot,
        apps: &[AppName],
        detail: ReportDetail,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let settings = HostSettings::read(&root.settings())?;
        let web = WebServer::load(root)?;
        let free = FreeSpace::of(root.path())?;
        let mut problems: Vec<HostProblem> = notify::disk_problem(free, &settings).into_iter().collect();
        let backups = notify::backup_problems(root, now);
        problems
            .extend(backups.into_iter().filter(|one| one.app.as_ref().is_none_or(|app| apps.contains(app))));
        let found = ask_all(apps, |app| collect_app(root, &web, &settings, app, detail, now));
        let mut apps = Vec::new();
        let (kept, usage) = (AppBackups::read(root, &settings, now), DataUsageRecord::read(root));
        for (mut app, its_problems) in found {
            let name = &app.summary.app;
            problems.extend(usage.problems_of(name).into_iter().next_back());
            (app.backups, app.data) = (kept.of(name), usage.of(name));
            apps.push(app);
            problems.extend(its_problems);
        }
        let memory = piku_procfs::meminfo();
        let memory = |field: &str| memory.as_ref().and_then(|memory| memory.bytes(field));
        Ok(Self {
            host: notify::host_name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: now,
            disk: DiskReport { total_bytes: free.total, free_bytes: free.bytes },
            memory: MemoryReport { total_bytes: memory("MemTotal"), available_bytes: memory("MemAvailable") },
            problems,
            apps,
        })
    }
}

fn collect_app(
    root: &PikuRoot,
    web: &WebServer,
    settings: &HostSettings,
    app: &AppName,
    detail: ReportDetail,
    now: Timestamp,
) -> (AppReport, Vec<HostProblem>) {
    let dir = root.app(app);
    let answer = samples_of(root, app);
    let site = web.site_status(app);
    let summary = describe_app(root, app.clone(), answer.as_deref().ok(), site.as_ref());
    // Those of a supervisor that does not respond are known from their records.
    let mut processes = answer.or_else(|_| supervisor::unknown(root, app)).unwrap_or_default();
    samples::add_memory(&mut processes);
    let certificate = site.and_then(|site| site.certificate);
    let problems = notify::app_problems(app, &dir, &processes, certificate.as_ref(), now);
    let deploys = match detail {
        ReportDetail::Figures => Vec::new(),
        ReportDetail::Deploys => deploys::list_deploys(&dir, settings, false),
        ReportDetail::Logs => deploys::list_deploys(&dir, settings, true),
    };
    let report = AppReport {
        subject: deploys::live_subject(&dir),
        summary,
        processes,
        certificates: certificate.into_iter().collect(),
        deploys_total: DeployTotals::read(&dir),
        deploys,
        backups: Vec::new(),
        data: None,
        history: UsageHistory::read(&dir.usage_history()).day_until(now),
    };
    (report, problems)
}

impl AppReport {
    pub(super) fn name(&self) -> &str {
        self.summary.app.as_str()
    }

    /// Returns the rows of all types but crons.
    pub(super) fn instances(&self) -> impl Iterator<Item = &InstanceSample> {
        self.processes.iter().filter(|one| !is_cron(one))
    }

    /// Returns the rows of the cron types.
    pub(super) fn crons(&self) -> impl Iterator<Item = &InstanceSample> {
        self.processes.iter().filter(|one| is_cron(one))
    }

    /// Returns the memory of all processes; `None` if nothing runs.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let mut known = self.processes.iter().filter_map(|one| one.memory_bytes).peekable();
        known.peek()?;
        Some(known.sum())
    }

    /// Returns the processor usage of all processes in percent of one processor; `None` if nothing runs.
    pub(super) fn cpu_percent(&self) -> Option<f64> {
        let mut known = self.processes.iter().filter_map(|one| one.cpu_percent).peekable();
        known.peek()?;
        Some(known.sum())
    }

    pub(super) fn restarts(&self) -> u64 {
        self.processes.iter().map(|one| u64::from(one.restarts)).sum()
    }
}

/// Returns true for the row of a cron type.
pub(super) fn is_cron(one: &InstanceSample) -> bool {
    let is_named = || schedule::is_cron_name(one.kind.as_str()) && one.pid.is_none() && one.port.is_none();
    one.next_run.is_some() || one.last_run.is_some() || one.state == SampledState::Waiting || is_named()
}

/// Returns true if a process runs and has passed its health check, if it has one.
pub(super) fn is_up(one: &InstanceSample) -> bool {
    matches!(one.state, SampledState::Healthy | SampledState::Running)
}
