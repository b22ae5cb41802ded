//! Node: installs the locked dependencies with the package manager that wrote the lock file, runs the build
//! script, and removes development dependencies. A front end with nothing to start is served as static
//! files.

mod failures;
mod node_modules;
mod package_json;
mod package_manager;
mod version;
mod version_range;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;
use piku_procfile::procfile;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::errors::{self, node as told};
use crate::plan::build_plan::BuildPlan;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::RootView;
use node_modules::MODULES;
use package_json::{FILE, LIFECYCLE, PackageJson};
use package_manager::{ManagerKind, NodeManager};
use piku_layout::jail::PATH;

/// Programs that start an app without a start script.
const SERVERS: [&str; 4] = ["server.js", "index.js", "app.js", "main.js"];
/// Folders into which front ends are built, the commonest first.
const BUILT: [&str; 6] = ["dist", "build", "out", "_site", ".output/public", "public"];
/// Name of the step that removes development dependencies.
const PRUNE: &str = "prune";

pub(super) struct NodeRuntime;

impl Runtime for NodeRuntime {
    fn name(&self) -> &'static str {
        "node"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        let misspelt = ["packages.json", "package.jsn", "Package.json", "pakage.json"];
        if let Some(name) = misspelt.iter().find(|name| source.has_entry(name) && !source.has_entry(FILE)) {
            return Ok(DetectResult::Unsupported(told::misspelt(name)));
        }
        if !source.has_entry(FILE) {
            return Ok(DetectResult::NoMatch(format!("{FILE} is missing")));
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
        Ok(if about || find_program(source, &package).is_some() {
            DetectResult::Match(format!("there is a {FILE}"))
        } else {
            DetectResult::WeakMatch(format!("there is a {FILE}, which neither builds nor starts anything"))
        })
    }

    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let package = PackageJson::read(source)?.ok_or_else(told::no_package)?;
        let node = version::choose(source, &package, target)?;
        let manager = NodeManager::choose(source, &package)?;
        let npm = target.tool("a Node app", "npm")?.inside.to_string_lossy().into_owned();
        let own: Vec<_> = LIFECYCLE.into_iter().filter(|name| package.script(name).is_some()).collect();
        // yarn would not check the lock file otherwise.
        let dev = package.build_script().is_some() || !own.is_empty() || manager.kind == ManagerKind::Berry;
        let has_dev = !package.dependencies(&["devDependencies"]).is_empty() || package.has_workspaces();
        let (processes, processes_from) = processes(source, &package)?;
        // The modules of a front end that is only built are removed anyway.
        let runs = processes_from.as_deref() != Some(told::BY_BUILD);
        let steps = tree_steps(&package, &manager, &own, dev && has_dev && runs);
        let modules = node_modules::modules_layer(
            source,
            target,
            &package,
            &node,
            &manager,
            dev,
            target.jailed && steps.is_empty(),
        )?;

        let mut layers = Vec::new();
        let mut bins = Vec::new();
        if let Some(fetch) = &node.fetch {
            let layer = node_modules::tool_layer(target, "node", fetch, &npm);
            bins.push(layer.mount.join(node.bin.as_deref().unwrap_or(layer.mount.as_path())));
            layers.push(layer);
        } else {
            bins.extend(node.bin.clone());
        }
        if let Some(fetch) = &manager.fetch {
            let layer = node_modules::tool_layer(target, manager.kind.program(), fetch, &npm);
            bins.push(layer.mount.join(MODULES).join(".bin"));
            layers.push(layer);
        }
        let mut warnings = node.warnings;
        warnings.extend(manager.warnings.iter().cloned());
        if source.has_entry("node_modules/") {
            warnings.push(told::committed_modules());
        }
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(node.version),
            version_from: Some(node.from),
            layers,
            tree_layers: node_modules::has_dependencies(&package).then_some(modules).into_iter().collect(),
            steps,
            processes,
            processes_from,
            env: env(&bins, target),
            build_env: build_env(node.headers.as_deref()),
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

    /// Finds the pages that the build of a front end made.
    fn complete_plan(&self, plan: &mut BuildPlan, view: &RootView) -> anyhow::Result<()> {
        let is_guess = plan.processes_from.as_deref() == Some(told::BY_BUILD);
        if !is_guess {
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
        let folder = folder.ok_or_else(|| told::built_nothing(&BUILT))?;
        plan.processes = IndexMap::from([("static".parse()?, folder)]);
        // Nothing runs that needs them.
        Ok(view.tree.remove_all(MODULES)?)
    }
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

/// Returns the process types, and their source if that is not the Procfile.
fn processes(
    source: &AppSource,
    package: &PackageJson,
) -> anyhow::Result<(IndexMap<ProcessName, String>, Option<String>)> {
    if let Some(processes) = super::procfile_processes(source) {
        return Ok((processes, None));
    }
    let web = |command: String, from: String| Ok((IndexMap::from([("web".parse()?, command)]), Some(from)));
    if let Some(start) = package.start_script() {
        // npm would stay in memory as one more process. It is needed only if it does more than start the
        // program.
        let more = ["prestart", "poststart"].iter().any(|name| package.script(name).is_some());
        let direct =
            !more && !start.contains("npm_") && crate::app::command_check::split_simple(start).is_some();
        let command = if direct { start.to_owned() } else { "npm start".to_owned() };
        return web(command, format!("the start script in {FILE}"));
    }
    if let Some(name) = find_program(source, package) {
        return web(format!("node {name}"), format!("'{name}', as there is no start script in {FILE}"));
    }
    if package.build_script().is_some() {
        let create_react =
            package.dependencies(&["dependencies", "devDependencies"]).contains_key("react-scripts");
        let folder = if create_react { "build" } else { "dist" };
        return Ok((
            IndexMap::from([("static".parse()?, folder.to_owned())]),
            Some(told::BY_BUILD.to_owned()),
        ));
    }
    Err(told::no_process_types().into())
}

/// Returns the program of an app without a start script.
fn find_program<'a>(source: &AppSource, package: &'a PackageJson) -> Option<&'a str> {
    if source.has_entry("server.js") {
        return Some("server.js");
    }
    // An app with a build script needs a start script that names what the build made.
    if package.build_script().is_some() {
        return None;
    }
    let main = package.text("main").map(|main| main.trim_start_matches("./"));
    let named =
        main.filter(|main| source.find(main).is_ok_and(|found| found.is_some_and(|stat| stat.is_file())));
    named.or_else(|| SERVERS.into_iter().find(|name| source.has_entry(name)))
}

/// Returns the environment of the app's processes.
fn env(bins: &[std::path::PathBuf], target: &BuildTarget) -> BTreeMap<String, String> {
    let mut path: Vec<String> = bins.iter().map(|bin| bin.to_string_lossy().into_owned()).collect();
    let own = if target.jailed { "/app/node_modules/.bin" } else { "node_modules/.bin" };
    path.extend([own.to_owned(), PATH.to_owned()]);
    BTreeMap::from([
        ("PATH".to_owned(), path.join(":")),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("NODE_ENV".to_owned(), "production".to_owned()),
    ])
}

/// Returns the environment of build steps.
fn build_env(headers: Option<&std::path::Path>) -> BTreeMap<String, String> {
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
    .collect()
}
