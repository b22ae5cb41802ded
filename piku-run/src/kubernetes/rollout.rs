//! Watches a rollout: prints the events of its pods, and the log of one that fails.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use piku_report::progress;
use piku_report::user_error::UserError;

use super::KubernetesApp;
use super::kubectl::KubectlClient;
use super::state::{
    COMPONENT, ClusterItem, DeploymentState, EventState, ObjectList, PodState, RolloutDelay, RolloutFailure,
    RolloutProgress, VERSION, is_refused, judge_rollout,
};

/// Time between two questions to the cluster.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Lines of a failed pod's log that are shown.
const LAST_LINES: &str = "--tail=20";

/// Pods and events before a change: they are not its own.
#[derive(Debug, Default)]
pub(super) struct RolloutStart {
    pods: BTreeSet<String>,
    events: SeenEvents,
}

/// Ids of events. One that repeats every few seconds keeps its id, and is printed once.
pub(super) type SeenEvents = BTreeSet<String>;

impl KubernetesApp {
    /// Notes what there is before a change.
    pub(super) fn note_start(&self) -> anyhow::Result<RolloutStart> {
        let (_, pods) = self.list_workloads(&self.kubectl())?;
        let mut start = RolloutStart {
            pods: pods.into_iter().map(|pod| pod.metadata.name).collect(),
            events: SeenEvents::new(),
        };
        // An operator may not let piku see events.
        if let Ok(events) = list_events(&self.kubectl_now()) {
            take_new_events(events, &mut start.events, |_| true);
        }
        Ok(start)
    }

    fn list_workloads(
        &self,
        kubectl: &KubectlClient,
    ) -> anyhow::Result<(Vec<DeploymentState>, Vec<PodState>)> {
        let list: ObjectList = kubectl.get(&["deployments,pods", "--selector", &self.selector()])?;
        Ok(list.split())
    }

    /// Waits until these deployments run release `number` as it was applied.
    ///
    /// # Errors
    /// Fails with the reason of a pod that will not come up.
    pub(super) fn wait_for_rollout(
        &self,
        number: u64,
        deployments: &[String],
        start: RolloutStart,
    ) -> anyhow::Result<()> {
        let version = number.to_string();
        let RolloutStart { pods: before, mut events } = start;
        let kubectl = self.kubectl();
        let (mut told, mut changed, mut refused_since) = (String::new(), Instant::now(), None);
        loop {
            let (mut states, mut pods) = self.list_workloads(&kubectl)?;
            states.retain(|state| deployments.contains(&state.metadata.name));
            refused_since = is_refused(&states, &pods).then(|| refused_since.unwrap_or_else(Instant::now));
            let components: BTreeSet<String> =
                states.iter().map(|state| state.metadata.label(COMPONENT).to_owned()).collect();
            // Pods of jobs come and go by themselves, and those of a release that has failed before go.
            pods.retain(|pod| {
                !before.contains(&pod.metadata.name)
                    && !pod.is_one_off()
                    && pod.metadata.label(VERSION) == version
                    && components.contains(pod.metadata.label(COMPONENT))
            });
            self.print_events(&pods, deployments, &mut events);
            let refused = refused_since.as_ref().map_or(Duration::ZERO, Instant::elapsed);
            match judge_rollout(&states, &pods, RolloutDelay { idle: changed.elapsed(), refused }) {
                RolloutProgress::Complete => return Ok(()),
                RolloutProgress::Failed(failure) => {
                    if pods.iter().any(PodState::lacks_image) {
                        self.note_lost_image(number);
                    }
                    return Err(explain(&kubectl, &failure).into());
                }
                RolloutProgress::Waiting(remaining) => {
                    if remaining != told {
                        progress::detail(&remaining);
                        (told, changed, refused_since) = (remaining, Instant::now(), None);
                    }
                }
            }
            sleep(PAUSE);
        }
    }

    /// Prints new events of these pods, and warnings about the deployments that make them.
    fn print_events(&self, pods: &[PodState], deployments: &[String], seen: &mut SeenEvents) {
        let Ok(events) = list_events(&self.kubectl_now()) else { return };
        let is_ours = |event: &EventState| {
            let subject = &event.involved_object;
            match subject.kind.as_str() {
                "Pod" => pods.iter().any(|pod| pod.metadata.name == subject.name),
                "ReplicaSet" | "Deployment" => {
                    event.level == "Warning" && deployments.iter().any(|name| is_of(&subject.name, name))
                }
                _ => false,
            }
        };
        for event in take_new_events(events, seen, is_ours) {
            progress::detail(&event);
        }
    }
}

/// Returns the error of a rollout, with the last lines of the pod's log.
fn explain(kubectl: &KubectlClient, failure: &RolloutFailure) -> UserError {
    let mut message = failure.reason.clone();
    if let Some((pod, has_ended)) = &failure.pod {
        let previous: &[&str] = if *has_ended { &["--previous"] } else { &[] };
        let log = kubectl.run(&[&["logs", pod, LAST_LINES], previous].concat());
        // A process that has never run has no log.
        let log = log.unwrap_or_default();
        if !log.trim().is_empty() {
            message.push_str("\nthe last lines of its log:");
            for line in log.lines() {
                message.push_str("\n  ");
                message.push_str(line);
            }
        }
    }
    let err = UserError::new(message);
    match failure.hint {
        Some(hint) => err.hint(hint),
        None => err,
    }
}

/// Returns whether an object is a deployment, or one of its replica sets.
fn is_of(object: &str, deployment: &str) -> bool {
    match object.strip_prefix(deployment) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|hash| !hash.contains('-')),
        None => false,
    }
}

pub(super) fn list_events(kubectl: &KubectlClient) -> anyhow::Result<Vec<EventState>> {
    let list: ObjectList = kubectl.get(&["events"])?;
    let events = list.items.into_iter().filter_map(|item| match item {
        ClusterItem::Event(event) => Some(event),
        _ => None,
    });
    Ok(events.collect())
}

/// Returns a line for each event that was not seen.
pub(super) fn take_new_events(
    events: Vec<EventState>,
    seen: &mut SeenEvents,
    is_wanted: impl Fn(&EventState) -> bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    for event in events.into_iter().filter(is_wanted) {
        if seen.insert(event.metadata.uid) {
            let message = event.message.lines().next().unwrap_or_default();
            lines.push(format!("{}: {}: {message}", event.involved_object.name, event.reason));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_sets_belong_to_their_deployment() {
        assert!(is_of("blog-web", "blog-web") && is_of("blog-web-7c9d8", "blog-web"));
        assert!(!is_of("blog-web-admin-7c9d8", "blog-web") && !is_of("blog", "blog-web"));
    }
}
