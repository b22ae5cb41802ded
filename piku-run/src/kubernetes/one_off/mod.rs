//! Processes of `run` in a cluster: a pod of its own with the image, the variables and the volume of the live
//! release, which is removed when the command ends or its client is cut off.

mod attach;
mod pod;
mod session;

use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;
use serde_json::json;

use super::KubernetesApp;
use super::kubectl::{KubectlClient, REQUEST_LIMIT};
use super::state::{COMPONENT, INSTANCE, MANAGED_BY, MANAGER, ONE_OFF, ObjectList, PodState, VERSION};
use crate::desired;
use crate::releases::current;
use attach::CUT_OFF;
use pod::pod_spec;
use session::{ClientWatch, PodSession};

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
        let terminal = (stdin().is_terminal() && stdout().is_terminal()).then(|| {
            std::env::var_os("TERM")
                .and_then(|name| name.into_string().ok())
                .unwrap_or_else(|| "dumb".to_owned())
        });
        let spec = pod_spec(&objects, argv, terminal.as_deref())?;
        self.remove_left_pods();
        let session = PodSession::begin(self)?;
        let labels = json!({
            "app.kubernetes.io/name": self.app.as_str(), INSTANCE: self.app.as_str(), COMPONENT: ONE_OFF,
            MANAGED_BY: MANAGER, VERSION: live.to_string(),
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": session.pod, "labels": labels }, "spec": spec,
        });
        let mut client = ClientWatch::begin()?;
        let ran = self
            .kubectl_now()
            .run_by(&mut client, &["create", "--filename=-", REQUEST_LIMIT], Some(&pod.to_string()))
            .and_then(|created| match created {
                Some(_) => self.follow_pod(&session.pod, terminal.is_some(), &mut client),
                None => Ok(CUT_OFF),
            });
        let is_cut_off = client.is_cut_off();
        drop(client);
        // Only a client that is gone does not mind to wait for a cluster that does not answer.
        let kubectl = if is_cut_off { self.kubectl() } else { self.kubectl_now() };
        if let Err(err) = remove_pods(&kubectl, &[&session.pod]) {
            progress::warning(&format!("the pod {} may still run: {err:#}", session.pod));
        }
        ran.map(ExitCode::from)
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
