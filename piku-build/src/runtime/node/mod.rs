//! Node: installs the locked dependencies with the package manager that wrote the lock file, runs the build
//! script, and removes development dependencies. A front end with nothing to start is served as static
//! files. A lone script such as `server.js` needs no package.json.

mod default_process;
mod development;
mod failures;
mod framework;
mod node_modules;
mod npm;
mod package_json;
mod package_manager;
mod version;
mod version_range;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_procfile::procfile;

use super::version::RuntimeVersion;
use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::app::started_programs::find_started;
use crate::errors::{self, node as told};
use crate::plan::build_plan::{BuildPlan, LayerPlan};
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::step::environment::find_certificates;
use crate::store::layer::LayerStore;
use crate::tree::root_view::RootView;
use node_modules::MODULES;
use npm::ChosenNpm;
use package_json::{FILE, LIFECYCLE, PackageJson};
use package_manager::{ManagerKind, NodeManager};
use piku_layout::jail::PATH;
use version::ChosenNode;

/// Programs that start an app without a start script.
pub(super) const SERVERS: [&str; 4] = ["server.js", "index.js", "app.js", "main.js"];
/// Further ones of apps without a package.json.
const MODULES_ALONE: [&str; 6] = ["server.mjs", "index.mjs", "app.mjs", "server.cjs", "index.cjs", "app.cjs"];
/// Files of apps for Deno.
const DENO: [&str; 3] = ["deno.json", "deno.jsonc", "deno.lock"];
/// Folders into which front ends are built, the commonest first.
const BUILT: [&str; 6] = ["dist", "build", "out", "_site", ".output/public", "public"];
/// Name of the step that removes development dependencies.
const PRUNE: &str = "prune";

pub(super) struct NodeRuntime;

impl Runtime for NodeRuntime {
    fn name(&self) -> &'static str {
        "node"
    }

    /// Returns false: most apps have no step but the installation of their packages.
    fn writes_tree(&self) -> bool {
        false
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        let misspelt = ["packages.json", "package.jsn", "Package.json", "pakage.json"];
        if let Some(name) = misspelt.iter().find(|name| source.has_entry(name) && !source.has_entry(FILE)) {
            let is_node = source.names_ending(&["js", "mjs", "cjs", "ts", "mts", "cts"]).next().is_some();
            return Ok(super::refuse_or_warn(is_node, name, told::misspelt(name)));
        }
        if !source.has_entry(FILE) {
            return Ok(match find_lone_script(source) {
                Some(name) => {
                    DetectResult::WeakMatch(format!("there is {name}, and no {FILE}: no dependencies"))
                }
                None => DetectResult::NoMatch(format!("{FILE} is missing")),
            });
        }
        let package = match PackageJson::read(source) {
            Ok(Some(package)) => package,
            Ok(None) => return Ok(DetectResult::NoMatch(format!("{FILE} is missing"))),
            Err(err) => return err.downcast().map(DetectResult::Unsupported),
        };
        let runs = source
            .procfile
            .iter()
            .flat_map(|procfile| &procfile.entries)
            .any(|entry| entry.kind != procfile::ProcessKind::Static);
        let about = runs || package.start_script().is_some() || package.build_script().is_some();
        Ok(if about || default_process::find_program(source, &package).is_some() {
            DetectResult::Match(format!("there is a {FILE}"))
        } else {
            DetectResult::WeakMatch(format!("there is a {FILE}, which neither builds nor starts anything"))
        })
    }

    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let (package, is_lone) = match PackageJson::read(source)? {
            Some(package) => (package, false),
            None if find_lone_script(source).is_some() => (PackageJson::default(), true),
            None => return Err(told::no_package().into()),
        };
        let node = version::choose(source, &package, target)?;
        let mut manager = NodeManager::choose(source, &package)?;
        let mut npm = if is_lone {
            ChosenNpm::default()
        } else {
            choose_npm(source, &package, &manager, &node, target)?
        };
        manager.npm_major = npm.major;
        manager.npm.clone_from(&npm.fetch);
        let own: Vec<_> = LIFECYCLE.into_iter().filter(|name| package.script(name).is_some()).collect();
        // yarn would not check the lock file otherwise.
        let dev = package.build_script().is_some() || !own.is_empty() || manager.kind == ManagerKind::Berry;
        let has_dev = !package.dependencies(&["devDependencies"]).is_empty() || package.has_workspaces();
        let (processes, processes_from) = default_process::processes(source, &package)?;
        // The modules of a front end that is only built are removed anyway.
        let is_guess = processes_from.as_deref() == Some(told::BY_BUILD);
        let kept = package.find_started_development(processes.values());
        let steps = tree_steps(&package, &manager, &own, dev && has_dev && !is_guess && kept.is_none());
        let modules = node_modules::modules_layer(
            source,
            target,
            &package,
            &node,
            &manager,
            dev,
            target.jailed && steps.is_empty(),
        )?;

        let started = processes.values().flat_map(|command| find_started(command)).collect::<Vec<_>>();
        let needs_npm = node_modules::has_dependencies(&package)
            || !steps.is_empty()
            || started.iter().any(|started| matches!(started.name(), "npm" | "npx"));
        npm.fetch = npm.fetch.filter(|_| needs_npm);
        let packages = package.dependencies(&["dependencies", "devDependencies"]);
        super::check_js_runtimes(&processes, target, &packages.into_keys().collect::<Vec<_>>())?;
        let NodeTools { layers, bins, version } = plan_tools(source, target, &node, &npm, &manager)?;
        let needs_certificates = node.first_version() < EXTRA_CERTIFICATES;
        let mut warnings = node.warnings;
        if !is_lone {
            warnings.extend(npm.warnings.iter().chain(&manager.warnings).cloned());
        }
        if source.has_entry("node_modules/") && !is_lone {
            warnings.push(told::committed_modules());
        }
        warnings.extend(kept.map(|name| told::started_development(&name)));
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(version.unwrap_or(node.version)),
            version_from: Some(node.from),
            layers,
            tree_layers: node_modules::has_dependencies(&package).then_some(modules).into_iter().collect(),
            steps,
            processes,
            processes_from,
            is_guess,
            env: env(&bins, target),
            build_env: build_env(node.headers.as_deref(), needs_certificates),
            warnings,
            ..BuildPlan::default()
        })
    }

    fn explain_failure(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        _plan: &BuildPlan,
        _view: &RootView,
    ) -> anyhow::Error {
        failures::explain(step.name, ended)
            .unwrap_or_else(|| errors::step_failed(step.name, ended, &[]))
            .into()
    }

    fn check_step(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        plan: &BuildPlan,
        view: &RootView,
    ) -> anyhow::Result<()> {
        if step.name == version::CHECK {
            let [requested, from] =
                [&plan.version, &plan.version_from].map(|text| text.as_deref().unwrap_or_default());
            return version::check_fetched(ended, requested, from);
        }
        if ended.succeeded() { Ok(()) } else { Err(self.explain_failure(step, ended, plan, view)) }
    }

    /// Finds the pages that the build of a front end made, and the version of a fetched Node.
    fn complete_plan(&self, plan: &mut BuildPlan, view: &RootView) -> anyhow::Result<()> {
        if plan.layers.iter().any(|layer| layer.name == NODE) {
            let bin = plan.env.get("PATH").and_then(|path| path.split(':').next()).unwrap_or_default();
            let file = view.find(&version::version_file(Path::new(bin)));
            plan.version =
                file.and_then(|file| version::read_fetched(file.place.open().ok()?)).or(plan.version.take());
        }
        if !plan.is_guess {
            return Ok(());
        }
        let guess = plan.processes.get("static").map(String::as_str);
        let folders = guess.into_iter().chain(BUILT);
        let has_page = |folder: &&str| view.tree.is_file(format!("{folder}/index.html"));
        let below = || {
            // Angular: dist/NAME/browser.
            let names = view.tree.read_dir("dist").unwrap_or_default();
            names
                .into_iter()
                .filter_map(|entry| entry.name.into_string().ok())
                .flat_map(|name| [format!("dist/{name}/browser"), format!("dist/{name}")])
                .find(|folder| has_page(&folder.as_str()))
        };
        let folder = folders.into_iter().find(has_page).map(str::to_owned).or_else(below);
        if folder.is_none() && view.tree.is_file(framework::NITRO) {
            plan.processes = IndexMap::from([("web".parse()?, framework::serve(framework::NITRO))]);
            return Ok(view.tree.remove_all(MODULES)?);
        }
        let is_kit = view.tree.is_dir(".svelte-kit");
        let folder = folder.ok_or_else(|| told::built_nothing(&BUILT, is_kit))?;
        plan.processes = IndexMap::from([("static".parse()?, folder)]);
        // Nothing runs that needs them.
        Ok(view.tree.remove_all(MODULES)?)
    }
}

/// Returns the script of an app without a package.json, for which Node alone is needed.
fn find_lone_script(source: &AppSource) -> Option<&'static str> {
    let found = SERVERS.into_iter().chain(MODULES_ALONE).find(|name| source.has_entry(name));
    if source.procfile.is_some() {
        return super::starts_program(source, &["node"])
            .then(|| found.unwrap_or("a Procfile that starts node"));
    }
    found.filter(|_| !DENO.iter().any(|name| source.has_entry(name)))
}

/// Chooses the npm of an app with a package.json.
fn choose_npm(
    source: &AppSource,
    package: &PackageJson,
    manager: &NodeManager,
    node: &ChosenNode,
    target: &BuildTarget,
) -> anyhow::Result<ChosenNpm> {
    let lock = manager.lock.filter(|_| manager.kind == ManagerKind::Npm);
    let format = lock.map_or(Ok(None), |lock| npm::lock_format(source, lock))?;
    npm::choose(package, manager.npm.as_deref(), format, node, target)
}

/// Name of the layer with a fetched Node.
const NODE: &str = "node";

/// The tools of an app that are fetched, and the folders of all.
struct NodeTools {
    /// Layers with the tools.
    layers: Vec<LayerPlan>,
    /// Folders with programs, for PATH.
    bins: Vec<PathBuf>,
    /// Version of a fetched Node that an earlier build has left.
    version: Option<String>,
}

/// Plans the Node, the npm and the package manager that are fetched.
fn plan_tools(
    source: &AppSource,
    target: &BuildTarget,
    node: &ChosenNode,
    npm: &ChosenNpm,
    manager: &NodeManager,
) -> anyhow::Result<NodeTools> {
    let mut tools = NodeTools { layers: Vec::new(), bins: Vec::new(), version: None };
    let is_fetching = [&node.fetch, &npm.fetch, &manager.fetch].iter().any(|fetch| fetch.is_some());
    if !is_fetching {
        tools.bins.extend(node.bin.clone());
        return Ok(tools);
    }
    let machines = target.tool("a Node app", "npm")?.inside.to_string_lossy().into_owned();
    if let Some(fetch) = &node.fetch {
        let bin = node.bin.as_deref().unwrap_or(Path::new(""));
        let check = |folder: &Path| bin.parent().map(|package| version::check_step(&folder.join(package)));
        let layer = node_modules::tool_layer(source, target, NODE, fetch, &machines, &check);
        let read = |store: &LayerStore| {
            let tree = store.tree(&layer.key).ok().filter(|_| store.is_complete(&layer.key))?;
            version::read_fetched(tree.open_file(version::version_file(bin)).ok()?.file)
        };
        tools.version = target.store.and_then(read);
        tools.bins.push(layer.mount.join(bin));
        tools.layers.push(layer);
    } else {
        tools.bins.extend(node.bin.clone());
    }
    for (name, fetch) in [("npm", &npm.fetch), (manager.kind.program(), &manager.fetch)] {
        if let Some(fetch) = fetch {
            let layer = node_modules::tool_layer(source, target, name, fetch, &machines, &|_| None);
            tools.bins.push(layer.mount.join(MODULES).join(".bin"));
            tools.layers.push(layer);
        }
    }
    Ok(tools)
}

/// Returns the steps that run in the tree after the packages are installed.
fn tree_steps(
    package: &PackageJson,
    manager: &NodeManager,
    own: &[&'static str],
    prune: bool,
) -> Vec<BuildStep> {
    let program = manager.kind.program();
    let mut steps: Vec<BuildStep> =
        own.iter().map(|name| BuildStep::new(name, &["npm", "run", name], false)).collect();
    let build = package.build_script();
    for name in ["heroku-prebuild"].into_iter().filter(|name| package.script(name).is_some()) {
        steps.insert(0, BuildStep::new(name, &[program, "run", name], false));
    }
    steps.extend(build.map(|name| BuildStep::new("build", &[program, "run", name], false)));
    if prune {
        steps.push(BuildStep::new(PRUNE, &manager.prune_command(), true));
    }
    steps
}

/// Returns the environment of the app's processes.
fn env(bins: &[PathBuf], target: &BuildTarget) -> BTreeMap<String, String> {
    let mut path: Vec<String> = bins.iter().map(|bin| bin.to_string_lossy().into_owned()).collect();
    let own = if target.jailed { "/app/node_modules/.bin" } else { "node_modules/.bin" };
    path.extend([own.to_owned(), PATH.to_owned()]);
    BTreeMap::from([
        ("PATH".to_owned(), path.join(":")),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("NODE_ENV".to_owned(), "production".to_owned()),
    ])
}

/// The first Node that reads `NODE_EXTRA_CA_CERTS`.
const EXTRA_CERTIFICATES: RuntimeVersion = RuntimeVersion([7, 3, 0]);

/// Returns the environment of build steps. The npm of an old Node is told of the machine's certificates.
fn build_env(headers: Option<&Path>, is_old: bool) -> BTreeMap<String, String> {
    let certificates = find_certificates().filter(|_| is_old);
    let certificates = certificates.map(|path| ("npm_config_cafile".to_owned(), path.to_owned()));
    let headers =
        headers.map(|prefix| ("npm_config_nodedir".to_owned(), prefix.to_string_lossy().into_owned()));
    [
        ("CI", "true"),
        ("NO_COLOR", "1"),
        ("NO_UPDATE_NOTIFIER", "1"),
        ("npm_config_update_notifier", "false"),
        ("npm_config_yes", "true"),
        ("YARN_NODE_LINKER", "node-modules"),
        ("YARN_ENABLE_TELEMETRY", "0"),
        ("YARN_ENABLE_GLOBAL_CACHE", "false"),
        ("YARN_ENABLE_PROGRESS_BARS", "false"),
        ("NEXT_TELEMETRY_DISABLED", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into_iter()
    .chain(headers)
    .chain(certificates)
    .collect()
}
