//! Client requests, from their arrival to the last response. A request is completed even if its client
//! disconnects.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder of a release is renamed to its place as a whole; its tree is looked at through a handle"
)]

mod job_reports;

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use piku_files::atomic_file;
use piku_layout::name::{AppName, ProcessName};
use piku_layout::settings::SandboxMode;
use piku_release::manifest::{BuiltRelease, TREE};
use piku_report::user_error::{BUSY, UserError};

use super::AppSupervisor;
use crate::config::{ConfigChange, store};
use crate::core::{AppRoute, CoreEvent, InstanceName, JobId, ProcessType, ReplaceScope, RunPlan};
use crate::data_limit;
use crate::desired::unknown_type::unknown_type;
use crate::desired::{self, Formation};
use crate::ipc::protocol::{ChangeConflict, FailedReply, SupervisorReply, SupervisorRequest};
use crate::releases::current;

/// A request in progress.
#[derive(Debug)]
pub(super) struct PendingJob {
    client: u64,
    what: JobContent,
}

#[derive(Debug)]
pub(super) enum JobContent {
    /// Number of the release, and the address at which the client has reached this machine.
    Deploy(u64, Option<IpAddr>),
    Restart,
    Scale(Formation),
    Stop,
}

impl AppSupervisor {
    pub(super) fn handle_request(&mut self, client: u64, request: Result<SupervisorRequest, String>) {
        self.send_reply(client, &SupervisorReply::Heard);
        let begun = match request {
            Ok(_) if self.leaving => Err(ChangeConflict::InProgress.into()),
            Ok(SupervisorRequest::Ps) => self.reply_status(client),
            Ok(SupervisorRequest::Leave) => {
                self.leaving = true;
                self.send_reply(client, &SupervisorReply::Done { error: None });
                return;
            }
            Ok(SupervisorRequest::Stop { stay }) => self.stop(client, stay),
            Ok(SupervisorRequest::Route) => self.apply_route(client),
            Ok(SupervisorRequest::Logs { follow }) => {
                self.show_logs(client, follow);
                return;
            }
            Ok(_) if self.is_changing() => Err(ChangeConflict::InProgress.into()),
            Ok(SupervisorRequest::Deploy { dir, task, after, reached_at }) => {
                self.deploy(client, &dir, task, after, reached_at)
            }
            Ok(SupervisorRequest::Restart { only, index }) => self.restart(client, only, index),
            Ok(SupervisorRequest::Scale { counts }) => self.scale(client, &counts),
            Err(bad) => Err(anyhow::anyhow!(bad)),
        };
        if let Err(err) = begun {
            let bad = FailedReply::refuse(&err, &self.app);
            self.send_reply(client, &SupervisorReply::Done { error: Some(bad) });
        }
    }

    /// Returns whether a change is in progress, or is the next that the core gets.
    fn is_changing(&self) -> bool {
        let is_change =
            |event: &CoreEvent| matches!(event, CoreEvent::Change { .. } | CoreEvent::Stop { .. });
        self.core.refuses_changes() || self.events.iter().any(is_change)
    }

    pub(super) fn send_reply(&mut self, client: u64, reply: &SupervisorReply) {
        let Some(connection) = self.clients.get_mut(client) else { return };
        if matches!(reply, SupervisorReply::Detail { .. }) && !connection.has_room() {
            return;
        }
        let skipped = connection.take_skipped();
        if skipped > 0 {
            let text = format!("({skipped} lines are left out: they came faster than they were read)");
            connection.send(&SupervisorReply::Detail { text });
        }
        match reply {
            SupervisorReply::Done { .. } => connection.send_last(reply),
            _ => connection.send(reply),
        }
    }

    /// Returns the clients whose change is in progress.
    pub(super) fn waiting_clients(&self) -> Vec<u64> {
        self.jobs.values().map(|pending| pending.client).collect()
    }

    fn reply_status(&mut self, client: u64) -> anyhow::Result<()> {
        self.workers.values_mut().for_each(|worker| worker.processor.measure());
        let value = serde_json::to_value(self.instance_rows()?).context("cannot write the rows as JSON")?;
        self.send_reply(client, &SupervisorReply::Data { value });
        self.send_reply(client, &SupervisorReply::Done { error: None });
        Ok(())
    }

    pub(super) fn begin_job(&mut self, client: u64, what: JobContent) -> JobId {
        self.counter += 1;
        let job = JobId(self.counter);
        self.jobs.insert(job, PendingJob { client, what });
        job
    }

    fn deploy(
        &mut self,
        client: u64,
        dir: &Path,
        task: bool,
        after: Option<u64>,
        address: Option<IpAddr>,
    ) -> anyhow::Result<()> {
        let number = self.take_in(dir, after)?;
        let begun = self.begin_deploy(client, number, task, address);
        if begun.is_err() {
            current::remove_dir(&self.dir.release(number))?;
        }
        begun
    }

    fn begin_deploy(
        &mut self,
        client: u64,
        number: u64,
        task: bool,
        address: Option<IpAddr>,
    ) -> anyhow::Result<()> {
        let formation = desired::read_formation(&self.dir.formation())?;
        let (plan, warnings) = self.plan_of(number, &formation)?;
        self.check_plan(number, &plan)?;
        self.check_requests(number)?;
        let task = task && self.worlds[&number].0.release.processes.contains_key("release");
        let job = self.begin_job(client, JobContent::Deploy(number, address));
        for text in warnings.into_iter().chain(self.unknown_types(number, &formation)) {
            self.send_reply(client, &SupervisorReply::Detail { text });
        }
        self.events.push_back(CoreEvent::Change { job, plan, replace: ReplaceScope::All, task });
        Ok(())
    }

    /// Returns a warning for each type that was scaled before the first release and that this one lacks.
    fn unknown_types(&self, number: u64, formation: &Formation) -> Vec<String> {
        if self.dir.current_number().is_some() {
            return Vec::new();
        }
        let known = &self.worlds[&number].0.release.processes;
        let unknown = formation.keys().filter(|name| !known.contains_key(*name));
        unknown
            .map(|name| format!("warning: ps:scale has set '{name}', which is not a process type of the app"))
            .collect()
    }

    /// Checks the settings of a release before any of it is started.
    pub(super) fn check_plan(&self, number: u64, plan: &RunPlan) -> anyhow::Result<()> {
        let world = &self.worlds[&number].0;
        desired::check_limits(world)?;
        data_limit::announce(&self.root, world);
        desired::check_network(world, plan, &self.current_settings())?;
        self.check_pinned_port(plan)
    }

    /// Moves a release into the app's directory together with the config it will run with. Returns its
    /// number.
    fn take_in(&mut self, dir: &Path, after: Option<u64>) -> anyhow::Result<u64> {
        current::check_not_destroyed(&self.dir)?;
        let mut release = BuiltRelease::read(dir)?;
        self.check_deploy(&release)?;
        ensure!(current::has_dir(dir, TREE), "'{}' has no folder '{TREE}'", dir.display());
        // Held until the release has its place: a change of the config that is stored later finds it there.
        let mut _store = None;
        match after {
            Some(_) if after == current::live_release(&self.dir)? => {}
            Some(_) => return Err(ChangeConflict::OtherReleaseLive.into()),
            None => {
                let (config, lock) = store::read_locked(&self.dir)?;
                store::write_beside(dir, &config, &ConfigChange::default())?;
                _store = Some(lock);
            }
        }
        let newest = self.dir.release_numbers().context("cannot list the releases")?.last().copied();
        let mut place = self.dir.release(release.number);
        // It was built by hand, or another release was made meanwhile. The highest number is always the
        // newest release.
        if release.number <= newest.unwrap_or(0) {
            release.number = self.dir.next_number().context("cannot number the release")?;
            release.write(dir)?;
            place = self.dir.release(release.number);
        }
        current::create_dir(&self.dir.releases())?;
        std::fs::rename(dir, &place)
            .and_then(|()| atomic_file::order_parent(&place))
            .with_context(|| format!("cannot move '{}' to '{}'", dir.display(), place.display()))?;
        Ok(release.number)
    }

    /// Checks that this host may run the release.
    fn check_deploy(&self, release: &BuiltRelease) -> anyhow::Result<()> {
        if release.app != self.app {
            bail!("this is a release of {}, not of {}", release.app, self.app);
        }
        if !release.jailed && self.current_settings().sandbox == SandboxMode::Require {
            let what = "this release was built without the jail, and host.yaml says 'sandbox: require'";
            return Err(UserError::new(what).hint("build it again").into());
        }
        for layer in &release.layers {
            if !current::has_dir(&self.dir.layers(), &layer.key) {
                let what = format!("the layer '{}' of this release is gone", layer.name);
                return Err(UserError::new(what).hint("build it again: push, or piku deploy").into());
            }
        }
        Ok(())
    }

    fn restart(&mut self, client: u64, only: Option<ProcessName>, index: Option<u32>) -> anyhow::Result<()> {
        let number = self.live_number()?;
        let formation = desired::read_formation(&self.dir.formation())?;
        let (plan, _) = self.plan_of(number, &formation)?;
        self.check_plan(number, &plan)?;
        if let Some(kind) = only.as_ref().filter(|name| plan.crons.iter().any(|(cron, _)| cron == *name)) {
            return self.run_cron_now(client, kind.clone());
        }
        let replace = match only {
            None => ReplaceScope::All,
            Some(name) => {
                let Some(kind) = plan.types.iter().find(|kind| kind.name == name) else {
                    let crons = plan.crons.iter().map(|(cron, _)| cron);
                    let known = plan.types.iter().map(|kind| &kind.name).chain(crons);
                    return Err(unknown_type(&self.app, known, &name).into());
                };
                match index {
                    None => ReplaceScope::Type(name),
                    Some(index) if (1..=kind.count).contains(&index) => {
                        ReplaceScope::Instance(InstanceName { kind: name, index })
                    }
                    Some(index) => return Err(unknown_instance(&self.app, kind, index).into()),
                }
            }
        };
        let job = self.begin_job(client, JobContent::Restart);
        self.events.push_back(CoreEvent::Change { job, plan, replace, task: false });
        Ok(())
    }

    /// Runs a cron job outside of its schedule.
    fn run_cron_now(&mut self, client: u64, kind: ProcessName) -> anyhow::Result<()> {
        ensure!(!self.dir.is_stopped(), "{} is stopped", self.app);
        let is_running = self.core.instances().any(|(_, one)| one.ps.kind == kind);
        if is_running {
            let what = format!("the run of {kind} before has not ended");
            return Err(UserError::new(what).hint("try again when it has").code(BUSY).into());
        }
        let text = format!("{kind} runs now; its output: piku logs {} {kind}", self.app);
        self.cron_asked(&kind);
        self.events.push_back(CoreEvent::CronDue { kind });
        self.send_reply(client, &SupervisorReply::Step { text });
        self.send_reply(client, &SupervisorReply::Done { error: None });
        Ok(())
    }

    fn stop(&mut self, client: u64, stay: bool) -> anyhow::Result<()> {
        // Recorded on disk first, so that the next supervisor goes on with it.
        let mark = if stay { self.dir.stopped() } else { self.dir.paused() };
        if self.dir.path().is_dir() {
            self.dir.create_marker(&mark).with_context(|| format!("cannot write '{}'", mark.display()))?;
        }
        let job = self.begin_job(client, JobContent::Stop);
        self.events.push_back(CoreEvent::Stop { job });
        Ok(())
    }

    fn live_number(&self) -> anyhow::Result<u64> {
        let number = current::live_release(&self.dir)?;
        Ok(number.ok_or_else(|| {
            UserError::new(format!("{} has no release yet", self.app)).hint("push it first")
        })?)
    }

    /// Makes a change live on disk and in the routing.
    pub(super) fn switch(&mut self, job: JobId, route: &AppRoute) -> anyhow::Result<()> {
        match self.jobs.get(&job).map(|pending| &pending.what) {
            Some(JobContent::Deploy(number, _)) => {
                let number = *number;
                self.switch_release(number, route, job)?;
                self.update_config_store();
            }
            Some(JobContent::Scale(formation)) => {
                let formation = formation.clone();
                self.switch_requests(route, job)?;
                desired::write_formation(&self.dir.formation(), &formation)?;
            }
            Some(JobContent::Restart | JobContent::Stop) | None => self.switch_requests(route, job)?,
        }
        current::remove_dir(&self.dir.stopped())?;
        current::remove_dir(&self.dir.paused())
    }

    /// Updates the config store from the live release. If that fails, the next reader tries again.
    pub(super) fn update_config_store(&self) {
        if let Err(err) = store::follow(&self.dir) {
            self.log_error(&format!("the configuration that is live is not stored yet: {err:#}"));
        }
    }
}

/// Returns the error about an instance of a process type that runs fewer.
fn unknown_instance(app: &AppName, kind: &ProcessType, index: u32) -> UserError {
    let name = &kind.name;
    let hint = match kind.count {
        0 => format!("it runs none: piku ps:scale {app} {name}=1"),
        1 => format!("it has: {name}.1"),
        count => format!("it has: {name}.1 to {name}.{count}"),
    };
    UserError::new(format!("{app} has no instance '{name}.{index}'")).hint(hint)
}
