//! Processes of `run` in a cluster: a pod of its own with the image, the variables and the volume of the live
//! release, which is removed when the command ends or its client is cut off.

mod session;

use std::io::{IsTerminal, stdin, stdout};
use std::process::{ExitCode, Stdio};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::KubernetesApp;
use super::kubectl::{KubectlClient, REQUEST_LIMIT};
use super::objects::ClusterObjects;
use super::state::{COMPONENT, ONE_OFF, ObjectList, PodState};
use crate::desired;
use crate::releases::current;
use session::{PodSession, run_attached};

/// Seconds after which a pod ends that its session has not removed.
const LONGEST: u32 = 86400;
/// Settings of a container that gets requests.
const OF_SERVERS: [&str; 5] = ["ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle"];

/// Runs a command in a pod, if the app runs in a cluster. Returns `None` if it runs on this machine.
///
/// # Errors
/// Fails if the pod cannot be made.
pub(crate) fn run_one_off(
    root: &PikuRoot,
    app: &AppName,
    argv: impl FnOnce(u64) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<Option<ExitCode>> {
    let Some(cluster) = KubernetesApp::running(root, app)? else { return Ok(None) };
    let live = current::live_release(&cluster.dir)?;
    let live =
        live.ok_or_else(|| UserError::new(format!("{app} has no release yet")).hint("push it first"))?;
    cluster.run_pod(live, &argv(live)?).map(Some)
}

impl KubernetesApp {
    fn run_pod(&self, live: u64, argv: &[String]) -> anyhow::Result<ExitCode> {
        let image = self.live_image(live)?;
        let objects =
            self.render_objects(live, &image, &desired::read_formation(&self.dir.formation())?, true)?;
        let has_terminal = stdin().is_terminal() && stdout().is_terminal();
        let spec = pod_spec(&objects, argv, has_terminal)?;
        self.remove_left_pods();
        let session = PodSession::begin(self)?;
        let labels = format!(
            "app.kubernetes.io/name={app},app.kubernetes.io/instance={app},app.kubernetes.io/component={ONE_OFF},\
             app.kubernetes.io/managed-by=piku,app.kubernetes.io/version={live}",
            app = self.app
        );
        let words = [
            "run",
            &session.pod,
            &format!("--image={image}"),
            "--restart=Never",
            "--rm",
            "--stdin",
            "--quiet",
            "--pod-running-timeout=5m",
            &format!("--labels={labels}"),
            &format!("--overrides={}", json!({ "apiVersion": "v1", "spec": spec })),
        ];
        let mut command = self.kubectl_now().following_command(&words);
        command.args(has_terminal.then_some("--tty")).stdin(Stdio::inherit());
        let end = run_attached(command)?;
        // A kubectl that has failed, or was ended, may have left its pod. Only a client that is gone does not mind to
        // wait for a cluster that does not answer.
        if !end.status.success() {
            let kubectl = if end.is_cut_off { self.kubectl() } else { self.kubectl_now() };
            if let Err(err) = remove_pods(&kubectl, &[&session.pod]) {
                progress::warning(&format!("the pod {} may still run: {err:#}", session.pod));
            }
        }
        Ok(ExitCode::from(crate::commands::exit_code_of(end.status)))
    }

    /// Removes the pods of sessions that a crash has ended.
    pub(super) fn remove_left_pods(&self) {
        let removed = self.list_one_off_pods().and_then(|pods| {
            let left: Vec<&str> =
                pods.iter().map(String::as_str).filter(|pod| !PodSession::is_open(self, pod)).collect();
            remove_pods(&self.kubectl(), &left)?;
            left.into_iter().try_for_each(|pod| PodSession::remove_lock(self, pod))
        });
        if let Err(err) = removed {
            progress::warning(&format!("pods of earlier sessions may still run: {err:#}"));
        }
    }

    fn list_one_off_pods(&self) -> anyhow::Result<Vec<String>> {
        let of_it = format!("{},{COMPONENT}={ONE_OFF}", self.selector());
        let list: ObjectList = self.kubectl_now().get(&["pods", "--selector", &of_it])?;
        let pods = list.split().1.into_iter().filter(PodState::is_one_off);
        Ok(pods.map(|pod| pod.metadata.name).collect())
    }
}

fn remove_pods(kubectl: &KubectlClient, names: &[&str]) -> anyhow::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let delete = ["delete", "pod", "--ignore-not-found", "--wait=false", REQUEST_LIMIT];
    kubectl.run(&[&delete, names].concat()).map(drop)
}

#[derive(Deserialize)]
struct RenderedWorkload {
    kind: String,
    #[serde(default)]
    spec: Value,
}

/// Returns the specification of a pod of the first deployment that runs this command.
fn pod_spec(objects: &ClusterObjects, argv: &[String], has_terminal: bool) -> anyhow::Result<Value> {
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
    // `$$` is a dollar sign to Kubernetes.
    let words: Vec<String> = argv.iter().map(|word| word.replace('$', "$$")).collect();
    container.insert("name".to_owned(), json!(ONE_OFF));
    container.insert("args".to_owned(), json!(words));
    container.insert("stdin".to_owned(), json!(true));
    container.insert("stdinOnce".to_owned(), json!(true));
    container.insert("tty".to_owned(), json!(has_terminal));
    Ok(spec)
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
        let spec = pod_spec(&objects, &argv, false).unwrap();
        let container = json!({
            "name": "run", "image": "i", "args": ["sh", "-c", "echo $$HOME"], "stdin": true, "stdinOnce": true,
            "tty": false,
        });
        let wanted = json!({
            "containers": [container], "volumes": [], "restartPolicy": "Never", "activeDeadlineSeconds": 86400,
        });
        assert_eq!(spec, wanted);
        let none = ClusterObjects { config: String::new(), release: String::new(), rollout: String::new() };
        assert!(pod_spec(&none, &argv, false).is_err());
    }
}
