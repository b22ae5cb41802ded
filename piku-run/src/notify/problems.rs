//! The problems of this machine and its apps, as they are now.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use piku_files::free_space::{self, FreeSpace};
use piku_layout::app_lock;
use piku_layout::clock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;

use super::journal::FoundProblems;
use crate::backup_plans::{BackupProblem, find_backup_problems};
use crate::data_limit::DataUsageRecord;
use crate::host_problem::HostProblem;
use crate::host_problem::ProblemKind;
use crate::known_apps::list_apps;
use crate::live_samples::samples_of;
use crate::nginx::{CertificateState, CertificateStatus, WebServer};
use crate::releases::{ReleaseState, list_attempts};
use crate::samples::{InstanceSample, SampledState};

/// Days before its end at which a certificate is a problem: its renewal was due long before.
const CERTIFICATE_DAYS: i64 = 10;
/// Free space of the disk that is a problem, beside `disk_reserve`.
const LOW_SPACE: u64 = 256 << 20;

/// Returns all problems. `certificates` are those of certificates, if they are known.
pub(super) fn find_problems(
    root: &PikuRoot,
    settings: &HostSettings,
    certificates: Option<Vec<HostProblem>>,
    now: Timestamp,
) -> anyhow::Result<FoundProblems> {
    let mut found = FoundProblems::default();
    let problems = &mut found.problems;
    let web = if certificates.is_none() { Some(WebServer::load(root)?) } else { None };
    problems.extend(certificates.into_iter().flatten());
    for app in list_apps(root, &[])? {
        let dir = root.app(&app);
        let samples = samples_of(root, &app);
        // A change that is in progress may be a deploy: whether the last one failed is known at its end.
        let is_asked = samples.is_ok() && !app_lock::is_held(&dir);
        if !is_asked {
            found.unasked.insert(app.clone());
        }
        let samples = samples.unwrap_or_default();
        let certificate = web.as_ref().and_then(|web| web.site_status(&app)?.certificate);
        let its = app_problems(&app, &dir, &samples, certificate.as_ref(), now);
        problems.extend(its.into_iter().filter(|one| is_asked || one.kind != ProblemKind::DeployFailed));
    }
    problems.extend(disk_problem(FreeSpace::of(root.path())?, settings));
    problems.extend(backup_problems(root, now));
    problems.extend(DataUsageRecord::read(root).problems());
    Ok(found)
}

/// Returns the problems of an app with these instances and this certificate.
pub(crate) fn app_problems(
    app: &AppName,
    dir: &AppDir,
    samples: &[InstanceSample],
    certificate: Option<&CertificateStatus>,
    now: Timestamp,
) -> Vec<HostProblem> {
    let mut problems: Vec<HostProblem> = failed_deploy(app, dir).into_iter().collect();
    problems.extend(instance_problems(app, samples));
    problems.extend(certificate.and_then(|certificate| certificate_problem(app, certificate, now)));
    problems
}

/// Returns the failed and overdue backups.
pub(crate) fn backup_problems(root: &PikuRoot, now: Timestamp) -> Vec<HostProblem> {
    let problems = find_backup_problems(root, now).unwrap_or_else(|err| {
        vec![BackupProblem { plan: None, app: None, is_overdue: false, text: format!("{err:#}") }]
    });
    let as_problem = |BackupProblem { plan, app, is_overdue, text }| {
        let kind = if is_overdue { ProblemKind::BackupOverdue } else { ProblemKind::BackupFailed };
        let subject = plan.map_or(String::new(), |plan| plan.to_string());
        HostProblem { kind, app, subject, text }
    };
    problems.into_iter().map(as_problem).collect()
}

/// Returns the problem of a disk with this free space.
pub(crate) fn disk_problem(free: FreeSpace, settings: &HostSettings) -> Option<HostProblem> {
    let is_low = free.bytes < LOW_SPACE.saturating_add(settings.reserve_bytes());
    let text = format!("the disk of piku is nearly full: {} are free", free_space::size(free.bytes));
    let (kind, app, subject) = (ProblemKind::Disk, None, String::new());
    is_low.then_some(HostProblem { kind, app, subject, text })
}

fn failed_deploy(app: &AppName, dir: &AppDir) -> Option<HostProblem> {
    let last = list_attempts(dir).ok()?.pop().filter(|last| last.state == ReleaseState::Failed)?;
    let (number, by) = (last.release, last.by);
    // A release that was made since replaces it.
    if dir.next_number().ok()? != number + 1 {
        return None;
    }
    let text = format!("{app}: deploy {number} by {by} failed; piku logs {app} --deploy {number} shows why");
    Some(HostProblem {
        kind: ProblemKind::DeployFailed,
        app: Some(app.clone()),
        subject: number.to_string(),
        text,
    })
}

/// Returns the process types that crash repeatedly, and the cron jobs whose last run failed.
fn instance_problems(app: &AppName, samples: &[InstanceSample]) -> Vec<HostProblem> {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for sample in samples {
        let last = sample.last_exit.as_deref();
        let (kind, what) = if sample.state == SampledState::CrashLooping {
            (ProblemKind::CrashLoop, format!("{} crashes again and again", sample.kind))
        } else if sample.has_failed() {
            (ProblemKind::CronFailed, format!("the last run of {} failed", sample.kind))
        } else {
            continue;
        };
        if seen.insert(sample.kind.clone()) {
            let how = last.map_or(String::new(), |last| format!(" ({last})"));
            let text = format!("{app}: {what}{how}; piku logs {app} {} shows why", sample.kind);
            problems.push(HostProblem {
                kind,
                app: Some(app.clone()),
                subject: sample.kind.to_string(),
                text,
            });
        }
    }
    problems
}

fn certificate_problem(
    app: &AppName,
    certificate: &CertificateStatus,
    now: Timestamp,
) -> Option<HostProblem> {
    // A wrong clock would make all of them look expired.
    if !clock::is_set(now.as_second()) {
        return None;
    }
    let as_problem = |text| HostProblem {
        kind: ProblemKind::Certificate,
        app: Some(app.clone()),
        subject: String::new(),
        text,
    };
    if has_failed_first_request(certificate) {
        let text =
            format!("{app}: no authority has issued its certificate; piku certs {app} shows what failed");
        return Some(as_problem(text));
    }
    let end = certificate.not_after?;
    let is_near = end.duration_since(now) < SignedDuration::from_hours(24 * CERTIFICATE_DAYS);
    if certificate.state == CertificateState::SelfSigned || !is_near {
        return None;
    }
    let what = if end < now { "expired" } else { "expires" };
    let text = format!("{app}: its certificate {what} at {end:.0}; piku certs {app} shows what failed");
    Some(as_problem(text))
}

/// Returns whether an app has a certificate that browsers do not trust because a request for another one failed. The first
/// request may be in progress, since it is recorded before it is made.
fn has_failed_first_request(certificate: &CertificateStatus) -> bool {
    certificate.is_self_signed() && (certificate.error.is_some() || certificate.failures > 1)
}
