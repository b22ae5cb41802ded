//! Routing: requests go to live instances that listen and have been ready once. An instance that leaves
//! first gets no new requests, then finishes those it has, and only then is terminated.
//!
//! While a crashed instance is down its port stays in the route, so that nginx need not reload. The
//! executor reserves that port, and connections to it are refused. If another process takes the port, it
//! leaves the route at once.

use super::change::AppChange;
use super::{AppInstance, CoreAction, InstanceId, InstanceState, SupervisorCore};

/// Destination of an app's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppRoute {
    /// Release whose settings apply.
    pub(crate) release: u64,
    /// Ports of the instances in the order of their slots; empty if nothing listens.
    pub(crate) ports: Vec<u16>,
}

impl SupervisorCore {
    /// Returns the current route; `None` if nothing is to run.
    #[must_use]
    pub(crate) fn route(&self) -> Option<AppRoute> {
        let plan = self.plan.as_ref()?;
        let live = self.instances().filter(|(_, one)| one.live).map(|(_, one)| (one, one.routed));
        Some(AppRoute { release: plan.release, ports: ready_ports(live) })
    }

    /// Returns the route once the change is live.
    pub(super) fn route_after(&self, change: &AppChange) -> AppRoute {
        let stays = |id: InstanceId, one: &AppInstance| one.live && !self.is_replaced(change, id, one);
        let all = self.instances().filter_map(|(id, one)| {
            let port =
                if change.fresh.contains(&id) { one.port } else { one.routed.filter(|_| stays(id, one)) };
            Some((one, Some(port?)))
        });
        AppRoute { release: change.plan.release, ports: ready_ports(all) }
    }

    /// Sends the route to the executor if it has changed. A change that is switching sends its own.
    pub(super) fn update_route(&mut self) {
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

    /// Removes an instance from the live ones; it ends once its requests have.
    pub(super) fn retire_instance(&mut self, id: InstanceId) {
        let until = self.now + self.drain;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let runs = matches!(one.state, InstanceState::Starting { .. } | InstanceState::Ready { .. });
        if !(runs && one.routed.is_some()) {
            return self.stop_instance(id);
        }
        one.live = false;
        one.state = InstanceState::Draining { until, asked: false };
    }

    /// Asks the executor to report the end of the last request of each instance that has left the route.
    pub(super) fn request_drains(&mut self) {
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

    pub(super) fn finish_drain(&mut self, id: InstanceId) {
        if self.instances.get(&id).is_some_and(|one| matches!(one.state, InstanceState::Draining { .. })) {
            self.stop_instance(id);
        }
    }
}

fn ready_ports<'a>(instances: impl Iterator<Item = (&'a AppInstance, Option<u16>)>) -> Vec<u16> {
    let mut all: Vec<(&super::InstanceName, u16)> = instances
        .filter(|(one, _)| one.must_listen && !one.is_leaving())
        .filter_map(|(one, port)| Some((&one.ps, port?)))
        .collect();
    all.sort();
    all.into_iter().map(|(_, port)| port).collect()
}
