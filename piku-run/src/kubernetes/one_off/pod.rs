//! The pod of a one-off process: that of the first process type, without what serves.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kubernetes::objects::ClusterObjects;
use crate::kubernetes::state::ONE_OFF;

/// Seconds after which a pod ends that its session has not removed.
const LONGEST: u32 = 86400;
/// Settings of a container that gets requests.
const OF_SERVERS: [&str; 5] = ["ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle"];
/// Makes a command wait until its client is attached, because the cluster drops what it prints before: the client
/// sends a line first.
const WAIT_FOR_LINE: &str = "IFS= read -r _; exec \"$@\"";
/// The same on a terminal, which has a size when a client is attached. One without a size waits for five seconds.
const WAIT_FOR_SIZE: &str = "i=0; while [ $i -lt 50 ] && [ \"$(stty size 2>/dev/null)\" = '0 0' ]; do \
                             i=$((i + 1)); sleep 0.1; done; exec \"$@\"";

#[derive(Deserialize)]
struct RenderedWorkload {
    kind: String,
    #[serde(default)]
    spec: Value,
}

/// Returns the specification of a pod of the first deployment that runs this command once its client is attached.
/// `terminal` is the type of the client's terminal, if it has one.
pub(super) fn pod_spec(
    objects: &ClusterObjects,
    argv: &[String],
    terminal: Option<&str>,
) -> anyhow::Result<Value> {
    let mut found = None;
    for document in serde_yaml::Deserializer::from_str(&objects.rollout) {
        let workload: Option<RenderedWorkload> =
            Deserialize::deserialize(document).context("cannot read the rendered objects")?;
        let template = workload.and_then(|workload| match workload.kind.as_str() {
            "Deployment" => workload.spec.pointer("/template/spec").cloned(),
            "CronJob" => workload.spec.pointer("/jobTemplate/spec/template/spec").cloned(),
            _ => None,
        });
        found = found.or(template);
    }
    let mut spec = found.context("the release has nothing that runs in a pod")?;
    spec["restartPolicy"] = json!("Never");
    spec["activeDeadlineSeconds"] = json!(LONGEST);
    let container = spec.pointer_mut("/containers/0").and_then(Value::as_object_mut);
    let container = container.context("the pod has no container")?;
    for name in OF_SERVERS {
        container.remove(name);
    }
    let gate = if terminal.is_some() { WAIT_FOR_SIZE } else { WAIT_FOR_LINE };
    let words = ["/bin/sh", "-c", gate, ONE_OFF].into_iter().chain(argv.iter().map(String::as_str));
    let words: Vec<String> = words.map(literal).collect();
    container.insert("name".to_owned(), json!(ONE_OFF));
    container.insert("args".to_owned(), json!(words));
    container.insert("stdin".to_owned(), json!(true));
    container.insert("stdinOnce".to_owned(), json!(true));
    container.insert("tty".to_owned(), json!(terminal.is_some()));
    if let Some(terminal) = terminal {
        let variables = container.entry("env").or_insert_with(|| json!([]));
        let variables = variables.as_array_mut().context("the variables are no list")?;
        variables.push(json!({ "name": "TERM", "value": literal(terminal) }));
    }
    Ok(spec)
}

/// Returns the text as Kubernetes passes it on unchanged: `$$` is a dollar sign to it.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_off_pod_is_that_of_a_process_without_what_serves() {
        let rollout = "kind: Service\nmetadata: {name: a}\nspec: {}\n---\nkind: Deployment\nmetadata: {name: a-web}\n\
                       spec:\n  template:\n    spec:\n      containers:\n      - {name: web, image: i, args: [x], \
                       startupProbe: {}, ports: []}\n      volumes: []\n";
        let objects =
            ClusterObjects { config: String::new(), release: String::new(), rollout: rollout.to_owned() };
        let argv = ["sh", "-c", "echo $HOME"].map(str::to_owned);
        let spec = pod_spec(&objects, &argv, None).unwrap();
        let gate = "IFS= read -r _; exec \"$$@\"";
        let container = json!({
            "name": "run", "image": "i", "args": ["/bin/sh", "-c", gate, "run", "sh", "-c", "echo $$HOME"],
            "stdin": true, "stdinOnce": true, "tty": false,
        });
        let wanted = json!({
            "containers": [container], "volumes": [], "restartPolicy": "Never", "activeDeadlineSeconds": 86400,
        });
        assert_eq!(spec, wanted);
        let spec = pod_spec(&objects, &argv, Some("xterm-$x")).unwrap();
        let container = &spec["containers"][0];
        assert_eq!(container["env"], json!([{ "name": "TERM", "value": "xterm-$$x" }]));
        assert_eq!(container["tty"], true);
        let none = ClusterObjects { config: String::new(), release: String::new(), rollout: String::new() };
        assert!(pod_spec(&none, &argv, None).is_err());
    }
}
