//! Rollouts as kubectl reports them.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn deployment(generation: u64, wanted: u32, status: &Value) -> DeploymentState {
    let metadata = json!({ "name": "blog-web", "generation": generation, "labels": { COMPONENT: "web" } });
    let value = json!({ "metadata": metadata, "spec": { "replicas": wanted }, "status": status });
    serde_json::from_value(value).expect("a deployment")
}

fn pod(status: &Value) -> PodState {
    let metadata = json!({ "name": "blog-web-7-x", "labels": { COMPONENT: "web" } });
    serde_json::from_value(json!({ "metadata": metadata, "spec": { "nodeName": "pi-2" }, "status": status }))
        .expect("a pod")
}

fn judge(deployment: &DeploymentState, pods: &[PodState]) -> RolloutProgress {
    judge_rollout(std::slice::from_ref(deployment), pods, RolloutDelay::default())
}

#[test]
fn a_rollout_is_complete_when_all_pods_are_new_and_up() {
    let waiting = |status: Value| match judge(&deployment(2, 2, &status), &[]) {
        RolloutProgress::Waiting(what) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(waiting(json!({})), "blog-web: the cluster has not seen it yet");
    assert_eq!(
        waiting(
            json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2 })
        ),
        "blog-web: 1 of 2 new pods made"
    );
    assert_eq!(
        waiting(
            json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3 })
        ),
        "blog-web: 1 old pods end"
    );
    assert_eq!(
        waiting(
            json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1 })
        ),
        "blog-web: 1 of 2 pods ready"
    );
    let done =
        json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
    assert_eq!(judge(&deployment(2, 2, &done), &[]), RolloutProgress::Complete);
    assert_eq!(judge(&deployment(1, 0, &json!({ "observedGeneration": 1 })), &[]), RolloutProgress::Complete);
    assert_eq!(
        judge_rollout(&[], &[], RolloutDelay { idle: Duration::MAX, refused: Duration::MAX }),
        RolloutProgress::Complete
    );
}

#[test]
fn a_rollout_without_progress_fails() {
    // Its pods have been up, and the cluster does not watch it any more.
    let seen = json!({
        "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1,
        "conditions": [{ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" }],
    });
    let lost = pod(&json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }] }));
    let judge = |seconds| {
        let delay = RolloutDelay { idle: Duration::from_secs(seconds), ..RolloutDelay::default() };
        judge_rollout(&[deployment(1, 1, &seen)], std::slice::from_ref(&lost), delay)
    };
    assert!(matches!(judge(630), RolloutProgress::Waiting(_)));
    let RolloutProgress::Failed(RolloutFailure { reason, .. }) = judge(631) else { panic!("it waits") };
    assert_eq!(reason, "blog-web-7-x has not become ready in time: pi-2 does not report");
}

#[test]
fn a_rollout_whose_pods_are_refused_waits_for_room() {
    let why = "pods \"blog-web-7-x\" is forbidden: exceeded quota: q";
    // The first of two pods is up; the second has no room until an old one has ended.
    let refused = |status: &str, grace: u64| {
        let condition = json!({
            "type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": why,
        });
        let status = json!({
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "conditions": [condition],
        });
        let template = json!({ "spec": { "terminationGracePeriodSeconds": grace } });
        let value = json!({
            "metadata": { "name": "blog-web", "generation": 1 }, "status": status,
            "spec": { "replicas": 2, "template": template },
        });
        serde_json::from_value::<DeploymentState>(value).expect("a deployment")
    };
    let mut old = pod(&json!({ "phase": "Running" }));
    assert!(is_refused(&[refused("True", 10)], std::slice::from_ref(&old)));
    assert!(!is_refused(&[refused("False", 10)], &[]));
    old.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
    assert!(!is_refused(&[refused("True", 10)], &[old]), "a pod that ends makes room");

    let judge = |status, grace, idle, seconds| {
        let delay = RolloutDelay { idle: Duration::from_secs(idle), refused: Duration::from_secs(seconds) };
        judge_rollout(&[refused(status, grace)], &[], delay)
    };
    // However long it took to make the first pod ready.
    assert!(matches!(judge("True", 10, 300, 20), RolloutProgress::Waiting(_)));
    assert!(matches!(judge("True", 40, 300, 40), RolloutProgress::Waiting(_)));
    assert!(matches!(judge("False", 10, 300, 21), RolloutProgress::Waiting(_)));
    // After the refusal, or at the deadline while a pod of a lost node does not end.
    for (grace, idle, refused) in [(10, 21, 21), (40, 41, 41), (10, 631, 0)] {
        let RolloutProgress::Failed(failure) = judge("True", grace, idle, refused) else {
            panic!("it waits")
        };
        assert_eq!(failure.reason, "blog-web: the cluster refuses its pods: exceeded quota: q");
        assert!(failure.hint.is_some_and(|hint| hint.contains("one more pod")), "{failure:?}");
    }
}

#[test]
fn a_pod_that_will_not_come_up_fails_the_rollout() {
    let starting = deployment(1, 1, &json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1 }));
    let failed = |status: Value| match judge(&starting, &[pod(&status)]) {
        RolloutProgress::Failed(RolloutFailure { reason, pod, .. }) => (reason, pod.expect("a pod").1),
        other => panic!("{other:?}"),
    };
    let waits = |reason: &str, message: &str| json!({ "waiting": { "reason": reason, "message": message } });
    let container = |state: Value, restarts: u32| {
        let last = json!({ "terminated": { "exitCode": 3, "reason": "Error" } });
        json!({ "phase": "Running", "containerStatuses": [{ "name": "web", "restartCount": restarts, "state": state, "lastState": last }] })
    };
    assert_eq!(
        failed(container(waits("CrashLoopBackOff", "back-off 10s"), 2)),
        ("blog-web-7-x crashes again and again: exit 3".to_owned(), true)
    );
    assert_eq!(
        failed(container(waits("ImagePullBackOff", "Back-off pulling image \"a\""), 0)),
        ("blog-web-7-x: its node cannot get the image: Back-off pulling image \"a\"".to_owned(), false)
    );
    assert_eq!(
        failed(container(waits("CreateContainerConfigError", "secret \"s\" not found"), 0)).0,
        "blog-web-7-x: its node cannot make the container: secret \"s\" not found"
    );
    assert_eq!(
        failed(json!({ "phase": "Failed", "message": "The node was low on memory" })).0,
        "blog-web-7-x has failed: The node was low on memory"
    );
    // An image that was not there at the first try may come.
    let trying = pod(&container(waits("ErrImagePull", "x"), 0));
    assert!(matches!(judge(&starting, &[trying]), RolloutProgress::Waiting(_)));
    // A pod that is being removed fails nothing.
    let mut leaving = pod(&container(waits("CrashLoopBackOff", ""), 2));
    leaving.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
    assert!(matches!(judge(&starting, &[leaving]), RolloutProgress::Waiting(_)));
}

#[test]
fn a_rollout_out_of_time_names_what_its_pod_lacks() {
    let conditions =
        json!([{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }]);
    let late = deployment(
        1,
        1,
        &json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "conditions": conditions }),
    );
    let reason = |pods: &[PodState]| match judge(&late, pods) {
        RolloutProgress::Failed(failure) => failure.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&[]), "blog-web: it has not come up in time");
    let unplaced =
        json!([{ "type": "PodScheduled", "status": "False", "message": "0/2 nodes are available" }]);
    assert_eq!(
        reason(&[pod(&json!({ "phase": "Pending", "conditions": unplaced }))]),
        "blog-web-7-x has not become ready in time: no node can run it: 0/2 nodes are available"
    );
    let unready = json!({ "phase": "Running", "containerStatuses": [{ "ready": false }] });
    assert_eq!(
        reason(&[pod(&unready)]),
        "blog-web-7-x has not become ready in time: its health check does not succeed"
    );
    // The verdict is about an older specification.
    let mut unseen = late.clone();
    unseen.metadata.generation = 2;
    assert!(matches!(judge(&unseen, &[]), RolloutProgress::Waiting(_)));
}

#[test]
fn lists_have_other_kinds_too() {
    let text = r#"{"items": [{"kind": "Lease", "status": 1}, {"kind": "Pod", "metadata": {"name": "a"}}]}"#;
    let (deployments, pods) = serde_json::from_str::<ObjectList>(text).expect("a list").split();
    assert_eq!((deployments.len(), pods.len()), (0, 1));
    assert_eq!(pods[0].why_not_ready(), None, "it has no node");
}

#[test]
fn a_container_that_the_cluster_has_added_is_not_the_apps() {
    let pod = |own: &Value| {
        let proxy = json!({ "name": "istio-proxy", "ready": true, "state": { "running": {} },
                            "lastState": { "terminated": { "exitCode": 9 } } });
        pod(&json!({ "phase": "Running", "containerStatuses": [proxy, { "name": "web", "state": own }] }))
    };
    let waiting = pod(&json!({ "waiting": { "reason": "ContainerCreating" } }));
    assert!(!waiting.is_started() && waiting.last_end().is_none());
    assert!(pod(&json!({ "running": {} })).is_started());
    let ended = pod(&json!({ "terminated": { "exitCode": 4, "reason": "Error" } }));
    assert_eq!(ended.last_end().map(ContainerEnd::describe), Some("exit 4".to_owned()));
}

#[test]
fn ends_of_processes() {
    let end = |exit_code: i32, reason: &str| ContainerEnd { exit_code, reason: reason.to_owned() }.describe();
    assert_eq!(end(137, "OOMKilled"), "out of memory");
    assert_eq!([end(143, "Error"), end(1, "Error"), end(0, "Completed")], ["signal 15", "exit 1", "exit 0"]);
}
