//! Where requests go, made so: nginx is told before what they must no longer reach is told to end, and that is told to end
//! when the last worker of nginx from before has ended.

#![expect(clippy::disallowed_methods, reason = "the mark of the maintenance, which only piku writes")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use piku_report::user_error;

use super::AppSupervisor;
use crate::core::{AppRoute, CoreEvent, InstanceId, JobId, ProgressLine};
use crate::instance::environment::ReleaseContext;
use crate::ipc::protocol::SupervisorReply;
use crate::nginx::{AppliedSite, OldWorker, SiteReachability, WebServer};
use crate::releases::current;

/// Beyond what nginx gives its old workers: those are to end first.
const BEYOND: u64 = 10;

/// Workers of nginx that may still send requests to where they went before, and whom they keep from ending.
#[derive(Debug, Default)]
pub(super) struct OldWorkers {
    workers: BTreeMap<i32, OldWorker>,
    /// Those from before nginx was told last.
    last: BTreeSet<i32>,
    keep: BTreeMap<InstanceId, BTreeSet<i32>>,
}

impl OldWorkers {
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, &OldWorker)> {
        self.workers.iter().map(|(pid, worker)| (*pid, worker))
    }

    fn told(&mut self, old: Vec<OldWorker>) {
        self.last = old.iter().map(|worker| worker.pid).collect();
        for worker in old {
            // One that is known already is the same: its number is free only when it has been seen to end.
            self.workers.entry(worker.pid).or_insert(worker);
        }
    }

    /// Returns whether there is any that has not ended.
    pub(super) fn is_any(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Whether any of them keeps it.
    fn keeps(&mut self, id: InstanceId) -> bool {
        let alive: BTreeSet<i32> =
            self.last.iter().copied().filter(|pid| self.workers.contains_key(pid)).collect();
        let keeps = !alive.is_empty();
        if keeps {
            self.keep.insert(id, alive);
        }
        keeps
    }

    /// Whom nobody keeps any more.
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
    /// Whether the release's settings are good for nginx, before anything of it is started.
    pub(super) fn check_requests(&mut self, number: u64) -> anyhow::Result<()> {
        self.web()?.check_site(&*self.world(number)?)
    }

    /// As `host.yaml` has it now.
    fn web(&mut self) -> anyhow::Result<WebServer> {
        let web = WebServer::load(&self.root)?;
        self.core.set_drain(std::time::Duration::from_secs(u64::from(web.drain_seconds()) + BEYOND));
        Ok(web)
    }

    fn world(&self, number: u64) -> anyhow::Result<Rc<ReleaseContext>> {
        match self.worlds.get(&number) {
            Some((world, _)) => Ok(world.clone()),
            None => Ok(Rc::new(ReleaseContext::read(&self.root, &self.app, number)?)),
        }
    }

    /// Sends requests there, or nowhere.
    pub(super) fn send_requests(&mut self, route: Option<&AppRoute>) -> anyhow::Result<Vec<String>> {
        let web = self.web()?;
        let put = match route {
            Some(route) => web.prepare_site(&*self.world(route.release)?, &route.ports)?.apply()?,
            // Whoever asks for a stopped app is told why, where there is a reason.
            None if self.dir.maintenance().exists() => match current::live(&self.dir)? {
                Some(number) => web.prepare_site(&*self.world(number)?, &[])?.apply()?,
                None => web.remove_site(&self.app)?,
            },
            None => web.remove_site(&self.app)?,
        };
        Ok(self.have_put(put))
    }

    fn have_put(&mut self, put: AppliedSite) -> Vec<String> {
        self.reach = put.reach;
        self.old.told(put.old_workers);
        put.warnings
    }

    /// The same for a change, whose author is told of what he should know.
    pub(super) fn switch_requests(&mut self, route: &AppRoute, job: JobId) -> anyhow::Result<()> {
        for warning in self.send_requests(Some(route))? {
            self.say(job, ProgressLine::Detail(warning));
        }
        Ok(())
    }

    /// Makes a release the live one, on disk and for requests. In between it is the live one already: killed there, the next
    /// supervisor finishes it.
    pub(super) fn switch_release(&mut self, number: u64, route: &AppRoute, job: JobId) -> anyhow::Result<()> {
        let web = self.web()?;
        let ready = web.prepare_site(&*self.world(route.release)?, &route.ports)?;
        // A link that was lost or led nowhere is mended by this, and nothing to go back to.
        let before = current::live(&self.dir).unwrap_or(None);
        current::switch(&self.dir, number)?;
        match ready.apply() {
            Ok(put) => {
                for warning in self.have_put(put) {
                    self.say(job, ProgressLine::Detail(warning));
                }
                Ok(())
            }
            Err(err) => {
                match before {
                    Some(before) => current::switch(&self.dir, before)?,
                    None => current::remove(&self.dir.current())?,
                }
                Err(err)
            }
        }
    }

    /// Somebody knows of something new.
    pub(super) fn route(&mut self, client: u64) -> anyhow::Result<()> {
        let route = self.core.route();
        for text in self.send_requests(route.as_ref())? {
            self.reply(client, &SupervisorReply::Detail { text });
        }
        self.reply(client, &SupervisorReply::Done { error: None });
        Ok(())
    }

    /// Tells the core when no request is under way to it any more.
    pub(super) fn drain(&mut self, id: InstanceId) {
        if !self.old.keeps(id) {
            self.events.push_back(CoreEvent::Drained { id });
        }
    }

    pub(super) fn old_worker_ended(&mut self, pid: i32) {
        for id in self.old.ended(pid) {
            self.tell(CoreEvent::Drained { id });
        }
        self.release_guards();
    }

    /// What whoever deploys should know when the app has host names and is not reached under them.
    pub(super) fn why_not_served(&self, number: u64) -> Option<String> {
        let has_files = || {
            let world = self.worlds.get(&number)?.0.clone();
            let listens = self.core.plan()?.types.iter().any(|kind| kind.listens);
            Some(world.release.processes.contains_key("static") && !listens)
        };
        match &self.reach {
            SiteReachability::Unserved(why, hint) => {
                Some(format!("NGINX_SERVER_NAME is set, but {why} ({hint})"))
            }
            SiteReachability::Unnamed if has_files() == Some(true) => {
                Some("its files are served when NGINX_SERVER_NAME is set".to_owned())
            }
            SiteReachability::Unnamed | SiteReachability::Served(_) => None,
        }
    }
}

/// The error with its way out, a line each.
pub(super) fn words(err: &anyhow::Error) -> String {
    let hints: Vec<String> = user_error::advice(err).0.iter().map(|hint| format!("\nhint: {hint}")).collect();
    format!("{err:#}{}", hints.concat())
}
