//! Workloads: the job of `release`, deployments and cron jobs.

use serde_json::json;

use super::super::app::ContainerProcess;
use super::{ClusterApp, ClusterObject, ClusterStage, hash_of, pods};
use crate::procfile::ProcessKind;
use crate::schedule;

/// Seconds for which a finished job of `release` stays for its logs.
const JOB_KEPT: u32 = 86400;

/// Seconds that a pod may take to get a node and the image.
const SCHEDULING: u64 = 60;

/// Returns the job that must succeed before the rollout.
pub(super) fn release_job(cluster: &ClusterApp) -> Option<ClusterObject> {
    let process = cluster.app.of_kind(|kind| kind == ProcessKind::Release).next()?;
    let spec = json!({
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": JOB_KEPT,
        "template": pods::template(cluster, process, Some("Never")),
    });
    // A job cannot be changed: each release has its own.
    let id = cluster.app.release.map_or_else(|| hash_of(&spec), |release| release.to_string());
    let name = cluster.name_of(&format!("{}-{id}", process.label));
    let comment = format!(
        "Runs once for each release. Apply what follows after it has succeeded:\n\
         kubectl wait --for=condition=complete --timeout=600s job/{name}"
    );
    let value = cluster.object("batch/v1", "Job", &name, Some(&process.label), json!({ "spec": spec }));
    Some(ClusterObject::new(ClusterStage::Release, comment, value))
}

pub(super) fn deployments<'a>(cluster: &'a ClusterApp) -> impl Iterator<Item = ClusterObject> + 'a {
    cluster.app.of_kind(ProcessKind::is_long_running).map(|process| deployment(cluster, process))
}

fn deployment(cluster: &ClusterApp, process: &ContainerProcess) -> ClusterObject {
    let (strategy, comment) = if process.overlaps {
        let strategy =
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
        (strategy, "a new pod is ready before an old one ends")
    } else {
        (json!({ "type": "Recreate" }), "the old pods end before new ones start (OVERLAP in ENV allows both)")
    };
    let mut spec = json!({
        "replicas": process.count,
        "revisionHistoryLimit": 5,
    });
    let check = &cluster.app.check;
    let mut deadline = u64::from(check.start_period) + SCHEDULING;
    if !process.entry.kind.has_port() {
        spec["minReadySeconds"] = json!(check.uptime);
        deadline += u64::from(check.uptime);
    }
    if !process.overlaps {
        deadline += u64::from(cluster.app.stop_timeout);
    }
    spec["progressDeadlineSeconds"] = json!(deadline);
    spec["strategy"] = strategy;
    spec["selector"] = json!({ "matchLabels": cluster.selector(Some(&process.label)) });
    spec["template"] = pods::template(cluster, process, None);
    let name = cluster.name_of(&process.label);
    let value = cluster.object("apps/v1", "Deployment", &name, Some(&process.label), json!({ "spec": spec }));
    ClusterObject::new(ClusterStage::Rollout, format!("'{}': {comment}.", process.entry.name), value)
}

pub(super) fn cron_jobs<'a>(cluster: &'a ClusterApp) -> impl Iterator<Item = ClusterObject> + 'a {
    cluster.app.of_kind(|kind| kind == ProcessKind::Cron).map(|process| cron_job(cluster, process))
}

fn cron_job(cluster: &ClusterApp, process: &ContainerProcess) -> ClusterObject {
    let mut spec =
        json!({ "schedule": cluster_schedule(process.entry.schedule.as_deref().unwrap_or_default()) });
    let mut comment =
        format!("'{}' runs in the time zone of the cluster, unless TZ in ENV sets one.", process.entry.name);
    if let Some(zone) = &cluster.app.time_zone {
        spec["timeZone"] = json!(zone);
        comment = format!("'{}' runs in the time zone of TZ.", process.entry.name);
    }
    // A job that still runs is not started a second time.
    spec["concurrencyPolicy"] = json!("Forbid");
    spec["startingDeadlineSeconds"] = json!(60);
    spec["successfulJobsHistoryLimit"] = json!(1);
    spec["failedJobsHistoryLimit"] = json!(3);
    spec["jobTemplate"] = json!({
        "spec": { "backoffLimit": 0, "template": pods::template(cluster, process, Some("Never")) },
    });
    let name = cluster.name_of(&process.label);
    let value = cluster.object("batch/v1", "CronJob", &name, Some(&process.label), json!({ "spec": spec }));
    ClusterObject::new(ClusterStage::Rollout, comment, value)
}

/// Returns the schedule in the words of Kubernetes, which knows no Sunday of the number 7 and no ranges that
/// include it, and for which `*/2` in a field of days is no `*`.
fn cluster_schedule(schedule: &str) -> String {
    let mut fields: Vec<String> = schedule.split(' ').map(str::to_owned).collect();
    let [.., day, _, weekday] = fields.as_mut_slice() else { return schedule.to_owned() };
    let times = schedule::expand_schedule(schedule);
    let list = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    if !weekday.starts_with('*') && times.fields[4].contains(&0) {
        *weekday = list(&times.fields[4]);
    }
    if times.requires_both_days {
        // Days of all weeks or months are '*', which Kubernetes combines as crontab(5) does.
        for (field, numbers, all) in [(day, &times.fields[2], 31), (weekday, &times.fields[4], 7)] {
            if numbers.len() == all {
                "*".clone_into(field);
            }
        }
    }
    fields.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_means_the_same() {
        for (schedule, wanted) in [
            ("*/5 8-18 * * mon-fri", "*/5 8-18 * * mon-fri"),
            ("@daily", "@daily"),
            ("0 0 * * 7", "0 0 * * 0"),
            ("0 0 * * 5-7", "0 0 * * 0,5,6"),
            ("0 0 13 * 7", "0 0 13 * 0"),
            ("0 0 */1 * mon", "0 0 * * mon"),
            ("0 0 1 jan sun", "0 0 1 jan 0"),
        ] {
            assert_eq!(cluster_schedule(schedule), wanted, "{schedule}");
        }
    }
}
