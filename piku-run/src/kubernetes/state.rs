//! Objects of a cluster, as far as piku reads them.

mod job;
mod progress;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

pub(super) use job::JobState;
pub(super) use progress::{
    DeploymentState, RolloutDelay, RolloutFailure, RolloutProgress, is_refused, judge_rollout,
};

/// Labels of objects and pods.
pub(super) const VERSION: &str = "app.kubernetes.io/version";
pub(super) const COMPONENT: &str = "app.kubernetes.io/component";
pub(super) const INSTANCE: &str = "app.kubernetes.io/instance";
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`], and the name under which piku owns fields of objects.
pub(super) const MANAGER: &str = "piku";

/// Value of [`COMPONENT`] for the pods of `run`. A process type may have this name too.
pub(super) const ONE_OFF: &str = "run";

/// A list that kubectl prints.
#[derive(Debug, Deserialize)]
pub(super) struct ObjectList {
    pub(super) items: Vec<ClusterItem>,
}

/// An object of a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind")]
pub(super) enum ClusterItem {
    Deployment(DeploymentState),
    Pod(PodState),
    CronJob(CronJobState),
    Job(JobState),
    Event(EventState),
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ObjectMetadata {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) generation: u64,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) deletion_timestamp: Option<Timestamp>,
    owner_references: Vec<IgnoredAny>,
}

impl ObjectMetadata {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// A condition of a deployment, a pod or a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ObjectCondition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PodState {
    pub(super) metadata: ObjectMetadata,
    #[serde(default)]
    pub(super) spec: PodSpec,
    #[serde(default)]
    pub(super) status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    pub(super) phase: String,
    pub(super) message: String,
    pub(super) conditions: Vec<ObjectCondition>,
    pub(super) container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerStatus {
    name: String,
    pub(super) ready: bool,
    pub(super) restart_count: u32,
    pub(super) state: ContainerState,
    pub(super) last_state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerState {
    pub(super) waiting: Option<WaitingReason>,
    pub(super) running: Option<RunningSince>,
    pub(super) terminated: Option<ContainerEnd>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WaitingReason {
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunningSince {
    #[serde(default)]
    pub(super) started_at: Option<Timestamp>,
}

/// End of a container's process.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerEnd {
    pub(super) exit_code: i32,
    pub(super) reason: String,
}

impl ContainerEnd {
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.reason == "OOMKilled"
    }

    /// Returns the end as `ps` prints it.
    pub(super) fn describe(&self) -> String {
        match (self.reason.as_str(), self.exit_code) {
            ("OOMKilled", _) => "out of memory".to_owned(),
            (_, code @ 129..=192) => format!("signal {}", code - 128),
            (_, code) => format!("exit {code}"),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct CronJobState {
    pub(super) metadata: ObjectMetadata,
    #[serde(default)]
    pub(super) status: CronJobStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CronJobStatus {
    pub(super) last_schedule_time: Option<Timestamp>,
    pub(super) last_successful_time: Option<Timestamp>,
}

/// An event of an object: a step of the scheduler, a node or a controller.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventState {
    pub(super) metadata: ObjectMetadata,
    pub(super) involved_object: EventSubject,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default, rename = "type")]
    pub(super) level: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventSubject {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl PodState {
    /// Returns the condition of this type.
    fn condition(&self, kind: &str) -> Option<&ObjectCondition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Returns whether it is a pod of `run`: no deployment and no job has made it.
    pub(super) fn is_one_off(&self) -> bool {
        self.metadata.label(COMPONENT) == ONE_OFF && self.metadata.owner_references.is_empty()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|ready| ready.status == "True")
    }

    /// Returns the container of the app, which has the name of its type. A cluster may add others to each pod.
    fn container(&self) -> Option<&ContainerStatus> {
        self.status
            .container_statuses
            .iter()
            .find(|container| container.name == self.metadata.label(COMPONENT))
    }

    /// Returns whether its process runs.
    pub(super) fn is_started(&self) -> bool {
        self.container().is_some_and(|container| container.state.running.is_some())
    }

    pub(super) fn restarts(&self) -> u32 {
        self.status.container_statuses.iter().map(|container| container.restart_count).sum()
    }

    /// Returns the last end of its process, if it has ended.
    pub(super) fn last_end(&self) -> Option<&ContainerEnd> {
        let container = self.container()?;
        container.state.terminated.as_ref().or(container.last_state.terminated.as_ref())
    }

    /// Returns the reason for which its container waits.
    pub(super) fn waiting(&self) -> Option<&WaitingReason> {
        self.status.container_statuses.iter().find_map(|container| container.state.waiting.as_ref())
    }

    /// Returns true if its node cannot get the image.
    pub(super) fn lacks_image(&self) -> bool {
        const REASONS: [&str; 3] = ["ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"];
        self.waiting().is_some_and(|waiting| REASONS.contains(&waiting.reason.as_str()))
    }

    /// Returns the reason for which this pod will not become ready by itself.
    pub(super) fn failure(&self) -> Option<String> {
        let name = &self.metadata.name;
        if let Some(WaitingReason { reason, message }) = self.waiting() {
            let first = message.lines().next().unwrap_or_default();
            match reason.as_str() {
                "CrashLoopBackOff" => {
                    let end =
                        self.last_end().map_or_else(|| "it has ended".to_owned(), ContainerEnd::describe);
                    return Some(format!("{name} crashes again and again: {end}"));
                }
                _ if self.lacks_image() => {
                    return Some(format!("{name}: its node cannot get the image: {first}"));
                }
                "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                    return Some(format!("{name}: its node cannot make the container: {first}"));
                }
                _ => {}
            }
        }
        if self.status.phase == "Failed" {
            let end = self.last_end().map(ContainerEnd::describe);
            let told = Some(self.status.message.clone()).filter(|message| !message.is_empty());
            let why = told.or(end).unwrap_or_else(|| "its node gives no reason".to_owned());
            return Some(format!("{name} has failed: {why}"));
        }
        None
    }

    /// Returns why no node has been found for it.
    pub(super) fn unplaced(&self) -> Option<String> {
        let scheduled = self.condition("PodScheduled").filter(|it| it.status == "False")?;
        Some(format!("no node can run it: {}", scheduled.message))
    }

    /// Returns why it is not ready.
    pub(super) fn why_not_ready(&self) -> Option<String> {
        if self.is_ready() {
            return None;
        }
        if let Some(unplaced) = self.unplaced() {
            return Some(unplaced);
        }
        if let Some(waiting) = self.waiting() {
            let first = waiting.message.lines().next().unwrap_or_default();
            let colon = if first.is_empty() { "" } else { ": " };
            return Some(format!("{}{colon}{first}", waiting.reason));
        }
        if self.status.container_statuses.iter().any(|container| !container.ready) {
            return Some("its health check does not succeed".to_owned());
        }
        self.node_name().map(|node| format!("{node} does not report"))
    }

    pub(super) fn node_name(&self) -> Option<&str> {
        self.spec.node_name.as_deref()
    }
}

impl ObjectList {
    /// Returns the deployments and the pods.
    pub(super) fn split(self) -> (Vec<DeploymentState>, Vec<PodState>) {
        let (mut deployments, mut pods) = (Vec::new(), Vec::new());
        for item in self.items {
            match item {
                ClusterItem::Deployment(deployment) => deployments.push(deployment),
                ClusterItem::Pod(pod) => pods.push(pod),
                _ => {}
            }
        }
        (deployments, pods)
    }
}

#[cfg(test)]
mod tests;
