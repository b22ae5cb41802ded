//! A thread of `piku-run nginx` that looks which machines behind the fronts answer, and has nginx send requests
//! to those. It runs as long as host.yaml has a front.

#![expect(clippy::disallowed_methods, reason = "looks at files of piku's own")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::MachineAddress;

use super::machine_state::{MachineHealth, MachineLoss, MachineState, write_states};
use super::probe::{ProbeFailure, ProbeResult, checked_path, choose_result, probe_machine};
use super::{FrontSite, lost_connections};
use crate::lock;
use crate::nginx::{installed_upstreams, log_service};
use crate::releases::current;

/// Time between two checks.
const EVERY: Duration = Duration::from_secs(2);
/// Attempts to take the lock, and the time between them.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Time to find the address of a host.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// Fronts whose machines are checked at the same time. One that does not answer takes seconds.
const AT_ONCE: usize = 8;

/// Failures of the machines of each app.
#[derive(Debug, Default)]
pub(super) struct HealthTable(BTreeMap<(AppName, String), MachineHealth>);

/// The thread of the checks.
#[derive(Debug, Default)]
pub(crate) struct FrontMonitor(Option<JoinHandle<()>>);

impl FrontMonitor {
    /// Starts the thread if there is a front and it does not run.
    pub(crate) fn start_if_needed(&mut self, root: &PikuRoot) {
        let is_running = self.0.as_ref().is_some_and(|thread| !thread.is_finished());
        if is_running || FrontSite::find_all(root).is_ok_and(|fronts| fronts.is_empty()) {
            return;
        }
        let root = root.clone();
        self.0 = Some(thread::spawn(move || {
            if let Err(err) = watch_machines(&root) {
                log_service(&format!("fronts: {err:#}"));
            }
        }));
    }
}

/// Returns whether the thread of a service runs.
pub(super) fn is_running(root: &PikuRoot) -> bool {
    lock::is_held(&lock_path(root))
}

fn lock_path(root: &PikuRoot) -> std::path::PathBuf {
    root.run().join("fronts.lock")
}

/// Inputs of the file that nginx reads for a front.
#[derive(Debug, PartialEq, Eq)]
struct FrontInputs {
    upstreams: Vec<SocketAddr>,
    modified: Vec<Option<SystemTime>>,
    is_in_maintenance: bool,
}

impl FrontInputs {
    /// Loads a front and the inputs of its file; `None` if it is gone. A change during that time is one of the
    /// next round: the dates are those from before.
    ///
    /// # Errors
    /// Fails if host.yaml cannot be read.
    fn load(root: &PikuRoot, app: &AppName) -> anyhow::Result<Option<(FrontSite, Self)>> {
        let dir = root.app(app);
        let modified = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
        let modified =
            [root.settings(), dir.config(), dir.front()].iter().map(|path| modified(path)).collect();
        let is_in_maintenance = dir.is_in_maintenance();
        let site = FrontSite::find(root, app)?;
        Ok(site.map(|site| {
            let upstreams = site.upstreams();
            (site, Self { upstreams, modified, is_in_maintenance })
        }))
    }

    /// Returns false if the file that nginx reads names other machines: a deploy changes it, too, and may be
    /// killed before it changes it back.
    fn are_installed(&self, site: &FrontSite) -> bool {
        let installed = installed_upstreams(&site.root, &site.app);
        installed.is_empty() || installed == self.upstreams.iter().copied().collect()
    }
}

/// Checks all machines until there is no front any more.
fn watch_machines(root: &PikuRoot) -> anyhow::Result<()> {
    current::create_dir(&root.run())?;
    let path = lock_path(root);
    let try_lock = || lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()));
    let mut lock = try_lock()?;
    // Others look at it for a moment.
    for _ in 0..LOCK_ATTEMPTS {
        if lock.is_none() {
            thread::sleep(LOCK_PAUSE);
            lock = try_lock()?;
        }
    }
    let Some(_lock) = lock else { return Ok(()) };
    let mut health = HealthTable::default();
    let mut applied: BTreeMap<AppName, FrontInputs> = BTreeMap::new();
    loop {
        // A file that is being edited keeps the last fronts out of the loop for one round only.
        match FrontSite::find_all(root) {
            Ok(fronts) if fronts.is_empty() => return Ok(()),
            Ok(fronts) => {
                let checked = fronts.chunks(AT_ONCE).flat_map(check_fronts);
                for (site, results) in fronts.iter().zip(checked) {
                    let lost = site.record_results(results, &mut health);
                    if let Err(err) = apply_results(root, &site.app, lost, &mut applied) {
                        log_service(&format!("front of {}: {err:#}", site.app));
                    }
                }
            }
            Err(err) => log_service(&format!("fronts: {err:#}")),
        }
        thread::sleep(EVERY);
    }
}

/// Applies the front as it is after the checks, which take seconds, and ends the connections to `lost` machines.
fn apply_results(
    root: &PikuRoot,
    app: &AppName,
    lost: Vec<(SocketAddr, MachineLoss)>,
    applied: &mut BTreeMap<AppName, FrontInputs>,
) -> anyhow::Result<()> {
    let Some((site, inputs)) = FrontInputs::load(root, app)? else { return Ok(()) };
    if applied.get(app) != Some(&inputs) || !inputs.are_installed(&site) {
        match site.apply() {
            Ok(()) => drop(applied.insert(app.clone(), inputs)),
            Err(err) => log_service(&format!("front of {app}: {err:#}")),
        }
    }
    // New requests go elsewhere by then. If all machines are lost, they go to all, since a check may err; then only those
    // from before the loss are ended.
    let upstreams = site.upstreams();
    for (address, loss) in lost {
        if loss == MachineLoss::New || !upstreams.contains(&address) {
            lost_connections::end_connections(root, address);
        }
    }
    Ok(())
}

/// Result for a machine, with the address that was asked.
type MachineResult = (Option<SocketAddr>, ProbeResult);

/// Checks the machines of all these fronts at the same time.
fn check_fronts(fronts: &[FrontSite]) -> Vec<Vec<MachineResult>> {
    thread::scope(|scope| {
        let running: Vec<_> = fronts.iter().map(|site| scope.spawn(move || site.probe_machines())).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

impl FrontSite {
    /// Checks all machines and stores their states.
    pub(super) fn check_machines(&self, health: &mut HealthTable) {
        let _ = self.record_results(self.probe_machines(), health);
    }

    /// Checks all machines at the same time. Returns the results in their order.
    fn probe_machines(&self) -> Vec<MachineResult> {
        let before = self.states();
        let values = self.values().unwrap_or_default();
        let path = checked_path(&values);
        let check = |machine: &MachineAddress| {
            let known = before.iter().find(|state| state.machine == machine.name());
            self.check_machine(machine, known.and_then(|state| state.address), path)
        };
        thread::scope(|scope| {
            let running: Vec<_> =
                self.machines.iter().map(|machine| scope.spawn(move || check(machine))).collect();
            let ended = running.into_iter().map(|thread| {
                let failed = || (None, Err(ProbeFailure::Unhealthy("the check has failed".to_owned())));
                thread.join().unwrap_or_else(|_| failed())
            });
            ended.collect()
        })
    }

    /// Stores the states that follow from the results. Returns the addresses of lost machines.
    fn record_results(
        &self,
        results: Vec<MachineResult>,
        health: &mut HealthTable,
    ) -> Vec<(SocketAddr, MachineLoss)> {
        let before = self.states();
        let now = Timestamp::now();
        let mut after = Vec::new();
        let mut lost = Vec::new();
        for (machine, (address, result)) in self.machines.iter().zip(results) {
            let name = machine.name();
            let known = before.iter().find(|state| state.machine == name);
            // A machine that has never answered is down.
            let unknown =
                || MachineState { machine: name.clone(), address, is_up: false, since: now, reason: None };
            let mut state = known.cloned().unwrap_or_else(unknown);
            state.address = address.or(state.address);
            let entry = health.0.entry((self.app.clone(), name.clone())).or_default();
            if let Some(loss) = entry.record(&mut state, &result, now) {
                lost.extend(state.address.map(|address| (address, loss)));
            }
            if known.is_some_and(|known| known.is_up != state.is_up) {
                let what = match &state.reason {
                    Some(reason) => format!("is down: {reason}"),
                    None => "is up".to_owned(),
                };
                log_service(&format!("front of {}: {name} {what}", self.app));
            }
            after.push(state);
        }
        if after != before {
            if let Err(err) = write_states(&self.dir, &after) {
                log_service(&format!("front of {}: {err:#}", self.app));
            }
        }
        lost
    }

    /// Checks a machine at its known address, or else at those of its name. Returns the one that was used.
    pub(super) fn check_machine(
        &self,
        machine: &MachineAddress,
        known: Option<SocketAddr>,
        path: &str,
    ) -> (Option<SocketAddr>, ProbeResult) {
        let (host, port) = self.settings.http_address(machine);
        let probe = |address: SocketAddr| (address, probe_machine(address, self.key(), path));
        if let Ok(ip) = host.parse() {
            let (address, result) = probe(SocketAddr::new(ip, port));
            return (Some(address), result);
        }
        let first = known.filter(|address| address.port() == port).map(probe);
        if let Some((address, Ok(()))) = first {
            return (Some(address), Ok(()));
        }
        // Its name may have another address by now. If it has none, the failure of the known one counts.
        let found = piku_nss::find_addresses(&host, port, LOOKUP_TIMEOUT);
        let why = match &found {
            Ok(_) => format!("'{host}' has no address"),
            Err(err) => format!("'{host}' has no address: {err}"),
        };
        let asked = first.as_ref().map(|(address, _)| *address);
        let others = found.unwrap_or_default().into_iter().filter(|address| Some(*address) != asked);
        match choose_result(first.into_iter().chain(others.map(probe))) {
            Some((address, result)) => (Some(address), result),
            None => (None, Err(ProbeFailure::Refused(why))),
        }
    }
}

#[cfg(test)]
mod tests {
    use piku_procfile::render::app_values::AppValues;

    use super::super::record::FrontRecord;
    use super::*;

    #[test]
    fn inputs_are_those_of_the_settings_that_are_loaded_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let to = "deploy_to: {blog: {machines: [10.0.0.2], here: false, front: {}}}\n";
        fs::write(root.settings(), to).unwrap();
        fs::create_dir_all(root.app(&app).path()).unwrap();
        assert!(FrontInputs::load(&root, &app).unwrap().is_none(), "before its first deploy");
        let store = |name: &str, time: u64| {
            let mut values = AppValues::default();
            values.set("NGINX_SERVER_NAME", name, "ENV");
            let path = root.app(&app).front();
            FrontRecord::of_release(&root.app(&app), &values).unwrap().store(&root.app(&app)).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        let load = || {
            let (site, inputs) = FrontInputs::load(&root, &app).unwrap().unwrap();
            (site.values().unwrap().value("NGINX_SERVER_NAME").unwrap().to_owned(), inputs)
        };
        store("a.test", 1);
        let (name, old) = load();
        assert_eq!((name.as_str(), &load().1), ("a.test", &old));
        store("b.test", 2);
        let (name, new) = load();
        assert_eq!(name, "b.test");
        assert_ne!(new, old);
        fs::write(root.settings(), "").unwrap();
        assert!(FrontInputs::load(&root, &app).unwrap().is_none(), "it is gone");
    }
}
