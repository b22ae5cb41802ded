//! Moves of an app between this machine and clusters: what it leaves is removed once it is up elsewhere.

use std::collections::BTreeSet;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;

use super::KubernetesApp;
use super::record::ClusterRecord;
use crate::ipc::client;
use crate::releases::current;

impl KubernetesApp {
    /// Records that the app runs in this cluster, and no longer in the one before. The record exists at each moment
    /// of that: without it, the app would be started on this machine.
    pub(super) fn record_move(&self, urls: Vec<String>) -> anyhow::Result<()> {
        if let Some(before) = ClusterRecord::read(&self.dir)? {
            let is_here = Self::running(&self.root, &self.app)?.is_some_and(|old| old.is_same_place(self));
            if !is_here {
                before.mark_left(&self.dir)?;
            }
        }
        ClusterRecord { to: self.to.clone(), server: self.server_now(), urls }.write(&self.dir)
    }

    /// Records where the app is reached: the settings of the ingress may have changed.
    pub(super) fn record_urls(&self, urls: Vec<String>) -> anyhow::Result<()> {
        match ClusterRecord::read(&self.dir)? {
            Some(record) if record.urls != urls => ClusterRecord { urls, ..record }.write(&self.dir),
            _ => Ok(()),
        }
    }

    /// Ends what runs of the app elsewhere. The release is live, whatever comes of that, and the next deploy or
    /// restart tries again.
    pub(super) fn leave_other_places(&self) {
        if let Err(err) = remove_left_objects(&self.root, &self.app) {
            progress::warning(&format!(
                "its objects in the cluster before stay until the next deploy: {err:#}"
            ));
        }
        if client::is_supervised(&self.root, &self.app) {
            progress::step(&format!("Stopping {} on this machine", self.app));
            if let Err(err) = client::stop_supervisor(&self.root, &self.app) {
                progress::warning(&format!("it still runs on this machine: {err:#}"));
            }
        }
    }

    /// Removes the objects of the app from a cluster that it has left. Returns false if it cannot be reached any
    /// more: the context of this name leads to another one.
    fn remove_from_left(&self) -> anyhow::Result<bool> {
        // It may have moved back meanwhile.
        if Self::running(&self.root, &self.app)?.is_some_and(|running| running.is_same_place(self)) {
            return Ok(true);
        }
        if let (Some(before), Some(after)) = (&self.server, self.server_now()) {
            if *before != after {
                return Ok(false);
            }
        }
        if let Some(running) = Self::running(&self.root, &self.app)? {
            // One cluster may have several contexts and addresses.
            if !self.object_ids()?.is_disjoint(&running.object_ids()?) {
                return Ok(true);
            }
        }
        progress::step(&format!("Removing {} from {}", self.app, self.target.context));
        self.remove_objects()?;
        Ok(true)
    }

    /// Returns the ids of the app's configurations, which no other cluster has; each release has one.
    fn object_ids(&self) -> anyhow::Result<BTreeSet<String>> {
        let template = "--output=jsonpath={.items[*].metadata.uid}";
        let ids = self.kubectl().run(&["get", "configmaps", template, "--selector", &self.selector()])?;
        Ok(ids.split_whitespace().map(str::to_owned).collect())
    }

    /// Returns the command that removes all objects of the app.
    fn removal_command(&self) -> String {
        let (context, namespace) = (&self.target.context, &self.target.namespace);
        format!(
            "kubectl --context={context} -n {namespace} delete {} -l {}",
            super::objects::ALL_KINDS,
            self.selector()
        )
    }
}

/// Records that the app runs on this machine, and removes what a cluster has of it. The volume with its data stays.
///
/// # Errors
/// Fails if the cluster cannot be reached; the next call tries again.
pub(crate) fn leave_cluster(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    if let Some(before) = ClusterRecord::read(&dir)? {
        before.mark_left(&dir)?;
        current::remove_dir(&dir.cluster())?;
    }
    remove_left_objects(root, app)
}

/// Removes the objects of an app that is destroyed from all its clusters. One that cannot be reached does not keep
/// it: the command that removes them is printed.
///
/// # Errors
/// Fails if the records cannot be read.
pub(crate) fn remove_from_clusters(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    let mut records = ClusterRecord::read_left(&dir)?;
    records.extend(ClusterRecord::read(&dir)?);
    for record in records {
        let Some(cluster) = KubernetesApp::recorded(root, app, record)? else { continue };
        progress::step(&format!("Removing {app} from {}", cluster.target.context));
        let is_other =
            cluster.server.is_some() && cluster.server_now().is_some_and(|now| cluster.server != Some(now));
        let removed = if is_other { Err(cluster.other_server()) } else { cluster.remove_objects() };
        if let Err(err) = removed {
            progress::warning(&format!("{app} may still run in {}: {err:#}", cluster.target.context));
            progress::detail(&format!("to remove it: {}", cluster.removal_command()));
        }
    }
    Ok(())
}

/// Removes what clusters have of the app that it has left.
fn remove_left_objects(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    let left = ClusterRecord::read_left(&dir)?;
    let (mut remaining, mut failed) = (Vec::new(), None);
    for record in &left {
        let Some(cluster) = KubernetesApp::recorded(root, app, record.clone())? else { continue };
        match cluster.remove_from_left() {
            Ok(true) => {}
            Ok(false) => {
                progress::warning(&format!("{app} may still run there: {:#}", cluster.other_server()));
                progress::detail(&format!("to remove it there: {}", cluster.removal_command()));
            }
            Err(err) => {
                remaining.push(record.clone());
                failed = failed.or(Some(err));
            }
        }
    }
    if remaining != left {
        ClusterRecord::write_left(&dir, &remaining)?;
    }
    failed.map_or(Ok(()), Err)
}
