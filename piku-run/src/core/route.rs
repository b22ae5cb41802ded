//! Where requests go: to the instances that are live, listen, and have been ready once. What stops being one of them gets no
//! new requests first, finishes those that it has, and is told to end only then.
//!
//! While a crashed instance is down its port stays in the route, so that no reload of nginx is needed: the executor holds
//! that port, and whoever asks there is refused. Once somebody else has it, it is taken out at once.

use super::change::AppChange;
use super::{AppInstance, CoreAction, InstanceId, InstanceState, SupervisorCore};

/// Where the requests of an app go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRoute {
    /// The release that says how.
    pub release: u64,
    /// The ports of the instances, in the order of their places; none where nothing listens.
    pub ports: Vec<u16>,
}

impl SupervisorCore {
    /// Where they go as things are; nothing where nothing is to run.
    #[must_use]
    pub fn route(&self) -> Option<AppRoute> {
        let plan = self.plan.as_ref()?;
        let live = self.instances().filter(|(_, one)| one.live).map(|(_, one)| (one, one.routed));
        Some(AppRoute { release: plan.release, ports: ports(live) })
    }

    /// Where they go when the change is live.
    pub(super) fn route_after(&self, change: &AppChange) -> AppRoute {
        let stays = |id: InstanceId, one: &AppInstance| one.live && !self.is_replaced(change, id, one);
        let all = self.instances().filter_map(|(id, one)| {
            let port =
                if change.fresh.contains(&id) { one.port } else { one.routed.filter(|_| stays(id, one)) };
            Some((one, Some(port?)))
        });
        AppRoute { release: change.plan.release, ports: ports(all) }
    }

    /// Says where requests go, when that is not what was said last. A change that is about to be live says it itself.
    pub(super) fn reroute(&mut self) {
        if self.is_switching() {
            return;
        }
        let route = self.route();
        if !self.is_routed || self.routed != route {
            self.is_routed = true;
            self.routed.clone_from(&route);
            self.out.push(CoreAction::Route(route));
        }
    }

    /// Takes an instance out of what the app is: it ends when its requests have.
    pub(super) fn retire(&mut self, id: InstanceId) {
        let until = self.now + self.drain;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let runs = matches!(one.state, InstanceState::Starting { .. } | InstanceState::Up { .. });
        if !(runs && one.routed.is_some()) {
            return self.stop(id);
        }
        one.live = false;
        one.state = InstanceState::Draining { until, asked: false };
    }

    /// After requests have been sent elsewhere, and not before: what is asked is when the last one from before has ended.
    pub(super) fn ask_for_drains(&mut self) {
        if self.is_switching() {
            return;
        }
        for (id, one) in &mut self.instances {
            if let InstanceState::Draining { asked: asked @ false, .. } = &mut one.state {
                *asked = true;
                self.out.push(CoreAction::Drain { id: *id });
            }
        }
    }

    pub(super) fn drained(&mut self, id: InstanceId) {
        if self.instances.get(&id).is_some_and(|one| matches!(one.state, InstanceState::Draining { .. })) {
            self.stop(id);
        }
    }
}

fn ports<'a>(instances: impl Iterator<Item = (&'a AppInstance, Option<u16>)>) -> Vec<u16> {
    let mut all: Vec<(&super::InstanceName, u16)> = instances
        .filter(|(one, _)| one.listens && !one.is_leaving())
        .filter_map(|(one, port)| Some((&one.ps, port?)))
        .collect();
    all.sort();
    all.into_iter().map(|(_, port)| port).collect()
}
