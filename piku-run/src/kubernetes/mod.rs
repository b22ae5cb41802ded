//! Apps that run in a cluster of Kubernetes: `kubernetes` in `deploy_to` of host.yaml.
//!
//! Releases, config and formation are those of the app's directory here, as for an app of this machine; the
//! cluster takes the place of the supervisor and gets its requests. Everything in the cluster is made from a
//! release: a change applies the objects of the new one, and if that fails, those of the release before it.

mod change;
mod cron_run;
mod image;
mod kubectl;
mod moving;
mod objects;
mod one_off;
mod ownership;
mod pods;
mod record;
mod refusal;
mod release_job;
mod rollout;
mod state;

use std::time::Duration;

use anyhow::Context;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::{ClusterTarget, DeployTo, HostSettings};
use piku_report::progress;
use piku_report::user_error::UserError;
use serde_json::Value;

use crate::ipc::protocol::{FailedReply, SupervisorRequest};
use crate::lock;
use crate::releases::current;

use kubectl::KubectlClient;
use record::ClusterRecord;
use state::{INSTANCE, MANAGED_BY, MANAGER};

pub(crate) use moving::{leave_cluster, remove_from_clusters};
pub(crate) use one_off::run_one_off;
pub(crate) use pods::logs::{PodLogQuery, print_pod_logs};

/// Time within which a question about the pods of an app is answered.
const LOOK: Duration = Duration::ZERO;

/// An app and the cluster in which it runs.
#[derive(Debug)]
pub(crate) struct KubernetesApp {
    root: PikuRoot,
    app: AppName,
    dir: AppDir,
    to: DeployTo,
    target: ClusterTarget,
    /// Address of the API server when the app was deployed there last, if that is recorded.
    server: Option<String>,
}

/// The data of an answer, or the reason for which a request was refused.
type ClusterAnswer = Result<Option<Value>, FailedReply>;

impl KubernetesApp {
    /// Returns the cluster in which the app runs; `None` if it runs on this machine.
    ///
    /// # Errors
    /// Fails if the settings or the record cannot be read.
    pub(crate) fn running(root: &PikuRoot, app: &AppName) -> anyhow::Result<Option<Self>> {
        let Some(record) = ClusterRecord::read(&root.app(app))? else { return Ok(None) };
        let own = Self::recorded(root, app, record)?;
        // The settings may know a newer kubeconfig of the same cluster.
        match (own, Self::wanted(root, app)?) {
            (Some(own), Some(wanted)) if own.to != wanted.to && own.is_same_place(&wanted) => {
                Ok(Some(Self { server: own.server, ..wanted }))
            }
            (own, _) => Ok(own),
        }
    }

    /// Returns the cluster in which the next release of the app is to run.
    ///
    /// # Errors
    /// Fails if the settings cannot be read or are bad.
    fn wanted(root: &PikuRoot, app: &AppName) -> anyhow::Result<Option<Self>> {
        let to = HostSettings::read(&root.settings())?.deploy_to.remove(app).unwrap_or_default();
        Self::new(root, app, to)
    }

    /// Returns the cluster of a record.
    fn recorded(root: &PikuRoot, app: &AppName, record: ClusterRecord) -> anyhow::Result<Option<Self>> {
        let ClusterRecord { to, server, .. } = record;
        Ok(Self::new(root, app, to)?.map(|cluster| Self { server, ..cluster }))
    }

    fn new(root: &PikuRoot, app: &AppName, to: DeployTo) -> anyhow::Result<Option<Self>> {
        let Some(target) = to.cluster()?.cloned() else { return Ok(None) };
        Ok(Some(Self { root: root.clone(), app: app.clone(), dir: root.app(app), to, target, server: None }))
    }

    /// Returns whether the objects of both are the same ones.
    fn is_same_place(&self, other: &Self) -> bool {
        if (&self.target.context, &self.target.namespace) != (&other.target.context, &other.target.namespace)
        {
            return false;
        }
        let server_of = |one: &Self| one.server.clone().or_else(|| one.server_now());
        // Without a kubeconfig that names a server, the context must do.
        server_of(self).zip(server_of(other)).is_none_or(|(one, two)| one == two)
    }

    /// Returns the address of the API server to which the context leads; `None` if kubectl cannot tell.
    fn server_now(&self) -> Option<String> {
        let template = "--output=jsonpath={.clusters[0].cluster.server}";
        let server = self.kubectl_now().run(&["config", "view", "--minify", template]).ok()?;
        Some(server.trim().to_owned()).filter(|server| !server.is_empty())
    }

    /// Returns the error of a context that leads to another cluster than the recorded one.
    fn other_server(&self) -> anyhow::Error {
        let (context, before) = (&self.target.context, self.server.as_deref().unwrap_or_default());
        UserError::new(format!("the context {context} leads to another cluster than {before}")).into()
    }

    /// Returns kubectl for changes, which wait for a cluster that is away.
    fn kubectl(&self) -> KubectlClient {
        KubectlClient::new(&self.target, Duration::from_secs(self.to.patience))
    }

    /// Returns kubectl for questions.
    fn kubectl_now(&self) -> KubectlClient {
        KubectlClient::new(&self.target, LOOK)
    }

    /// Returns the labels of all objects of the app.
    fn selector(&self) -> String {
        format!("{INSTANCE}={},{MANAGED_BY}={MANAGER}", self.app)
    }

    /// Waits for the change of the app that is in progress.
    fn lock(&self) -> anyhow::Result<FileLock> {
        current::create_dir(self.dir.run())?;
        let path = self.dir.run().join("cluster.lock");
        lock::wait_for(&self.root, &format!("the change of {} that is in progress", self.app), || {
            lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))
        })
    }
}

/// Returns the URLs of an app that runs in a cluster; `None` if it runs on this machine.
///
/// # Errors
/// Fails if the record cannot be read.
pub(crate) fn cluster_urls(root: &PikuRoot, app: &AppName) -> anyhow::Result<Option<Vec<String>>> {
    Ok(ClusterRecord::read(&root.app(app))?.map(|record| record.urls))
}

/// Checks that an app runs on this machine. `why` says what a cluster lacks for the caller.
///
/// # Errors
/// Fails with both reason and `hint` if it runs in a cluster.
pub(crate) fn check_not_in_cluster(
    root: &PikuRoot,
    app: &AppName,
    why: &str,
    hint: &str,
) -> anyhow::Result<()> {
    match ClusterRecord::read(&root.app(app))? {
        Some(_) => Err(UserError::new(format!("{app} runs in a cluster: {why}")).hint(hint).into()),
        None => Ok(()),
    }
}

/// Warns that what follows concerns the files of an app on this machine alone, if it runs in a cluster.
///
/// # Errors
/// Fails if the record cannot be read.
pub(crate) fn warn_of_cluster_files(root: &PikuRoot, app: &AppName, what: &str) -> anyhow::Result<()> {
    if ClusterRecord::read(&root.app(app))?.is_some() {
        progress::warning(&format!("{app} runs in a cluster: {what}"));
    }
    Ok(())
}

/// Answers a request if the app runs in a cluster, or moves there with it. `None` if it is a supervisor's.
///
/// # Errors
/// Fails if the cluster does not do what was asked; it then runs what it ran before.
pub(crate) fn answer(
    root: &PikuRoot,
    app: &AppName,
    request: &SupervisorRequest,
) -> anyhow::Result<Option<ClusterAnswer>> {
    let moves =
        matches!(request, SupervisorRequest::Deploy { .. } | SupervisorRequest::Restart { only: None, .. });
    let cluster = if moves { KubernetesApp::wanted(root, app)? } else { KubernetesApp::running(root, app)? };
    let Some(cluster) = cluster else { return Ok(None) };
    Ok(Some(match request {
        SupervisorRequest::Deploy { dir, task, after, .. } => cluster.deploy(dir, *task, *after)?,
        SupervisorRequest::Restart { only, index } => {
            cluster.restart(only.as_ref(), *index).map(|()| Ok(None))?
        }
        SupervisorRequest::Scale { counts } => cluster.scale(counts).map(|()| Ok(None))?,
        SupervisorRequest::Stop { stay } => cluster.stop(*stay).map(|()| Ok(None))?,
        SupervisorRequest::Ps => Ok(Some(cluster.instance_rows()?)),
        SupervisorRequest::Route | SupervisorRequest::Logs { .. } | SupervisorRequest::Leave => Ok(None),
    }))
}
