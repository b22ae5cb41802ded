//! Pods of an app as rows of `ps`, and their logs.

pub(super) mod logs;
mod metrics;

use std::collections::BTreeMap;
use std::thread;

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::ProcessKind;
use piku_release::manifest::BuiltRelease;
use serde_json::Value;

use metrics::PodUsage;

use super::KubernetesApp;
use super::change::component_of;
use super::state::{
    COMPONENT, ClusterItem, ContainerEnd, CronJobState, ONE_OFF, ObjectList, PodState, VERSION,
};
use crate::core::InstanceName;
use crate::releases::current;
use crate::samples::{InstanceSample, SampledState};

impl KubernetesApp {
    /// Returns the rows of `ps` as JSON: one for each pod and each cron type, and
    /// those of `run` last.
    pub(super) fn instance_rows(&self) -> anyhow::Result<Value> {
        let Some(live) = current::live_release(&self.dir)? else { return Ok(Value::Array(Vec::new())) };
        let release = BuiltRelease::read(&self.dir.release(live))?;
        // At the same time: each question takes as long as a kubectl does.
        let (list, usage) = thread::scope(|scope| {
            let asked = scope.spawn(|| self.pod_usage());
            let list = self.kubectl_now().get(&["pods,cronjobs", "--selector", &self.selector()]);
            (list, asked.join().unwrap_or_default())
        });
        let list: ObjectList = list?;
        let mut rows: Vec<(usize, InstanceSample)> = Vec::new();
        let one_off: ProcessName = ONE_OFF.parse().map_err(anyhow::Error::msg)?;
        for item in &list.items {
            if let ClusterItem::Pod(pod) = item {
                if pod.is_one_off() {
                    // As a job, it is of interest while it runs.
                    let kind = LiveType { name: &one_off, kind: ProcessKind::Release };
                    rows.extend(self.row_of(item, &kind, &usage).map(|row| (usize::MAX, row)));
                    continue;
                }
            }
            let labels = match item {
                ClusterItem::Pod(pod) => &pod.metadata,
                ClusterItem::CronJob(job) => &job.metadata,
                _ => continue,
            };
            // In the order of the Procfile; an older release may have types that this one lacks.
            let component = labels.label(COMPONENT);
            let of_it = |(name, _): &(&ProcessName, &String)| component_of(name) == component;
            let Some(at) = release.processes.iter().position(|entry| of_it(&entry)) else { continue };
            let Some((name, command)) = release.processes.get_index(at) else { continue };
            let kind = LiveType { name, kind: ProcessKind::classify(name, command) };
            rows.extend(self.row_of(item, &kind, &usage).map(|row| (at, row)));
        }
        rows.sort_by(|(at, row), (other_at, other)| (at, &row.instance).cmp(&(other_at, &other.instance)));
        let rows: Vec<InstanceSample> = rows.into_iter().map(|(_, row)| row).collect();
        serde_json::to_value(rows).context("cannot write the rows as JSON")
    }

    fn row_of(
        &self,
        item: &ClusterItem,
        kind: &LiveType<'_>,
        usage: &BTreeMap<String, PodUsage>,
    ) -> Option<InstanceSample> {
        match item {
            ClusterItem::Pod(pod) => {
                let PodUsage { cpu_percent, memory_bytes } =
                    usage.get(&pod.metadata.name).copied().unwrap_or_default();
                let row = self.pod_row(pod, kind, Timestamp::now())?;
                Some(InstanceSample { cpu_percent, memory_bytes, ..row })
            }
            ClusterItem::CronJob(job) => Some(self.cron_row(job, kind)),
            _ => None,
        }
    }

    /// Returns the row of a pod; `None` for one whose job has ended.
    fn pod_row(&self, pod: &PodState, kind: &LiveType<'_>, now: Timestamp) -> Option<InstanceSample> {
        if pod.status.phase == "Succeeded" || (!kind.kind.is_long_running() && pod.status.phase == "Failed") {
            return None;
        }
        let name = &pod.metadata.name;
        let since =
            pod.status.container_statuses.iter().find_map(|one| one.state.running.as_ref()?.started_at);
        let state = state_of(pod, kind.kind);
        let is_well = matches!(state, SampledState::Healthy | SampledState::Running | SampledState::Draining);
        Some(InstanceSample {
            instance: name.strip_prefix(&format!("{}-", self.app)).unwrap_or(name).to_owned(),
            state,
            release: pod.metadata.label(VERSION).parse().ok(),
            uptime_s: since.and_then(|since| u64::try_from(now.as_second() - since.as_second()).ok()),
            restarts: pod.restarts(),
            last_exit: pod.last_end().map(ContainerEnd::describe),
            note: if is_well { None } else { pod.why_not_ready() },
            node: pod.node_name().map(str::to_owned),
            ..self.empty_row(kind)
        })
    }

    fn cron_row(&self, job: &CronJobState, kind: &LiveType<'_>) -> InstanceSample {
        InstanceSample {
            instance: component_of(kind.name),
            state: SampledState::Waiting,
            release: job.metadata.label(VERSION).parse().ok(),
            last_run: job.status.last_schedule_time,
            last_success: job.status.last_successful_time,
            ..self.empty_row(kind)
        }
    }

    fn empty_row(&self, kind: &LiveType<'_>) -> InstanceSample {
        InstanceSample::empty_slot(&self.app, &InstanceName { kind: kind.name.clone(), index: 1 })
    }
}

/// A process type of the live release.
struct LiveType<'a> {
    name: &'a ProcessName,
    kind: ProcessKind,
}

fn state_of(pod: &PodState, kind: ProcessKind) -> SampledState {
    let waiting = pod.waiting().map_or("", |waiting| waiting.reason.as_str());
    if pod.metadata.deletion_timestamp.is_some() {
        return SampledState::Draining;
    }
    match pod.status.phase.as_str() {
        _ if waiting == "CrashLoopBackOff" => SampledState::CrashLooping,
        "Running" if !kind.is_long_running() => SampledState::Running,
        "Running" if pod.is_ready() && kind.has_port() => SampledState::Healthy,
        "Running" if pod.is_ready() => SampledState::Running,
        // Its containers are ready and the pod is not: its node has gone.
        "Running" if pod.status.container_statuses.iter().all(|container| container.ready) => {
            SampledState::Unknown
        }
        "Failed" => SampledState::Backoff,
        _ => SampledState::Starting,
    }
}
