//! `scale`: the formation of the live release, or of an app of which nothing runs.

use super::AppSupervisor;
use super::client_requests::JobContent;
use crate::core::{CoreEvent, ReplaceScope};
use crate::desired::unknown_type::unknown_type;
use crate::desired::{self, Formation};
use crate::ipc::protocol::SupervisorReply;
use crate::releases::current;

impl AppSupervisor {
    pub(super) fn scale(&mut self, client: u64, counts: &Formation) -> anyhow::Result<()> {
        let mut formation = desired::read_formation(&self.dir.formation())?;
        formation.extend(counts.clone());
        let Some(number) = current::live_release(&self.dir)? else {
            return self.store_formation(client, &formation, "it holds from the first release on");
        };
        let (plan, _) = self.plan_of(number, &formation)?;
        self.check_plan(number, &plan)?;
        let crons = desired::crons(&self.worlds[&number].0);
        for name in counts.keys() {
            let is_cron = crons.iter().any(|cron| cron == name);
            if !is_cron && !plan.types.iter().any(|kind| kind.name == *name) {
                let known = plan.types.iter().map(|kind| &kind.name);
                return Err(unknown_type(&self.app, known, name).into());
            }
        }
        if self.dir.is_stopped() {
            let when = format!("{} is stopped; this holds when it is started", self.app);
            return self.store_formation(client, &formation, &when);
        }
        let job = self.begin_job(client, JobContent::Scale(formation));
        self.events.push_back(CoreEvent::Change { job, plan, replace: ReplaceScope::Missing, task: false });
        Ok(())
    }

    /// Stores the formation of an app of which nothing runs, for its next start.
    fn store_formation(&mut self, client: u64, formation: &Formation, when: &str) -> anyhow::Result<()> {
        desired::write_formation(&self.dir.formation(), formation)?;
        self.send_reply(client, &SupervisorReply::Detail { text: when.to_owned() });
        self.send_reply(client, &SupervisorReply::Done { error: None });
        Ok(())
    }
}
