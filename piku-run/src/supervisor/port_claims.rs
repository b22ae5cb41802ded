//! The ports of instances: given, held while an instance is down, and watched for others that listen there.
//!
//! nginx sends requests to the port of an instance until it is told of another. In between an instance may crash, and whoever
//! listened on its port then would get its visitors with their cookies. So the moment that it has ended this process binds the
//! port and does not listen: others cannot have it, and nginx is refused and asks another instance. A reload of nginx, which
//! would end the long connections of all apps after a while, is not needed for that.
//!
//! The next process gets the same port where nobody else can bind it in the moment in which it is given back: the kernel lets each
//! jail bind its own ports only (Landlock), or nginx does not serve the app. Elsewhere it gets another one, and the old one stays
//! held until nginx has been told and the last of its workers that knew the old one has ended.
//!
//! A gap remains: between the end of a process and the bind, somebody who waits for exactly that may be faster, where the kernel
//! does not keep him from it. He is found, requests go nowhere, and the instance comes on another port.

#![expect(clippy::disallowed_methods, reason = "what the kernel says of processes in /proc")]

use std::thread::sleep;
use std::time::Duration;

use super::{AppSupervisor, InstanceProcess};
use crate::core::{AppInstance, CoreEvent, InstanceId};
use crate::instance::record::RecordFolder;
use crate::nginx::SiteReachability;
use crate::ports::listening::{OwnedSockets, PortHolder, StrangeListener, holder_of};
use crate::ports::{self, PortClaim, PortGuard};

/// The interval at which listeners beside an instance are looked for. No event tells of one.
const WATCH: Duration = Duration::from_secs(5);

/// After so many moves whoever takes the ports is taken to go on with it, in the range.
const MOVES_IN_RANGE: u32 = 2;

impl AppSupervisor {
    /// Gives an instance the port that its process is to listen on.
    pub(super) fn claim_port(
        &mut self,
        id: InstanceId,
        release: u64,
        kept: Option<u16>,
        moves: u32,
    ) -> anyhow::Result<()> {
        match kept {
            Some(port) if self.gives_back(release) => {
                if let Some(guard) = self.guards.remove(&port) {
                    self.ports.insert(id, guard.release());
                }
            }
            // The one that it has had was left to somebody else.
            None => drop(self.ports.remove(&id)),
            Some(_) => {}
        }
        if self.ports.contains_key(&id) {
            return Ok(());
        }
        let claim = if moves > MOVES_IN_RANGE {
            ports::claim_beyond(&self.root, self.settings.ports)?
        } else {
            ports::claim(&self.root, self.settings.ports, kept)?
        };
        self.ports.insert(id, claim);
        Ok(())
    }

    /// Returns whether the next process may get the port of the one before it.
    fn gives_back(&self, release: u64) -> bool {
        let is_jailed = self.worlds.get(&release).is_some_and(|(world, _)| world.is_jailed());
        self.guards_ports && is_jailed || matches!(self.reach, SiteReachability::Unnamed)
    }

    /// Holds the port of an instance whose process has ended.
    pub(super) fn hold_port(&mut self, id: InstanceId, worker: &InstanceProcess) {
        let Some(port) = worker.record.port else { return };
        let Some(one) = self.core.instance(id) else { return };
        let (is_routed, is_leaving) = (one.routed == Some(port), one.is_leaving());
        // One that was taken up may have had it alone.
        let claim = self.ports.remove(&id).or_else(|| ports::take_up(&self.root, port).ok().flatten());
        let Some(claim) = claim else { return };
        match hold_when_gone(claim) {
            Ok(guard) if is_routed || is_leaving && self.old.is_any() => {
                self.guards.insert(port, guard);
            }
            Ok(guard) => {
                self.ports.insert(id, guard.release());
            }
            // Also a socket that is bound and does not listen yet, which cannot be seen.
            Err(_) => match OwnedSockets::default().holder(port) {
                PortHolder::Stranger(stranger) => self.lose_port(id, port, stranger),
                _ if is_routed => {
                    let by = "connections that have not ended, or by somebody who does not show himself"
                        .to_owned();
                    self.say_who_has(id, port, &by);
                    self.events.push_back(CoreEvent::PortLost { id, by });
                }
                _ => {}
            },
        }
    }

    /// Lets go of ports that no request is sent to any more.
    pub(super) fn release_guards(&mut self) {
        if self.old.is_any() {
            return;
        }
        let routed = self.core.route().map(|route| route.ports).unwrap_or_default();
        self.guards.retain(|port, _| routed.contains(port));
    }

    /// Returns who gets connections to the port of an instance.
    pub(super) fn port_holder(&self, id: InstanceId, port: u16) -> PortHolder {
        // Nobody listens, in most of the time in which somebody is asked.
        if OwnedSockets::default().holder(port) == PortHolder::Nobody {
            return PortHolder::Nobody;
        }
        let Some(worker) = self.workers.get(&id) else { return PortHolder::Nobody };
        let look = || OwnedSockets::of(&worker.family().roots()).holder(port);
        match look() {
            // A process that was just being made may have been overlooked.
            PortHolder::Stranger(_) => look(),
            known => known,
        }
    }

    /// Somebody else listens on the port of an instance.
    pub(super) fn lose_port(&mut self, id: InstanceId, port: u16, stranger: StrangeListener) {
        let by = self.name_of(stranger);
        self.probes.remove(&id);
        self.say_who_has(id, port, &by);
        self.events.push_back(CoreEvent::PortTaken { id, by });
    }

    /// To the daemon's log, and to whoever asks later.
    fn say_who_has(&mut self, id: InstanceId, port: u16, by: &str) {
        self.notes.insert(id, format!("port {port} was taken by {by}"));
        self.complain(&format!("port {port} is taken by {by}"));
    }

    /// Names whoever has a socket: an instance of an app, or a process.
    fn name_of(&self, stranger: StrangeListener) -> String {
        let Some(pid) = holder_of(stranger.inode) else {
            return format!("a process of the user {}", stranger.uid);
        };
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let comm: String = comm.trim_end().chars().filter(|c| !c.is_control()).collect();
        let process = format!("pid {pid}, {comm}");
        for app in self.root.apps().unwrap_or_default() {
            let records = RecordFolder::of(&self.root.app(&app)).all().unwrap_or_default();
            let its = |pid_of: i32| piku_procfs::process_tree(pid_of).contains(&pid);
            if let Some(record) = records.iter().find(|record| record.is_alive() && its(record.pid)) {
                return format!("{} of {app} ({process})", record.ps);
            }
        }
        process
    }

    /// Looks whether somebody has begun to listen beside an instance, where the kernel does not see to it that nobody can.
    /// Returns how long it is until the next look.
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
                self.lose_port(id, port, stranger);
            }
        }
        Some(WATCH)
    }

    fn is_guarded(&self, one: &AppInstance) -> bool {
        self.guards_ports && self.worlds.get(&one.release).is_some_and(|(world, _)| world.is_jailed())
    }

    /// Returns the ports on which an instance can be reached from other machines, past nginx.
    pub(super) fn exposed_ports(&self, id: InstanceId) -> Vec<u16> {
        let Some(worker) = self.workers.get(&id) else { return Vec::new() };
        OwnedSockets::of(&worker.family().roots()).exposed_ports()
    }

    /// Returns the instances that can be reached past nginx, each with its ports, for whoever deploys.
    pub(super) fn exposures(&self) -> Vec<String> {
        let up = self.core.instances().filter(|(_, one)| one.live && one.is_up());
        up.filter_map(|(id, one)| {
            let ports = self.exposed_ports(id);
            (!ports.is_empty()).then(|| format!("{} {}", one.ps, words(&ports)))
        })
        .collect()
    }
}

/// Holds a port as soon as the last process of the instance is gone: a jail whose monitor was killed is ended by the kernel a
/// moment later.
fn hold_when_gone(mut claim: PortClaim) -> Result<PortGuard, PortClaim> {
    /// Milliseconds until the kernel has begun to end a jail, and until a process that it ends is taken to be stuck.
    const BEGUN: u32 = 20;
    const STUCK: u32 = 500;
    for wait in 0..STUCK {
        claim = match PortGuard::hold(claim) {
            Ok(guard) => return Ok(guard),
            Err(claim) => claim,
        };
        let PortHolder::Stranger(stranger) = OwnedSockets::default().holder(claim.port()) else {
            // Whoever had it may have gone just now.
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

/// Says so, of the ports of an instance.
pub(super) fn words(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    format!(
        "listens on all addresses (port {}): other machines reach it past nginx. It should listen on $BIND_ADDRESS",
        ports.join(", ")
    )
}
