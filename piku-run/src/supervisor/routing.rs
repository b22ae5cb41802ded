//! Applies routes: nginx is reloaded before an instance that left the route is terminated. The instance ends
//! once the last old worker of nginx has ended, and after the drain time even if one stays for the websockets
//! of another app.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use piku_layout::front_key::FrontKey;
use piku_report::user_error;

use super::AppSupervisor;
use crate::core::{AppRoute, CoreEvent, InstanceId, JobId, ProgressLine};
use crate::instance::environment::ReleaseContext;
use crate::ipc::protocol::SupervisorReply;
use crate::nginx::{AppliedSite, OldWorker, PreparedSite, SiteReachability, WebServer};
use crate::releases::current;

/// Old workers of nginx that may still send requests, and the instances that wait for their end.
#[derive(Debug, Default)]
pub(super) struct OldWorkers {
    workers: BTreeMap<i32, OldWorker>,
    /// Workers that were replaced by the last reload.
    last: BTreeSet<i32>,
    keep: BTreeMap<InstanceId, BTreeSet<i32>>,
}

impl OldWorkers {
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, &OldWorker)> {
        self.workers.iter().map(|(pid, worker)| (*pid, worker))
    }

    fn record_workers(&mut self, old: Vec<OldWorker>) {
        self.last = old.iter().map(|worker| worker.pid).collect();
        for worker in old {
            // A known pid is the same worker: it is forgotten only after its end was seen.
            self.workers.entry(worker.pid).or_insert(worker);
        }
    }

    /// Returns whether any has not ended.
    pub(super) fn is_any(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Returns whether an instance waits for any of them.
    fn is_watched(&mut self, id: InstanceId) -> bool {
        let alive: BTreeSet<i32> =
            self.last.iter().copied().filter(|pid| self.workers.contains_key(pid)).collect();
        let keeps = !alive.is_empty();
        if keeps {
            self.keep.insert(id, alive);
        }
        keeps
    }

    /// Returns the instances that no worker keeps any more.
    fn ended(&mut self, pid: i32) -> Vec<InstanceId> {
        self.workers.remove(&pid);
        self.last.remove(&pid);
        self.keep.values_mut().for_each(|pids| {
            pids.remove(&pid);
        });
        let free: Vec<InstanceId> =
            self.keep.iter().filter(|(_, pids)| pids.is_empty()).map(|(id, _)| *id).collect();
        self.keep.retain(|_, pids| !pids.is_empty());
        free
    }

    pub(super) fn forget(&mut self, id: InstanceId) {
        self.keep.remove(&id);
    }
}

impl AppSupervisor {
    /// Checks the nginx settings of a release before any of it is started.
    pub(super) fn check_requests(&mut self, number: u64) -> anyhow::Result<()> {
        self.web_server()?.check_site(&*self.release_context(number)?)
    }

    /// Reads the web server's settings from `host.yaml`.
    fn web_server(&mut self) -> anyhow::Result<WebServer> {
        let web = WebServer::load(&self.root)?;
        self.core.set_drain(std::time::Duration::from_secs(u64::from(web.drain_seconds())));
        Ok(web)
    }

    fn release_context(&self, number: u64) -> anyhow::Result<Rc<ReleaseContext>> {
        match self.worlds.get(&number) {
            Some((world, _)) => Ok(world.clone()),
            None => Ok(Rc::new(ReleaseContext::read(&self.root, &self.app, number)?)),
        }
    }

    /// Sends requests to this route, or to none.
    pub(super) fn send_requests(&mut self, route: Option<&AppRoute>) -> anyhow::Result<Vec<String>> {
        let web = self.web_server()?;
        let put = match route {
            Some(route) => {
                web.prepare_site(&*self.release_context(route.release)?, Some(&route.ports))?.apply()?
            }
            None => match self.show_stopped(&web) {
                Some(put) => put,
                None => web.remove_site(&self.app)?,
            },
        };
        Ok(self.have_put(put))
    }

    /// Lets nginx answer for the stopped app. Returns `None` if it has no release, or one that nginx cannot
    /// serve: a stop must not fail for that.
    fn show_stopped(&self, web: &WebServer) -> Option<AppliedSite> {
        let number = current::live_release(&self.dir).ok()??;
        let world = self.release_context(number).ok()?;
        web.prepare_site(&world, None).and_then(PreparedSite::apply).ok()
    }

    fn have_put(&mut self, put: AppliedSite) -> Vec<String> {
        self.reach = put.reach;
        self.old.record_workers(put.old_workers);
        put.warnings
    }

    /// Sends requests to the route of a change, and warnings to its client.
    pub(super) fn switch_requests(&mut self, route: &AppRoute, job: JobId) -> anyhow::Result<()> {
        for warning in self.send_requests(Some(route))? {
            self.send_progress(job, ProgressLine::Detail(warning));
        }
        Ok(())
    }

    /// Makes a release live on disk and in the routing. It is live on disk first: if this process is killed
    /// in between, the next supervisor completes the change.
    pub(super) fn switch_release(&mut self, number: u64, route: &AppRoute, job: JobId) -> anyhow::Result<()> {
        let web = self.web_server()?;
        let ready = web.prepare_site(&*self.release_context(route.release)?, Some(&route.ports))?;
        // This repairs a lost or broken link; no previous release is known then.
        let before = current::live_release(&self.dir).unwrap_or(None);
        current::set_live(&self.dir, number)?;
        match ready.apply() {
            Ok(put) => {
                for warning in self.have_put(put) {
                    self.send_progress(job, ProgressLine::Detail(warning));
                }
                Ok(())
            }
            Err(err) => {
                match before {
                    Some(before) => current::set_live(&self.dir, before)?,
                    None => current::remove_dir(&self.dir.current())?,
                }
                Err(err)
            }
        }
    }

    /// Renders the routing again for a client that has changed its settings.
    pub(super) fn apply_route(&mut self, client: u64) -> anyhow::Result<()> {
        let route = self.core.route();
        for text in self.send_requests(route.as_ref())? {
            self.send_reply(client, &SupervisorReply::Detail { text });
        }
        self.send_reply(client, &SupervisorReply::Done { error: None });
        Ok(())
    }

    /// Reports to the state machine when the last request to an instance has ended.
    pub(super) fn watch_drain(&mut self, id: InstanceId) {
        if !self.old.is_watched(id) {
            self.events.push_back(CoreEvent::Drained { id });
        }
    }

    pub(super) fn old_worker_ended(&mut self, pid: i32) {
        for id in self.old.ended(pid) {
            self.tell_core(CoreEvent::Drained { id });
        }
        self.release_guards();
    }

    /// Returns why others cannot open the app, or what browsers say when they do.
    pub(super) fn warn_of_site(&self, number: u64) -> Option<String> {
        let has_files = || {
            let world = self.worlds.get(&number)?.0.clone();
            let listens = self.core.plan()?.types.iter().any(|kind| kind.must_listen);
            Some(world.release.processes.contains_key("static") && !listens)
        };
        match &self.reach {
            // The front on another machine has names and certificates of its own.
            _ if self.has_front() => None,
            SiteReachability::Unnamed if has_files() == Some(true) => {
                Some("its files are served when NGINX_SERVER_NAME is set".to_owned())
            }
            reach => reach.problem(&self.app),
        }
    }

    /// Returns true if another machine passes requests on to this one.
    pub(super) fn has_front(&self) -> bool {
        FrontKey::read(&self.dir).is_some()
    }
}

/// Formats an error and its hints, one per line.
pub(super) fn words(err: &anyhow::Error) -> String {
    let hints: Vec<String> = user_error::advice(err).0.iter().map(|hint| format!("\nhint: {hint}")).collect();
    format!("{err:#}{}", hints.concat())
}
