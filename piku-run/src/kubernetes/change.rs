//! Changes of an app in a cluster: a new release, another formation, a restart, a stop, its removal.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder of a release is renamed to its place as a whole; its tree is looked at through a handle"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use piku_files::atomic_file;
use piku_layout::name::ProcessName;
use piku_layout::settings::HostSettings;
use piku_procfile::procfile::ProcessKind;
use piku_release::manifest::{BuiltRelease, TREE};
use piku_report::progress;
use piku_report::user_error::{UserError, WithHint};

use super::objects::ClusterObjects;
use super::{ClusterAnswer, KubernetesApp};
use crate::config::{ConfigChange, store};
use crate::desired::unknown_type::unknown_type;
use crate::desired::{self, Formation};
use crate::instance::environment::ReleaseContext;
use crate::ipc::protocol::{ChangeConflict, FailedReply};
use crate::releases::current;
use crate::services::state;

impl KubernetesApp {
    /// Makes a release live in the cluster. `after` is the one that it must replace, if any.
    pub(super) fn deploy(&self, dir: &Path, task: bool, after: Option<u64>) -> anyhow::Result<ClusterAnswer> {
        let _lock = self.lock()?;
        if after.is_some() && after != current::live_release(&self.dir)? {
            return Ok(Err(FailedReply::refuse(&ChangeConflict::OtherReleaseLive.into(), &self.app)));
        }
        self.remove_unfinished()?;
        let number = self.take_in(dir, after)?;
        let deployed = self.roll_out_release(number, task);
        if deployed.is_err() {
            current::remove_dir(&self.dir.release(number))?;
        }
        deployed.map(|()| Ok(None))
    }

    /// Removes releases that an interrupted deploy has left: they are newer than the live one.
    fn remove_unfinished(&self) -> anyhow::Result<()> {
        let live = current::live_release(&self.dir)?.unwrap_or(0);
        for number in self.dir.release_numbers().context("cannot list the releases")? {
            if number > live {
                current::remove_dir(&self.dir.release(number))?;
            }
        }
        Ok(())
    }

    /// Moves a release into the app's directory, with the config that it will run with. Returns its number.
    fn take_in(&self, dir: &Path, after: Option<u64>) -> anyhow::Result<u64> {
        current::check_not_destroyed(&self.dir)?;
        let mut release = BuiltRelease::read(dir)?;
        ensure!(release.app == self.app, "this is a release of {}, not of {}", release.app, self.app);
        ensure!(current::has_dir(dir, TREE), "'{}' has no folder '{TREE}'", dir.display());
        if let Some(layer) =
            release.layers.iter().find(|layer| !current::has_dir(&self.dir.layers(), &layer.key))
        {
            let what = format!("the layer '{}' of this release is gone", layer.name);
            return Err(UserError::new(what).hint("build it again: push, or piku deploy").into());
        }
        if !release.jailed {
            let what = "this release was built without the sandbox, and contains paths of this machine";
            return Err(UserError::new(what).hint("see: piku doctor").into());
        }
        let mut _store = None;
        if after.is_none() {
            let (config, lock) = store::read_locked(&self.dir)?;
            store::write_beside(dir, &config, &ConfigChange::default())?;
            _store = Some(lock);
        }
        let newest = self.dir.release_numbers().context("cannot list the releases")?.last().copied();
        if release.number <= newest.unwrap_or(0) {
            release.number = self.dir.next_number().context("cannot number the release")?;
            release.write(dir)?;
        }
        let place = self.dir.release(release.number);
        current::create_dir(&self.dir.releases())?;
        fs::rename(dir, &place)
            .and_then(|()| atomic_file::order_parent(&place))
            .with_context(|| format!("cannot move '{}' to '{}'", dir.display(), place.display()))?;
        Ok(release.number)
    }

    /// Sends the image of a release, runs its task, rolls it out and makes it the live one.
    fn roll_out_release(&self, number: u64, task: bool) -> anyhow::Result<()> {
        self.warn_of_bindings()?;
        let image = self.provide_image(number)?;
        let formation = desired::read_formation(&self.dir.formation())?;
        let objects = self.render_objects(number, &image, &formation, true)?;
        // Before anything of it runs.
        self.check_owners(&objects.rollout)?;
        let urls = objects.urls()?;
        let target = &self.target;
        progress::step(&format!("Deploying to {}, namespace {}", target.context, target.namespace));
        self.apply(&objects.config)?;
        if task {
            let limit = Duration::from_secs(HostSettings::read(&self.root.settings())?.build_timeout);
            if let Err(err) = self.run_release_job(&objects, number, limit) {
                self.clean_up();
                return Err(err);
            }
        }
        self.roll_out(number, &objects, false)?;
        self.record_move(urls.clone())?;
        current::set_live(&self.dir, number)?;
        self.leave_other_places();
        self.remove_left_pods();
        if let Err(err) = store::follow(&self.dir) {
            progress::warning(&format!("the configuration that is live is not stored yet: {err:#}"));
        }
        if let Err(err) = current::remove_dir(&self.dir.stopped()) {
            progress::warning(&format!("it still counts as stopped: {err:#}"));
        }
        self.tell_live(number, &urls, &objects);
        Ok(())
    }

    /// Tells where the live release is reached.
    fn tell_live(&self, number: u64, urls: &[String], objects: &ClusterObjects) {
        let live = format!("{} is live, release {number}", self.app);
        let [_, ..] = urls else {
            progress::step(&live);
            if objects.has_service() {
                let namespace = &self.target.namespace;
                progress::detail(&format!(
                    "in the cluster: http://{}.{namespace}; NGINX_SERVER_NAME in ENV gives it a name outside",
                    self.app
                ));
            }
            return;
        };
        progress::step(&format!("{live}: {}", urls.join(" ")));
    }

    /// Applies the objects and waits until their pods are up, and removes all others of the app. If that fails, the
    /// cluster gets what it had before.
    fn roll_out(&self, number: u64, objects: &ClusterObjects, restart: bool) -> anyhow::Result<()> {
        let kept = objects.kept()?;
        let deployments = objects.deployments()?;
        let start = self.note_start()?;
        let applied = self.apply(&objects.rollout).and_then(|()| {
            if restart && !deployments.is_empty() {
                self.restart_deployments(&deployments)?;
            }
            self.wait_for_rollout(number, &deployments, start)
        });
        if let Err(err) = applied {
            self.clean_up();
            return Err(err);
        }
        self.remove_other_objects(&kept)
    }

    /// Gives the cluster what it had before a change that has failed.
    fn clean_up(&self) {
        if let Err(err) = self.restore_live() {
            progress::warning(&format!("the objects of the failed change stay in the cluster: {err:#}"));
        }
    }

    /// Applies the objects of the live release, and removes all others. Without a live release, nothing of the app
    /// stays.
    fn restore_live(&self) -> anyhow::Result<()> {
        let Some(live) = current::live_release(&self.dir)?.filter(|_| self.is_live_here()) else {
            return self.remove_objects();
        };
        let formation = desired::read_formation(&self.dir.formation())?;
        let image = self.live_image(live)?;
        let objects = self.render_objects(live, &image, &formation, !self.dir.is_stopped())?;
        self.apply(&objects.config)?;
        self.apply(&objects.rollout)?;
        self.remove_other_objects(&objects.kept()?)?;
        progress::detail(&format!("release {live} serves on"));
        Ok(())
    }

    /// Returns whether the live release runs in this cluster.
    fn is_live_here(&self) -> bool {
        Self::running(&self.root, &self.app)
            .is_ok_and(|live| live.is_some_and(|live| live.is_same_place(self)))
    }

    /// Removes all objects of the app but its volume.
    pub(super) fn remove_objects(&self) -> anyhow::Result<()> {
        self.remove_all_objects()?;
        if self.target.data_size.is_some() {
            let (context, namespace) = (&self.target.context, &self.target.namespace);
            progress::detail(&format!(
                "its volume stays; to remove it: kubectl --context={context} -n {namespace} delete pvc {}-data",
                self.app
            ));
        }
        Ok(())
    }

    /// Replaces the pods of the live release, or runs a cron type now. An app of this machine moves to the cluster.
    pub(super) fn restart(&self, only: Option<&ProcessName>, index: Option<u32>) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        let live = self.live_number()?;
        if index.is_some() {
            let what = "pods have no numbers";
            return Err(UserError::new(what).hint("restart all of a type: piku restart APP TYPE").into());
        }
        let Some(only) = only else {
            if !self.is_live_here() {
                return self.roll_out_release(live, false);
            }
            let was_stopped = self.dir.is_stopped();
            progress::step(&format!("Restarting {}", self.app));
            self.apply_live(live, &desired::read_formation(&self.dir.formation())?, !was_stopped)?;
            self.leave_other_places();
            return current::remove_dir(&self.dir.stopped());
        };
        let world = ReleaseContext::read(&self.root, &self.app, live)?;
        let Some(command) = world.release.processes.get(only) else {
            return Err(unknown_type(&self.app, world.release.processes.keys(), only).into());
        };
        if ProcessKind::classify(only, command) == ProcessKind::Cron {
            return self.run_cron_now(live, only);
        }
        let start = self.note_start()?;
        let deployments = [self.workload_name(only)];
        self.restart_deployments(&deployments)?;
        self.wait_for_rollout(live, &deployments, start)
    }

    fn restart_deployments(&self, deployments: &[String]) -> anyhow::Result<()> {
        let names: Vec<String> = deployments.iter().map(|name| format!("deployment/{name}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.kubectl().run(&[&["rollout", "restart"], &names[..]].concat()).map(drop)
    }

    /// Sets the number of pods of each type.
    pub(super) fn scale(&self, counts: &Formation) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        let mut formation = desired::read_formation(&self.dir.formation())?;
        formation.extend(counts.clone());
        let live = self.live_number()?;
        let world = ReleaseContext::read(&self.root, &self.app, live)?;
        for name in counts.keys() {
            if !world.release.processes.contains_key(name) {
                return Err(unknown_type(&self.app, world.release.processes.keys(), name).into());
            }
        }
        if self.dir.is_stopped() {
            desired::write_formation(&self.dir.formation(), &formation)?;
            progress::detail(&format!("{} is stopped; this holds when it is started", self.app));
            return Ok(());
        }
        progress::step(&format!("Scaling {}", self.app));
        self.apply_live(live, &formation, false)?;
        desired::write_formation(&self.dir.formation(), &formation)
    }

    /// Ends all pods. With `stay` until a restart or a deploy; otherwise the cluster goes on: its pods do not depend
    /// on this machine.
    pub(super) fn stop(&self, stay: bool) -> anyhow::Result<()> {
        if !stay {
            return Ok(());
        }
        let _lock = self.lock()?;
        // What has ended stays so if the rest fails.
        let hint = format!("to end what still runs, repeat it: piku stop {}", self.app);
        self.end_pods().hint(hint)
    }

    /// Marks the app as stopped, scales all deployments to no pods, and removes the cron jobs: a restart applies them
    /// again. If the cluster cannot be asked what it has, nothing is changed.
    fn end_pods(&self) -> anyhow::Result<()> {
        let mark = || {
            let path = self.dir.stopped();
            self.dir.create_marker(&path).with_context(|| format!("cannot write '{}'", path.display()))
        };
        let Some(live) = current::live_release(&self.dir)? else { return mark() };
        let start = self.note_start()?;
        let kubectl = self.kubectl();
        let list = |kind: &str| kubectl.run(&["get", kind, "--output=name", "--selector", &self.selector()]);
        let (crons, deployments) = (list("cronjobs")?, list("deployments")?);
        // From here on no change starts it again.
        mark()?;
        let crons: Vec<&str> = crons.lines().collect();
        if !crons.is_empty() {
            kubectl.run(&[&["delete", "--ignore-not-found", "--wait=false"], &crons[..]].concat())?;
        }
        let deployments: Vec<&str> = deployments.lines().collect();
        if deployments.is_empty() {
            return Ok(());
        }
        kubectl.run(&[&["scale", "--replicas=0"], &deployments[..]].concat())?;
        let names = deployments.iter().filter_map(|line| Some(line.split_once('/')?.1.to_owned()));
        self.wait_for_rollout(live, &names.collect::<Vec<_>>(), start)
    }

    /// Applies the live release with this formation.
    fn apply_live(&self, live: u64, formation: &Formation, restart: bool) -> anyhow::Result<()> {
        let image = self.live_image(live)?;
        let objects = self.render_objects(live, &image, formation, true)?;
        let urls = objects.urls()?;
        self.apply(&objects.config)?;
        self.roll_out(live, &objects, restart)?;
        self.record_urls(urls)
    }

    fn live_number(&self) -> anyhow::Result<u64> {
        let live = current::live_release(&self.dir)?;
        Ok(live.ok_or_else(|| {
            UserError::new(format!("{} has no release yet", self.app)).hint("push it first")
        })?)
    }

    /// Returns the name of the deployment or cron job of a process type.
    pub(super) fn workload_name(&self, kind: &ProcessName) -> String {
        format!("{}-{}", self.app, component_of(kind))
    }

    /// Warns of services of this machine: pods do not reach them.
    fn warn_of_bindings(&self) -> anyhow::Result<()> {
        for bound in state::bindings(&self.root, &self.app)? {
            let service = &bound.service;
            progress::warning(&format!(
                "{} is bound to {service} of this machine, which pods do not reach",
                self.app
            ));
        }
        Ok(())
    }
}

/// Returns the label of a process type.
pub(super) fn component_of(kind: &ProcessName) -> String {
    kind.as_str().to_ascii_lowercase().replace('_', "-")
}
