//! Ports of instances: claimed, reserved while an instance is down, and checked for other listeners.
//!
//! nginx sends requests to the port of an instance until it is reloaded. If the instance crashes meanwhile,
//! another listener on its port would receive its visitors' cookies. So as soon as it has ended, this
//! process binds the port without listening: no other process can bind it, and nginx, whose connection is
//! refused, tries another instance. That needs no reload of nginx, which would leave old workers for the long
//! connections of all apps.
//!
//! The next process gets the same port if no other process can bind it at the moment of release: the kernel
//! restricts each jail to its own ports (Landlock), or nginx does not serve the app. Otherwise it gets
//! another port, and the old one stays reserved until nginx has been reloaded and its last worker that knew
//! the port has ended.
//!
//! A gap remains between the end of the process and the bind, in which another process may take the port
//! unless the kernel prevents it. That is detected: the port leaves the route, and the instance restarts on
//! another one.

use std::thread::sleep;
use std::time::Duration;

use super::{AppSupervisor, InstanceProcess};
use crate::core::{AppInstance, CoreEvent, InstanceId, RunPlan};
use crate::instance::port_holder::{self, describe_listener};
use crate::nginx::SiteReachability;
use crate::ports::listening::{OwnedSockets, PortHolder, StrangeListener, holder_of};
use crate::ports::{self, PortClaim, PortGuard, senders};

/// Interval at which other listeners are searched for; no event reports them.
const WATCH: Duration = Duration::from_secs(5);

/// Number of moves after which ports outside of the range are used.
const MOVES_IN_RANGE: u32 = 2;

impl AppSupervisor {
    /// Claims a port for the next process of an instance.
    pub(super) fn claim_port(
        &mut self,
        id: InstanceId,
        release: u64,
        previous: Option<u16>,
        moves: u32,
    ) -> anyhow::Result<()> {
        match previous {
            Some(port) if self.gives_back(release) => {
                if let Some(guard) = self.guards.remove(&port) {
                    self.ports.insert(id, guard.release());
                }
            }
            // Its previous port was lost to another process.
            None => drop(self.ports.remove(&id)),
            Some(_) => {}
        }
        if self.ports.contains_key(&id) {
            return Ok(());
        }
        let claim = if moves > MOVES_IN_RANGE {
            ports::claim_outside_range(&self.root, self.settings.ports)?
        } else {
            ports::claim_port(&self.root, self.settings.ports, previous)?
        };
        self.ports.insert(id, claim);
        Ok(())
    }

    /// Claims the port that the app has pinned for its only instance.
    pub(super) fn claim_pinned_port(&mut self, id: InstanceId, port: u16) -> anyhow::Result<()> {
        if let Some(guard) = self.guards.remove(&port) {
            self.ports.insert(id, guard.release());
        }
        if self.ports.get(&id).is_none_or(|claim| claim.port() != port) {
            self.ports.remove(&id);
            let claim = port_holder::claim_pinned(&self.root, port)?;
            self.ports.insert(id, claim);
        }
        Ok(())
    }

    /// Checks before a change that the pinned port is free or this app's own.
    pub(super) fn check_pinned_port(&self, plan: &RunPlan) -> anyhow::Result<()> {
        let Some(port) = plan.types.iter().find_map(|kind| kind.pinned.filter(|_| kind.count > 0)) else {
            return Ok(());
        };
        let is_held = self.core.instances().any(|(_, one)| one.port == Some(port));
        if is_held || self.guards.contains_key(&port) {
            return Ok(());
        }
        port_holder::claim_pinned(&self.root, port).map(drop)
    }

    /// Returns whether the next process may get the port of the previous one.
    fn gives_back(&self, release: u64) -> bool {
        let is_jailed = self.worlds.get(&release).is_some_and(|(world, _)| world.is_jailed());
        self.kernel_restricts_ports && is_jailed
            || matches!(self.reach, SiteReachability::Unnamed | SiteReachability::Nameless)
    }

    /// Reserves the port of an instance whose process has ended.
    pub(super) fn hold_port(&mut self, id: InstanceId, worker: &InstanceProcess) {
        let Some(port) = worker.record.port else { return };
        let Some(one) = self.core.instance(id) else { return };
        let (is_routed, is_leaving) = (one.routed == Some(port), one.is_leaving());
        // An adopted process may have held the only claim.
        let claim = self.ports.remove(&id).or_else(|| ports::reclaim_port(&self.root, port).ok().flatten());
        let Some(claim) = claim else { return };
        match hold_when_gone(claim) {
            Ok(guard) if is_routed || is_leaving && self.old.is_any() => {
                self.guards.insert(port, guard);
            }
            Ok(guard) => {
                self.ports.insert(id, guard.release());
            }
            // Also a socket that is bound and does not listen, which cannot be seen.
            Err(_) => match OwnedSockets::default().holder(port) {
                PortHolder::Stranger(stranger) => self.report_port_taken(id, port, stranger),
                _ if is_routed => {
                    let by = "connections that have not ended, or by a hidden process".to_owned();
                    self.note_port_holder(id, port, &by);
                    self.events.push_back(CoreEvent::PortLost { id, by });
                }
                _ => {}
            },
        }
    }

    /// Releases reserved ports to which no request is sent any more.
    pub(super) fn release_guards(&mut self) {
        let routed = self.core.route().map(|route| route.ports).unwrap_or_default();
        // Some old worker may always be there, for the websockets of another app.
        let is_used = |port: u16| routed.contains(&port) || senders::is_any_alive(&self.root, port);
        self.guards.retain(|port, _| is_used(*port));
    }

    /// Returns the process that receives connections to the port of an instance.
    pub(super) fn port_holder(&self, id: InstanceId, port: u16) -> PortHolder {
        // During most checks nothing listens yet.
        if OwnedSockets::default().holder(port) == PortHolder::Nobody {
            return PortHolder::Nobody;
        }
        let Some(worker) = self.workers.get(&id) else { return PortHolder::Nobody };
        let look = || OwnedSockets::of(&worker.family().roots()).holder(port);
        match look() {
            // A process that was just being forked may have been missed.
            PortHolder::Stranger(_) => look(),
            known => known,
        }
    }

    /// Handles another listener on the port of an instance.
    pub(super) fn report_port_taken(&mut self, id: InstanceId, port: u16, stranger: StrangeListener) {
        let by = describe_listener(&self.root, stranger);
        self.probes.remove(&id);
        self.note_port_holder(id, port, &by);
        self.events.push_back(CoreEvent::PortTaken { id, by });
    }

    /// Writes a note to the daemon's log and keeps it for `ps`.
    fn note_port_holder(&mut self, id: InstanceId, port: u16, by: &str) {
        self.notes.insert(id, format!("port {port} was taken by {by}"));
        self.log_error(&format!("port {port} is taken by {by}"));
    }

    /// Searches for other listeners on the ports of instances, unless the kernel excludes them. Returns the
    /// time until the next search.
    pub(super) fn watch_ports(&mut self) -> Option<Duration> {
        let watched: Vec<(InstanceId, u16)> = self
            .core
            .instances()
            .filter(|(_, one)| one.is_up() && !self.is_guarded(one))
            .filter_map(|(id, one)| Some((id, one.port?)))
            .collect();
        if watched.is_empty() {
            return None;
        }
        let now = self.now();
        if let Some(left) = (self.watched_at + WATCH).checked_sub(now).filter(|left| !left.is_zero()) {
            return Some(left);
        }
        self.watched_at = now;
        for (id, port) in watched {
            if let PortHolder::Stranger(stranger) = self.port_holder(id, port) {
                self.report_port_taken(id, port, stranger);
            }
        }
        Some(WATCH)
    }

    fn is_guarded(&self, one: &AppInstance) -> bool {
        self.kernel_restricts_ports
            && self.worlds.get(&one.release).is_some_and(|(world, _)| world.is_jailed())
    }

    /// Returns the ports of an instance that other machines can reach, bypassing nginx.
    pub(super) fn exposed_ports(&self, id: InstanceId) -> Vec<u16> {
        let Some(worker) = self.workers.get(&id) else { return Vec::new() };
        OwnedSockets::of(&worker.family().roots()).exposed_ports()
    }

    /// Returns a warning for each instance that can be reached bypassing nginx.
    pub(super) fn exposure_warnings(&self) -> Vec<String> {
        let up = self.core.instances().filter(|(_, one)| one.live && one.is_up());
        up.filter_map(|(id, one)| {
            let ports = self.exposed_ports(id);
            (!ports.is_empty()).then(|| format!("{} {}", one.ps, join_ports(&ports)))
        })
        .collect()
    }
}

/// Reserves a port once the last process of the instance has ended: if its monitor was killed, the kernel
/// ends the jail a moment later.
fn hold_when_gone(mut claim: PortClaim) -> Result<PortGuard, PortClaim> {
    /// Milliseconds after which the kernel has begun to end a jail, and after which a process counts as
    /// stuck.
    const BEGUN: u32 = 20;
    const STUCK: u32 = 500;
    for wait in 0..STUCK {
        claim = match PortGuard::hold(claim) {
            Ok(guard) => return Ok(guard),
            Err(claim) => claim,
        };
        let PortHolder::Stranger(stranger) = OwnedSockets::default().holder(claim.port()) else {
            // The holder may just have ended.
            return PortGuard::hold(claim);
        };
        let is_dying = || holder_of(stranger.inode).is_none_or(piku_procfs::is_dying);
        if wait >= BEGUN && !is_dying() {
            return Err(claim);
        }
        sleep(Duration::from_millis(1));
    }
    Err(claim)
}

/// Formats the ports of an instance for a warning.
pub(super) fn join_ports(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    format!(
        "listens on all addresses (port {}): other machines reach it past nginx. It should listen on $BIND_ADDRESS",
        ports.join(", ")
    )
}
