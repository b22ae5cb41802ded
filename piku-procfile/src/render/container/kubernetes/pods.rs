//! The pods of a process type.

use piku_layout::jail::{APP, DATA};
use serde_json::{Value, json};

use super::super::app::ContainerProcess;
use super::super::limits::format_size;
use super::{ClusterApp, storage};

/// Units of a quantity.
pub(super) const UNITS: [&str; 4] = ["", "Ki", "Mi", "Gi"];
/// Name of the port in a container.
pub(super) const PORT_NAME: &str = "http";
/// Seconds for which a pod that ends still serves: until then, nodes may send requests to it.
const DRAIN: u32 = 5;

/// Seconds between two checks of an instance that starts: a deploy waits for them.
const STARTUP_PAUSE: u32 = 1;
/// Longest time for the answer to one of them, in seconds.
const STARTUP_TIMEOUT: u32 = 5;

/// Returns the template of a type's pods: metadata and specification.
pub(super) fn template(
    cluster: &ClusterApp,
    process: &ContainerProcess,
    restart_policy: Option<&str>,
) -> Value {
    let settings = cluster.settings;
    let mut spec = json!({});
    if let Some(policy) = restart_policy {
        spec["restartPolicy"] = json!(policy);
    }
    // The app asks nothing of the cluster, and other apps' services are not its business.
    spec["automountServiceAccountToken"] = json!(false);
    spec["enableServiceLinks"] = json!(false);
    let drain = if process.entry.kind.has_port() { DRAIN } else { 0 };
    spec["terminationGracePeriodSeconds"] = json!(cluster.app.stop_timeout.saturating_add(drain));
    spec["securityContext"] = json!({
        "runAsNonRoot": true,
        "runAsUser": settings.uid,
        "runAsGroup": settings.uid,
        "fsGroup": settings.uid,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    if let Some(secret) = &settings.pull_secret {
        spec["imagePullSecrets"] = json!([{ "name": secret }]);
    }
    if let Some(affinity) = affinity(cluster) {
        spec["affinity"] = affinity;
    }
    spec["containers"] = json!([container(cluster, process)]);
    let data = match settings.data_size {
        Some(_) => {
            json!({ "name": "data", "persistentVolumeClaim": { "claimName": storage::claim_name(cluster) } })
        }
        None => json!({ "name": "data", "emptyDir": {} }),
    };
    let size = format_size(process.limits.tmp, UNITS);
    let tmp = json!({ "name": "tmp", "emptyDir": { "medium": "Memory", "sizeLimit": size } });
    spec["volumes"] = json!([data, tmp]);
    json!({ "metadata": { "labels": cluster.labels(Some(&process.label)) }, "spec": spec })
}

/// Returns the rules for the nodes of a pod: those that the image runs on, and that of the volume, which only one
/// node mounts.
fn affinity(cluster: &ClusterApp) -> Option<Value> {
    let settings = cluster.settings;
    let mut affinity = json!({});
    if !settings.architectures.is_empty() {
        affinity["nodeAffinity"] = json!({
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{
                    "matchExpressions": [{
                        "key": "kubernetes.io/arch",
                        "operator": "In",
                        "values": settings.architectures,
                    }],
                }],
            },
        });
    }
    if settings.data_size.is_some() && !settings.shares_data {
        affinity["podAffinity"] = json!({
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": { "matchLabels": cluster.selector(None) },
            }],
        });
    }
    (affinity != json!({})).then_some(affinity)
}

fn container(cluster: &ClusterApp, process: &ContainerProcess) -> Value {
    let mut container = json!({
        "name": process.label,
        "image": cluster.app.image,
        // Arguments of the image's entry point, which runs them.
        "args": process.argv().map(|word| escape(&word)),
        "workingDir": APP,
        "env": variables(process),
        "envFrom": variable_sources(cluster),
    });
    if process.entry.kind.has_port() {
        container["ports"] = json!([{ "name": PORT_NAME, "containerPort": cluster.app.port }]);
        add_probes(cluster, &mut container);
        container["lifecycle"] =
            json!({ "preStop": { "exec": { "command": ["sleep", DRAIN.to_string()] } } });
    }
    let limits = &process.limits;
    let mut amounts = json!({});
    if let Some(cpu) = limits.cpu {
        amounts["cpu"] = json!(format!("{cpu}m"));
    }
    if let Some(memory) = limits.memory {
        amounts["memory"] = json!(format_size(memory, UNITS));
    }
    if amounts != json!({}) {
        // Requests that are not written are the same.
        container["resources"] = json!({ "limits": amounts });
    }
    container["securityContext"] = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": !cluster.settings.has_writable_root,
        "capabilities": { "drop": ["ALL"] },
    });
    container["volumeMounts"] =
        json!([{ "name": "data", "mountPath": DATA }, { "name": "tmp", "mountPath": "/tmp" }]);
    container
}

/// Returns the variables that differ between types and pods.
fn variables(process: &ContainerProcess) -> Value {
    let mut variables: Vec<Value> =
        process.variables().iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    variables.push(json!({ "name": "PS", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }));
    json!(variables)
}

/// Returns the objects that have the other variables; the last one takes precedence.
fn variable_sources(cluster: &ClusterApp) -> Value {
    let mut sources = vec![json!({ "configMapRef": { "name": cluster.config_name } })];
    if let Some(name) = &cluster.secret_name {
        sources.push(json!({ "secretRef": { "name": name } }));
    }
    json!(sources)
}

/// Adds the probes of a type that gets requests. As in piku, an instance that has started is ended only by its
/// own exit: there is no liveness probe.
fn add_probes(cluster: &ClusterApp, container: &mut Value) {
    let check = &cluster.app.check;
    let mut probe = match &check.path {
        Some(path) => json!({ "httpGet": { "path": path, "port": PORT_NAME } }),
        None => json!({ "tcpSocket": { "port": PORT_NAME } }),
    };
    if let (Some(_), Some(host)) = (&check.path, &check.host) {
        probe["httpGet"]["httpHeaders"] = json!([{ "name": "Host", "value": host }]);
    }
    let mut startup = probe.clone();
    // Failures add up to the start period unless checks are not answered: then the deadline of the deployment ends
    // the wait of a push.
    startup["timeoutSeconds"] = json!(STARTUP_TIMEOUT.min(check.start_period).min(check.timeout));
    startup["periodSeconds"] = json!(STARTUP_PAUSE);
    startup["failureThreshold"] = json!(check.start_period.div_ceil(STARTUP_PAUSE));
    probe["timeoutSeconds"] = json!(check.timeout);
    probe["periodSeconds"] = json!(10);
    container["startupProbe"] = startup;
    container["readinessProbe"] = probe;
}

/// Returns the text so that Kubernetes passes it on as it is: `$$` is a dollar sign to it, `$(NAME)` a variable.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        escaped.push(c);
        if c == '$' && matches!(chars.peek(), Some('$' | '(')) {
            escaped.push('$');
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollar_signs_reach_the_shell() {
        for (text, escaped) in [
            ("exec serve $PORT ${A}", "exec serve $PORT ${A}"),
            ("echo $$ >x.pid", "echo $$$ >x.pid"),
            ("echo $(date) $((1 + 1))", "echo $$(date) $$((1 + 1))"),
            ("$$(x) $", "$$$$(x) $"),
        ] {
            assert_eq!(escape(text), escaped);
        }
    }
}
