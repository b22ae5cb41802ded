//! Combines the plans of all runtimes of an app: process types, environment and layers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::sha256::to_hex;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::{self, ProcessKind, ProcfileEntry};

use crate::app::app_source::AppSource;
use crate::app::command_check;
use crate::plan::build_plan::BuildPlan;
use crate::plan::build_target::BuildTarget;
use crate::runtime::{self, Runtime};
use piku_layout::jail::PATH;
use piku_release::manifest::{BuiltRelease, ReleaseLayer};

/// Plan of one runtime.
pub(crate) struct RuntimePart {
    pub(crate) runtime: &'static dyn Runtime,
    pub(crate) plan: BuildPlan,
}

/// Plans of all runtimes of one release, in the order in which they are built.
pub(crate) struct CombinedPlan {
    /// Plans with their runtimes; never empty.
    pub(crate) parts: Vec<RuntimePart>,
    /// Process types in order: the Procfile's, or the default of the last runtime.
    pub(crate) processes: IndexMap<ProcessName, String>,
    /// Source of the process types.
    pub(crate) processes_from: String,
    /// Variables that the runtimes and `app.json` set for processes of the app.
    pub(crate) env: BTreeMap<String, String>,
    /// Number of instances of process types, by `app.json`.
    pub(crate) formation: BTreeMap<ProcessName, u32>,
    /// Variables of `app.json` that get a random value once.
    secrets: Vec<String>,
}

impl CombinedPlan {
    /// Plans every runtime; `runtimes` is not empty.
    pub(crate) fn plan(
        runtimes: &[&'static dyn Runtime],
        source: &AppSource,
        target: &BuildTarget,
    ) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        for runtime in runtimes {
            parts.push(RuntimePart { runtime: *runtime, plan: runtime.plan(source, target)? });
        }
        if source.procfile.is_none() {
            // The last runtime sets the default process types; the others need none.
            let last = parts.len().saturating_sub(1);
            for part in &mut parts[..last] {
                part.plan.processes.clear();
                part.plan.processes_from = None;
                part.plan.is_guess = false;
            }
        }
        let mut whole = Self {
            parts,
            processes: IndexMap::new(),
            processes_from: String::new(),
            env: BTreeMap::new(),
            formation: BTreeMap::new(),
            secrets: Vec::new(),
        };
        whole.join(source);
        Ok(whole)
    }

    /// Combines the plans again after one of them has changed.
    pub(crate) fn join(&mut self, source: &AppSource) {
        self.env = env(self.plans());
        let variables = source.app_json.env.iter();
        self.env.extend(variables.map(|(name, value)| (name.clone(), value.clone())));
        self.secrets.clone_from(&source.app_json.secrets);
        self.formation.clone_from(&source.app_json.formation);
        self.processes = processes(self.plans(), source);
        source.app_json.add_processes(&mut self.processes);
        let from = self.plans().last().and_then(|plan| plan.processes_from.clone());
        self.processes_from = match &source.procfile {
            Some(_) => procfile::FILE.to_owned(),
            None => from.unwrap_or_else(|| self.main().runtime.to_owned()),
        };
    }

    /// Removes layers and folders of the host that only the build needed: those of a release that starts
    /// nothing, whose pages are served from its tree.
    pub(crate) fn remove_build_layers(&mut self, source: &AppSource) {
        let entries = command_check::parse_entries(&self.processes);
        let is_page =
            |entry: &ProcfileEntry| matches!(entry.kind, ProcessKind::Static | ProcessKind::Preflight);
        if entries.is_empty() || !entries.iter().all(is_page) {
            return;
        }
        for RuntimePart { plan, .. } in &mut self.parts {
            let mounts: Vec<_> = plan.layers.drain(..).map(|layer| layer.mount).collect();
            plan.host.clear();
            let is_left = |folder: &&str| !mounts.iter().any(|mount| Path::new(folder).starts_with(mount));
            if let Some(path) = plan.env.get_mut("PATH") {
                *path = path.split(':').filter(is_left).collect::<Vec<_>>().join(":");
            }
        }
        self.join(source);
    }

    /// Returns the plans, in order.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &BuildPlan> {
        self.parts.iter().map(|part| &part.plan)
    }

    /// Returns the plan of the runtime that names the release.
    pub(crate) fn main(&self) -> &BuildPlan {
        &self.parts[self.parts.len() - 1].plan
    }

    /// Returns all layers that processes see, in order.
    pub(crate) fn mounted_layers(&self) -> impl Iterator<Item = ReleaseLayer> {
        self.plans().flat_map(BuildPlan::mounted_layers)
    }

    /// Returns the directories of the host that the release needs.
    pub(crate) fn host_folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.plans().flat_map(|plan| &plan.host)
    }

    /// Returns the environment of the plans up to the index `at`, including it.
    pub(crate) fn env_until(&self, at: usize) -> BTreeMap<String, String> {
        env(self.plans().take(at + 1))
    }
}

/// Merges environments; later values win. `PATH` values are joined, the last one first.
fn env<'a>(plans: impl Iterator<Item = &'a BuildPlan>) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for plan in plans {
        let before = env.get("PATH").cloned();
        env.extend(plan.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let (Some(before), Some(now)) = (before, plan.env.get("PATH")) {
            env.insert("PATH".to_owned(), join_paths(now, &before));
        }
    }
    env
}

/// Joins two `PATH` values without duplicates and without the default directories.
fn join_paths(first: &str, second: &str) -> String {
    let is_common = |folder: &&str| PATH.split(':').any(|common| common == *folder);
    let all = || first.split(':').chain(second.split(':'));
    let mut folders: Vec<&str> = Vec::new();
    for folder in all().filter(|folder| !is_common(folder)).chain(all().filter(is_common)) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.join(":")
}

/// Returns the last plan's process types. A line of the Procfile that an earlier runtime knows how to start,
/// such as `wsgi`, is as that one has it.
fn processes<'a>(
    plans: impl Iterator<Item = &'a BuildPlan>,
    source: &AppSource,
) -> IndexMap<ProcessName, String> {
    let mut processes: IndexMap<ProcessName, String> = IndexMap::new();
    let written: IndexMap<_, _> =
        source.procfile.iter().flat_map(|procfile| &procfile.entries).map(runtime::convert_entry).collect();
    for plan in plans {
        if source.procfile.is_none() {
            processes.clear();
        }
        for (name, command) in &plan.processes {
            if written.get(name) != Some(command) || !processes.contains_key(name) {
                processes.insert(name.clone(), command.clone());
            }
        }
    }
    processes
}

/// As many as Rails' own `bin/rails secret`.
const BYTES: usize = 64;

/// Gives each secret that the plans want its value: the one of the release in the folder `before`, else a new
/// one.
pub(crate) fn supply_secrets(whole: &mut CombinedPlan, before: Option<&Path>) -> anyhow::Result<()> {
    let of_plans = whole.plans().flat_map(|plan| &plan.secrets).map(|name| (*name).to_owned());
    let names: Vec<String> = of_plans.chain(whole.secrets.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    // If the previous release cannot be read, new secrets are generated.
    let old = before
        .and_then(|before| BuiltRelease::read(before).ok())
        .map(|release| release.env)
        .unwrap_or_default();
    for name in names {
        let value = old.get(&name).filter(|value| !value.is_empty()).cloned().map_or_else(make_secret, Ok)?;
        whole.env.insert(name, value);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "reads the kernel's random numbers")]
fn make_secret() -> anyhow::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read '/dev/urandom'")?;
    Ok(to_hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::build_plan::LayerPlan;

    #[test]
    fn paths_are_joined_and_the_common_ones_stay_behind() {
        let joined = join_paths("/layers/venv/bin:/usr/bin:/bin", "/layers/node/bin:/usr/local/bin:/usr/bin");
        assert_eq!(joined, "/layers/venv/bin:/layers/node/bin:/usr/bin:/bin:/usr/local/bin");
    }

    #[test]
    fn only_a_release_that_starts_nothing_needs_no_layers() {
        let dir = tempfile::tempdir().unwrap();
        let source = AppSource::read(dir.path(), None).unwrap();
        let left = |processes: &[(&str, &str)]| {
            let layer = LayerPlan { name: "node", mount: "/layers/node".into(), ..LayerPlan::default() };
            let plan = BuildPlan {
                layers: vec![layer],
                host: vec!["/opt/node".into()],
                processes: processes
                    .iter()
                    .map(|(name, command)| (name.parse().unwrap(), (*command).to_owned()))
                    .collect(),
                env: BTreeMap::from([("PATH".to_owned(), "/layers/node/bin:/usr/bin".to_owned())]),
                ..BuildPlan::default()
            };
            let parts = vec![RuntimePart { runtime: runtime::RUNTIMES[0], plan }];
            let (processes_from, env) = (String::new(), BTreeMap::new());
            let (processes, formation, secrets) = (IndexMap::new(), BTreeMap::new(), Vec::new());
            let mut combined = CombinedPlan { parts, processes, processes_from, env, formation, secrets };
            combined.join(&source);
            combined.remove_build_layers(&source);
            let layers = combined.mounted_layers().count() + combined.host_folders().count();
            (layers, combined.env["PATH"].clone())
        };
        assert_eq!(left(&[("static", "dist")]), (0, "/usr/bin".to_owned()));
        for other in [("web", "node x.js"), ("release", "node x.js"), ("cron_a", "0 4 * * * node x.js")] {
            assert_eq!(left(&[("static", "dist"), other]).0, 2, "{other:?}");
        }
        assert_eq!(left(&[]).0, 2, "unknown process types");
    }

    #[test]
    fn who_knows_a_line_of_the_procfile_says_how_it_is_started() {
        let dir = tempfile::tempdir().unwrap();
        let plan = |web: &str| BuildPlan {
            processes: IndexMap::from([("wsgi".parse().unwrap(), web.to_owned())]),
            env: BTreeMap::from([("A".to_owned(), web.to_owned())]),
            ..BuildPlan::default()
        };
        let plans = [plan("gunicorn app:app"), plan("app:app")];
        std::fs::write(dir.path().join("Procfile"), "wsgi: app:app\n").unwrap();
        let source = AppSource::read(dir.path(), None).unwrap();
        assert_eq!(processes(plans.iter(), &source)["wsgi"], "gunicorn app:app");
        std::fs::remove_file(dir.path().join("Procfile")).unwrap();
        let source = AppSource::read(dir.path(), None).unwrap();
        assert_eq!(processes(plans.iter(), &source)["wsgi"], "app:app");
        assert_eq!(env(plans.iter())["A"], "app:app");
    }
}
