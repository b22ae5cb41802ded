//! Progress of a rollout: a function of what kubectl reports.

use std::time::Duration;

use serde::Deserialize;

use crate::kubernetes::refusal;

use super::{COMPONENT, ObjectCondition, ObjectMetadata, PodState};

/// Time after the deadline of a deployment until which the cluster has told that it has passed.
const DEADLINE_REPORT: Duration = Duration::from_secs(30);
/// Least time for which a deployment may be refused its pods: others of the namespace may end meanwhile.
const REFUSED: Duration = Duration::from_secs(20);
/// Deadline of a deployment that sets none.
const DEFAULT_DEADLINE: u64 = 600;
/// Seconds that a pod which sets none has to end.
const DEFAULT_GRACE_PERIOD: u64 = 30;

#[derive(Debug, Clone, Deserialize)]
pub(in crate::kubernetes) struct DeploymentState {
    pub(in crate::kubernetes) metadata: ObjectMetadata,
    spec: DeploymentSpec,
    #[serde(default)]
    status: DeploymentStatus,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentSpec {
    #[serde(default)]
    replicas: u32,
    progress_deadline_seconds: Option<u64>,
    #[serde(default)]
    template: PodTemplate,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PodTemplate {
    spec: TemplateSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TemplateSpec {
    termination_grace_period_seconds: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeploymentStatus {
    observed_generation: u64,
    replicas: u32,
    updated_replicas: u32,
    available_replicas: u32,
    conditions: Vec<ObjectCondition>,
}

/// Progress of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kubernetes) enum RolloutProgress {
    /// Every pod is up, and the old ones are gone or going.
    Complete,
    /// Remaining work, for the push.
    Waiting(String),
    Failed(RolloutFailure),
}

/// Reason for which a rollout cannot succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kubernetes) struct RolloutFailure {
    pub(in crate::kubernetes) reason: String,
    /// Pod whose log may say more, and true if its process has ended before.
    pub(in crate::kubernetes) pod: Option<(String, bool)>,
    /// Advice for the user.
    pub(in crate::kubernetes) hint: Option<&'static str>,
}

/// Times that a rollout has spent without progress.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::kubernetes) struct RolloutDelay {
    /// Time since the remaining work has changed.
    pub(in crate::kubernetes) idle: Duration,
    /// Time for which the cluster has refused pods without one that ends: see [`is_refused`].
    pub(in crate::kubernetes) refused: Duration,
}

impl DeploymentState {
    /// Returns whether the cluster has given the rollout up. It does not watch one whose pods have been up once, and
    /// a control plane that is ill reports nothing: `idle` is the time without progress.
    fn is_out_of_time(&self, idle: Duration) -> bool {
        let deadline = Duration::from_secs(self.spec.progress_deadline_seconds.unwrap_or(DEFAULT_DEADLINE));
        if self.remaining().is_some() && idle > deadline + DEADLINE_REPORT {
            return true;
        }
        let conditions = &self.status.conditions;
        self.status.observed_generation >= self.metadata.generation
            && conditions
                .iter()
                .any(|one| one.kind == "Progressing" && one.reason == "ProgressDeadlineExceeded")
    }

    /// Returns why the cluster refuses to make its pods, such as a quota of the namespace.
    fn refusal(&self) -> Option<&str> {
        let refused = |one: &&ObjectCondition| one.kind == "ReplicaFailure" && one.status == "True";
        self.status.conditions.iter().find(refused).map(|one| refusal::reason_of(&one.message))
    }

    /// Returns the time for which it may be refused its pods. The cluster tries again at growing intervals: after
    /// the end of a pod, the next attempt comes no later than that pod took to end.
    fn refusal_limit(&self) -> Duration {
        let grace = self.spec.template.spec.termination_grace_period_seconds;
        REFUSED.max(Duration::from_secs(grace.unwrap_or(DEFAULT_GRACE_PERIOD)))
    }

    /// Returns what is left to do; `None` if its rollout is complete.
    fn remaining(&self) -> Option<String> {
        let (name, wanted, status) = (&self.metadata.name, self.spec.replicas, &self.status);
        if status.observed_generation < self.metadata.generation {
            return Some(format!("{name}: the cluster has not seen it yet"));
        }
        if status.updated_replicas < wanted {
            return Some(format!("{name}: {} of {wanted} new pods made", status.updated_replicas));
        }
        if status.replicas > status.updated_replicas {
            let old = status.replicas - status.updated_replicas;
            return Some(format!("{name}: {old} old pods end"));
        }
        (status.available_replicas < wanted)
            .then(|| format!("{name}: {} of {wanted} pods ready", status.available_replicas))
    }
}

/// Returns whether the cluster refuses pods of a deployment, and none of these pods makes room by its end.
pub(in crate::kubernetes) fn is_refused(deployments: &[DeploymentState], pods: &[PodState]) -> bool {
    let ends = |pod: &PodState| pod.metadata.deletion_timestamp.is_some();
    !pods.iter().any(ends) && deployments.iter().any(|one| one.refusal().is_some())
}

/// Judges the rollout of deployments by their state, that of the pods that it has made, and the time for which
/// neither has changed.
pub(in crate::kubernetes) fn judge_rollout(
    deployments: &[DeploymentState],
    pods: &[PodState],
    delay: RolloutDelay,
) -> RolloutProgress {
    let alive = || pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let log_of = |pod: &PodState| Some((pod.metadata.name.clone(), pod.restarts() > 0));
    if let Some((pod, reason)) = alive().find_map(|pod| Some((pod, pod.failure()?))) {
        return RolloutProgress::Failed(RolloutFailure { reason, pod: log_of(pod), hint: None });
    }
    let refusal = |one: &DeploymentState| {
        let why = one.refusal()?;
        let reason = format!("{}: the cluster refuses its pods: {why}", one.metadata.name);
        Some(RolloutFailure { reason, pod: None, hint: refusal::deploy_hint(why) })
    };
    let has_waited = |one: &&DeploymentState| delay.refused > one.refusal_limit();
    if let Some(failure) = deployments.iter().filter(has_waited).find_map(refusal) {
        return RolloutProgress::Failed(failure);
    }
    if let Some(late) = deployments.iter().find(|one| one.is_out_of_time(delay.idle)) {
        if let Some(failure) = refusal(late) {
            return RolloutProgress::Failed(failure);
        }
        let name = &late.metadata.name;
        let of_it = |pod: &&PodState| pod.metadata.label(COMPONENT) == late.metadata.label(COMPONENT);
        let found = alive().filter(of_it).find_map(|pod| Some((pod, pod.why_not_ready()?)));
        let in_time = |what: &str| format!("{name}: {what} in time");
        let failure = match found {
            Some((pod, why)) => RolloutFailure {
                reason: format!("{} has not become ready in time: {why}", pod.metadata.name),
                pod: log_of(pod),
                hint: None,
            },
            None if late.spec.replicas == 0 => {
                RolloutFailure { reason: in_time("its pods have not ended"), pod: None, hint: None }
            }
            None => RolloutFailure { reason: in_time("it has not come up"), pod: None, hint: None },
        };
        return RolloutProgress::Failed(failure);
    }
    let remaining: Vec<String> = deployments.iter().filter_map(DeploymentState::remaining).collect();
    if remaining.is_empty() {
        RolloutProgress::Complete
    } else {
        RolloutProgress::Waiting(remaining.join("; "))
    }
}
