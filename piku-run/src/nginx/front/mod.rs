//! The front of an app that runs on other machines (`front` of `deploy_to`): this machine's nginx passes the
//! requests on to the nginx of each. `piku-run nginx` looks every two seconds which of them answer
//! ([`monitor`]); a deploy takes each machine out while it changes ([`drain`]).
//!
//! The upstreams are derived anew for each change of nginx's files, under their lock, from what is on disk: the
//! results of the checks, the locks of deploys, and the machines that lack the live release. No process has to
//! undo anything.

mod drain;
mod lost_connections;
mod machine_state;
pub(crate) mod monitor;
mod probe;
mod record;
mod table;

use std::net::SocketAddr;

use anyhow::Context;
use piku_layout::deploys::missed_release::MissedRelease;
use piku_layout::deploys::missed_settings::MissedSettings;
use piku_layout::front_key::FrontKey;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::{DeployTo, FrontSettings, HostSettings, MachineAddress};
use piku_procfile::render::app_values::AppValues;
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::cli::{FrontAction, FrontArgs};
use crate::instance::environment::ReleaseContext;
use crate::nginx::WebServer;
use crate::process::ssh_session::session_address;
use machine_state::MachineState;
use record::FrontRecord;

pub(crate) use table::{MachineRow, machine_rows, render_fronts};

/// The front of one app.
#[derive(Debug, Clone)]
pub(crate) struct FrontSite {
    pub(crate) app: AppName,
    root: PikuRoot,
    dir: AppDir,
    machines: Vec<MachineAddress>,
    settings: FrontSettings,
    record: FrontRecord,
}

/// Runs `front APP`.
pub(crate) fn run(root: &PikuRoot, typed: FrontArgs) -> anyhow::Result<()> {
    let app = &typed.app;
    match typed.action {
        None => table::print(root, app, typed.format),
        Some(FrontAction::Prepare { tree }) => prepare(root, app, &tree),
        Some(FrontAction::Refresh { urls }) => refresh(root, app, urls),
        Some(FrontAction::Drain { machine }) => {
            let site = FrontSite::find(root, app)?.with_context(|| format!("{app} has no front"))?;
            drain::drain_machine(&site, &machine)
        }
    }
}

/// Stores what the front needs of a release, looks at all machines and prints the key for them.
fn prepare(root: &PikuRoot, app: &AppName, tree: &std::path::Path) -> anyhow::Result<()> {
    let values = ReleaseContext::of_source(root, app, tree.to_owned())?.values()?;
    let dir = root.app(app);
    let known = FrontRecord::read(&dir);
    let is_first = known.is_none();
    let record = FrontRecord::of_release(&dir, &values)?;
    let site = FrontSite::of_release(root, app, record.clone())?;
    if let Some(site) = &site {
        if site.states().is_empty() {
            site.check_machines(&mut monitor::HealthTable::default());
        }
        // Bad settings fail the deploy before any machine changes, and before they are stored.
        WebServer::load(root)?.prepare_front(site).map(drop)?;
    }
    // Those of a later release apply once a machine has deployed it.
    let record = record.staged_after(known);
    record.store(&dir)?;
    if site.is_some() && (is_first || !monitor::is_running(root)) {
        // The service begins to look at the machines.
        WebServer::load(root)?.ask_to_reload();
    }
    piku_report::output::write(format!("{}\n", record.key).as_bytes())
}

/// Renders the front again, and prints its URLs if asked to.
fn refresh(root: &PikuRoot, app: &AppName, shows_urls: bool) -> anyhow::Result<()> {
    let Some(site) = FrontSite::find(root, app)? else { return Ok(()) };
    let put = WebServer::load(root)?.prepare_front(&site)?.apply()?;
    if !shows_urls {
        return Ok(());
    }
    for text in put.warnings.into_iter().chain(put.reach.problem(app)) {
        progress::detail(&text);
    }
    let lines: String =
        put.reach.urls(session_address()).into_iter().flat_map(|url| [url, "\n".to_owned()]).collect();
    piku_report::output::write(lines.as_bytes())
}

impl FrontSite {
    /// Returns the front of an app; `None` if it has none, or has not been deployed since it has one.
    ///
    /// # Errors
    /// Fails if host.yaml cannot be read.
    pub(crate) fn find(root: &PikuRoot, app: &AppName) -> anyhow::Result<Option<Self>> {
        match FrontRecord::read(&root.app(app)) {
            Some(record) => Self::of_release(root, app, record),
            None => Ok(None),
        }
    }

    /// Returns the front of an app with the settings in this record, which need not be stored; `None` if the app
    /// has no front.
    fn of_release(root: &PikuRoot, app: &AppName, record: FrontRecord) -> anyhow::Result<Option<Self>> {
        let mut settings = HostSettings::read(&root.settings())?;
        Ok(settings.deploy_to.remove(app).and_then(|to| Self::new(root, app, to, record)))
    }

    /// Checks the settings of a source that is not built yet. Changes nothing.
    ///
    /// # Errors
    /// Fails if the front would refuse them.
    pub(crate) fn check_source(root: &PikuRoot, world: &ReleaseContext) -> anyhow::Result<()> {
        let record = FrontRecord::of_release(&world.dir, &world.values()?)?;
        match Self::of_release(root, &world.app, record)? {
            Some(site) => WebServer::load(root)?.check_values(&site.context(), site.values()?),
            None => Ok(()),
        }
    }

    /// Returns the fronts of all apps.
    ///
    /// # Errors
    /// Fails if host.yaml cannot be read.
    pub(crate) fn find_all(root: &PikuRoot) -> anyhow::Result<Vec<Self>> {
        let all = HostSettings::read(&root.settings())?.deploy_to;
        Ok(all
            .into_iter()
            .filter_map(|(app, to)| {
                let record = FrontRecord::read(&root.app(&app))?;
                Self::new(root, &app, to, record)
            })
            .collect())
    }

    fn new(root: &PikuRoot, app: &AppName, to: DeployTo, record: FrontRecord) -> Option<Self> {
        // An app that runs here has the site of its own release.
        let settings = to.front.filter(|_| !to.here)?;
        let dir = root.app(app);
        Some(Self { app: app.clone(), root: root.clone(), dir, machines: to.machines, settings, record })
    }

    /// Returns the context in which nginx's file of the front is rendered: that of an app with one web process
    /// and no files.
    pub(crate) fn context(&self) -> ReleaseContext {
        ReleaseContext::of_front(&self.root, &self.app)
    }

    /// Returns the settings of nginx for the front.
    pub(crate) fn values(&self) -> anyhow::Result<AppValues> {
        self.record.values(&self.dir)
    }

    /// Returns the key that the machines know.
    pub(crate) fn key(&self) -> &FrontKey {
        &self.record.key
    }

    /// Returns the addresses that get requests: those of the machines that answer, have the live release and do
    /// not deploy. Without any, the last two conditions are dropped, and then the first: a check may err.
    pub(crate) fn upstreams(&self) -> Vec<SocketAddr> {
        let states = self.states();
        let missed = self.outdated();
        let candidates: Vec<UpstreamCandidate> = self
            .machines
            .iter()
            .filter_map(|machine| {
                let name = machine.name();
                let state = states.iter().find(|state| state.machine == name)?;
                Some(UpstreamCandidate {
                    address: state.address?,
                    is_up: state.is_up,
                    is_outdated: missed.contains(&machine.to_string()),
                    is_draining: drain::is_draining(&self.dir, &name),
                })
            })
            .collect();
        choose_upstreams(&candidates)
    }

    /// Returns the addresses of the machines that lack the live release, or settings.
    fn outdated(&self) -> Vec<String> {
        // What cannot be read is reported by the next change.
        let settings = MissedSettings::read(&self.dir).unwrap_or_default();
        [MissedRelease::of(&self.dir).outdated(), settings.outdated()].concat()
    }

    /// Renders nginx's file of the front, and has nginx load it if it has changed.
    pub(crate) fn apply(&self) -> anyhow::Result<()> {
        let web = WebServer::load(&self.root)?;
        web.prepare_front(self)?.apply().map(drop)
    }

    /// Returns the results of the last checks.
    fn states(&self) -> Vec<MachineState> {
        machine_state::read_states(&self.dir)
    }

    fn find_machine(&self, name: &str) -> anyhow::Result<&MachineAddress> {
        self.machines.iter().find(|machine| machine.name() == name).ok_or_else(|| {
            UserError::new(format!("'{name}' is no machine in deploy_to of {}", self.app)).into()
        })
    }
}

/// A machine that may get requests.
#[derive(Debug, Clone, Copy)]
struct UpstreamCandidate {
    address: SocketAddr,
    is_up: bool,
    is_outdated: bool,
    is_draining: bool,
}

/// Returns the best ones that there are.
fn choose_upstreams(candidates: &[UpstreamCandidate]) -> Vec<SocketAddr> {
    let choices: [fn(&&UpstreamCandidate) -> bool; 4] = [
        |one| one.is_up && !one.is_outdated && !one.is_draining,
        // The only one that serves goes on while it deploys.
        |one| one.is_up && !one.is_outdated,
        |one| one.is_up,
        |_| true,
    ];
    let chosen = |choice| candidates.iter().filter(choice).map(|one| one.address).collect::<Vec<_>>();
    choices.into_iter().map(chosen).find(|chosen| !chosen.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_machines_get_requests() {
        // Each is told by its port: 'u' up, 'd' down, 'o' outdated, 'x' draining.
        let chosen = |machines: &str| {
            let candidate = |(at, words): (usize, &str)| UpstreamCandidate {
                address: SocketAddr::from(([10, 0, 0, 1], u16::try_from(at).unwrap())),
                is_up: words.contains('u'),
                is_outdated: words.contains('o'),
                is_draining: words.contains('x'),
            };
            let candidates: Vec<_> = machines.split(' ').enumerate().map(candidate).collect();
            choose_upstreams(&candidates).iter().map(SocketAddr::port).collect::<Vec<_>>()
        };
        assert_eq!(chosen("u u d"), [0, 1]);
        assert_eq!(chosen("u ux uo"), [0]);
        assert_eq!(chosen("ux d uo"), [0], "the only one that serves");
        assert_eq!(chosen("uox d"), [0]);
        assert_eq!(chosen("d dx"), [0, 1], "the checks may be wrong");
        assert!(choose_upstreams(&[]).is_empty());
    }
}
