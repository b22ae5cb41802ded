//! An app in a line of `apps`.

use jiff::Timestamp;
use piku_layout::deploys::deploy_lock::DeployLock;
use piku_layout::deploys::unfinished_work::UnfinishedWork;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_release::manifest::BuiltRelease;
use serde::Serialize;

use crate::kubernetes;
use crate::nginx::front::{MachineRow, machine_rows};
use crate::nginx::{CertificateState, SiteStatus};
use crate::process::ssh_session::session_address;
use crate::samples::{InstanceSample, SampledState};

/// An app as `apps` prints it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AppRow {
    pub(crate) app: AppName,
    /// Where it is reached, the best one first.
    pub(crate) urls: Vec<String>,
    /// Number of the live release; `None` before the first.
    pub(crate) release: Option<u64>,
    pub(crate) commit: Option<String>,
    pub(crate) by: Option<String>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) state: AppState,
    /// It is stopped, perhaps in maintenance, too.
    pub(crate) stopped: bool,
    /// Number of instances that run.
    pub(crate) instances: usize,
    /// Lock that refuses deploys; `None` if the app is not locked.
    pub(crate) locked: Option<DeployLock>,
    /// `valid`, `self-signed`, `failed` or `expired`; `None` without HTTPS.
    pub(crate) certificate: Option<CertificateState>,
    /// Machines behind this machine's front of the app.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) machines: Vec<MachineRow>,
    /// Verb that other machines of the app have not executed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unfinished: Option<UnfinishedWork>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AppState {
    /// It has no release yet.
    Created,
    /// It runs on other machines, behind this machine's front.
    Remote,
    Running,
    /// At least one instance crashes repeatedly.
    CrashLooping,
    /// Requests get the maintenance page.
    Maintenance,
    Stopped,
    /// Its supervisor does not respond.
    Unknown,
}

impl AppState {
    /// Returns the name that tables print.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Remote => "remote",
            Self::Running => "running",
            Self::CrashLooping => "crash-looping",
            Self::Maintenance => "maintenance",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

/// Returns the row of an app. `samples` are its instances, if its supervisor responds.
pub(crate) fn describe_app(
    root: &PikuRoot,
    app: AppName,
    samples: Option<&[InstanceSample]>,
    site: Option<&SiteStatus>,
) -> AppRow {
    let dir = root.app(&app);
    let release = dir.current_number().and_then(|number| BuiltRelease::read(&dir.release(number)).ok());
    let is_known = samples.is_some();
    let samples = samples.unwrap_or_default();
    let runs = |one: &&InstanceSample| {
        (one.pid.is_some() || one.node.is_some()) && one.state != SampledState::Draining
    };
    let crashes = |one: &InstanceSample| one.state == SampledState::CrashLooping;
    let machines = machine_rows(root, &app);
    let unfinished = UnfinishedWork::read(root, &app);
    let state = match () {
        () if !machines.is_empty() => AppState::Remote,
        () if dir.current_number().is_none() => AppState::Created,
        () if dir.is_in_maintenance() => AppState::Maintenance,
        () if dir.is_stopped() => AppState::Stopped,
        () if !is_known => AppState::Unknown,
        () if samples.iter().any(crashes) => AppState::CrashLooping,
        () => AppState::Running,
    };
    let mut urls = site.map(|site| site.urls.list(session_address())).unwrap_or_default();
    if let Ok(Some(in_cluster)) = kubernetes::cluster_urls(root, &app) {
        urls = in_cluster;
    } else if urls.is_empty() {
        let ports = samples.iter().filter(runs).filter_map(|one| one.port);
        urls.extend(ports.map(|port| format!("http://127.0.0.1:{port}")));
    }
    AppRow {
        app,
        urls,
        release: release.as_ref().map(|release| release.number),
        commit: release.as_ref().map(|release| release.commit.clone()),
        by: release.as_ref().map(|release| release.by.clone()),
        at: release.as_ref().map(|release| release.at),
        state,
        stopped: dir.is_stopped(),
        instances: samples.iter().filter(runs).count(),
        locked: DeployLock::read(&dir).ok().flatten(),
        certificate: site.and_then(|site| site.certificate.as_ref()).map(|certificate| certificate.state),
        machines,
        unfinished,
    }
}
