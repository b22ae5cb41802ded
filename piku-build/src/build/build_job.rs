//! Builds a release in a directory beside OUTPUT and renames it to OUTPUT at the end. A build that fails
//! leaves nothing behind.

#![expect(
    clippy::disallowed_methods,
    reason = "the finished release's folder is renamed to its place, which the caller names"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_files::{TreeHandle, atomic_file, keeps_order};
use piku_layout::name::AppName;
use piku_procfile::procfile::ProcessKind;
use piku_report::progress;

use crate::app::app_source::AppSource;
use crate::app::profile;
use crate::build::build_context::BuildContext;
use crate::build::host_paths::{self, HostPaths};
use crate::build::placed_tree::PlacedTree;
use crate::build::release_builder::{ReleaseBuilder, capital};
use crate::build::unchanged;
use crate::build::work_folder::{LAYERS, WorkFolder, remove_caches, replace_caches};
use crate::native::native_search::NativeSearch;
use crate::plan::build_plan::BuildPlan;
use crate::plan::build_target::BuildTarget;
use crate::plan::combined_plan::{CombinedPlan, supply_secrets};
use crate::plan::target_machines::MachineList;
use piku_release::architecture::ReleaseArchitecture;
use piku_release::machine::TargetMachine;

use crate::errors;
use crate::runtime::{self, DetectedRuntime, RuntimeChoice};
use crate::step::build_step::BuildStep;
use crate::step::sandbox::SandboxPolicy;
use crate::step::{build_step, environment, interrupt, resources};
use crate::store::layer::LayerStore;
use crate::store::tools::ToolStores;
use crate::tree::hard_link;
use crate::tree::linked_source::LinkedSource;
use piku_release::layers::TOOLS;
use piku_release::machine;
use piku_release::manifest::{BuiltRelease, LINKS, ReleaseLayer, ReleaseOrigin, TREE};
use piku_release::target::{self, TargetArchitecture};

/// Facts for the manifest that a build cannot find out itself.
pub(crate) struct ReleaseFacts {
    pub(crate) app: Option<AppName>,
    pub(crate) number: u64,
    pub(crate) commit: String,
    pub(crate) subject: String,
    pub(crate) by: String,
}

/// Request to build one release.
pub(crate) struct BuildJob {
    pub(crate) place: HostPaths,
    pub(crate) dir: PathBuf,
    /// The way of the files of `dir` into the release.
    pub(crate) source: SourceUse,
    pub(crate) cache: PathBuf,
    /// The release before this one, to share files with.
    pub(crate) before: Option<PathBuf>,
    /// Directory of withdrawn releases, one of whose trees may become that of the release.
    pub(crate) recycle: Option<PathBuf>,
    /// Results of earlier builds that are reused.
    pub(crate) reuse: ReusePolicy,
    pub(crate) output: PathBuf,
    /// Requested architecture of the release.
    pub(crate) architecture: Option<&'static TargetArchitecture>,
    pub(crate) facts: ReleaseFacts,
    /// The machines that will run it.
    pub(crate) machines: Option<MachineList>,
}

/// The way of the files of an app's folder into its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceUse {
    Copy,
    /// The folder is used up.
    Move,
    /// The folder is one that `piku-receive export --update` keeps: by hard links, where no step writes.
    Link,
}

/// Results of earlier builds that a build reuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReusePolicy {
    /// Caches, and layers that are the same.
    All,
    /// Reuses nothing but layers that a lock file determines. If the result equals the previous release, no
    /// release is made.
    Caches,
    /// Builds everything again.
    Nothing,
}

/// Builds the release.
pub(crate) fn run_build(build: &BuildJob) -> anyhow::Result<()> {
    let result = build_within_limits(build);
    if interrupt::has_filled_disk() {
        // What steps have written there would keep the disk full. The error of the build is reported.
        let _ = remove_caches(&build.cache);
    }
    result
}

fn build_within_limits(build: &BuildJob) -> anyhow::Result<()> {
    interrupt::watch_signals()?;
    let begin = Instant::now();
    let mut settings = build.place.read_settings()?;
    settings.build_memory = settings.build_memory.or_else(resources::available_memory);
    interrupt::limit_time(Duration::from_secs(settings.build_timeout))?;
    resources::lower_priority(&settings)?;
    let output = std::path::absolute(&build.output)
        .with_context(|| format!("cannot find '{}'", build.output.display()))?;
    host_paths::refuse_existing(&output)?;
    let parent = output.parent().unwrap_or(Path::new("/"));

    // The check for jails runs in the background.
    let sandbox = SandboxPolicy::new(build.place.sandbox, &settings);
    sandbox.start_check();
    // Detection reads the app in place, so that an unknown app is not copied.
    let source = build.place.read_app(&build.dir)?;
    let RuntimeChoice { runtimes: chosen, detected, .. } = runtime::choose(&source)?;
    let DetectedRuntime { runtimes, because, .. } = detected;
    let names: Vec<_> = runtimes.into_iter().map(capital).collect();
    let place =
        source.below.as_deref().map_or_else(String::new, |below| format!(" in '{}'", below.display()));
    progress::step(&format!("{} app detected{place}: {because}", names.join(" and ")));
    let jailed = sandbox.use_jail(true)?;
    if !jailed {
        build_step::adopt_orphans()?;
    }
    let app = app_name(build, source.tree.path())?;

    let cache = host_paths::create_folder(&build.cache)?;
    let layers =
        host_paths::create_folder(build.place.layers.as_deref().unwrap_or(&build.cache.join(LAYERS)))?;
    let mut store = LayerStore::new(&layers)?;
    if build.reuse != ReusePolicy::All {
        store = store.new_generation(build.reuse == ReusePolicy::Nothing);
    }
    let work = WorkFolder::new(parent)?;
    interrupt::limit_disk(parent.to_owned(), settings.reserve_bytes())?;
    let fresh = work.join("cache");
    let used =
        if build.reuse == ReusePolicy::Nothing { host_paths::create_folder(&fresh)? } else { cache.clone() };
    let before = build.before.as_deref().filter(|_| jailed).and_then(hard_link::open_previous);
    let bench = BuildContext {
        settings: &settings,
        jailed,
        cache: &used,
        store: &store,
        work: &work,
        before,
        takes_made: build.reuse == ReusePolicy::All,
    };
    let placed = build.place_tree(&bench, &source, chosen.iter().any(|runtime| runtime.writes_tree()))?;
    let release = build.release(&bench, &source, app, &placed)?;

    if build.reuse == ReusePolicy::Nothing {
        replace_caches(&cache, &fresh, &work.join("old-cache"))?;
    }
    let compared = build.before.as_ref().filter(|_| build.reuse == ReusePolicy::Caches);
    let made = work.tree().subtree(RELEASE)?;
    let is_same = |before: &PathBuf| unchanged::is_unchanged(before, &release, &made.subtree(TREE)?, &store);
    if compared.map_or(Ok(false), is_same)? {
        progress::step("Nothing has changed");
        return discard_new_layers(&store, &release, compared);
    }
    if build.reuse != ReusePolicy::All {
        store.keep_generation()?;
    }
    let aside = work.join(RELEASE);
    if let Some(record) = placed.linked.as_ref().and_then(LinkedSource::record) {
        let path = aside.join(LINKS);
        record.write(&path).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    if keeps_order(&made) && placed.linked.as_ref().is_some_and(LinkedSource::is_whole) {
        // The files of the source are on the disk.
        release.write(&aside)?;
    } else {
        release.write_unsynced(&aside)?;
        let old = build.before.as_deref().filter(|_| bench.before.is_some());
        made.write_out(old.map(TreeHandle::open_following).transpose()?.as_ref())?;
    }
    interrupt::check()?;
    host_paths::refuse_existing(&output)?;
    fs::rename(&aside, &output).with_context(|| format!("cannot make '{}'", output.display()))?;
    atomic_file::order_parent(&output).with_context(|| format!("cannot sync '{}'", parent.display()))?;
    build_step::report_duration("the build", begin.elapsed());
    Ok(())
}

/// Removes new layers of a build whose result equals the previous release.
fn discard_new_layers(
    store: &LayerStore,
    release: &BuiltRelease,
    before: Option<&PathBuf>,
) -> anyhow::Result<()> {
    let old = before.map(|before| BuiltRelease::read(before)).transpose()?;
    let is_old =
        |layer: &&ReleaseLayer| old.iter().flat_map(|old| &old.layers).any(|old| old.key == layer.key);
    let mut new = release.layers.iter().filter(|layer| !is_old(layer));
    new.try_for_each(|layer| store.discard(&layer.key))
}

/// The release's folder in the work folder.
pub(super) const RELEASE: &str = "release";

impl BuildJob {
    /// Builds the release, up to the last rename.
    fn release(
        &self,
        bench: &BuildContext<'_>,
        found: &AppSource,
        app: AppName,
        placed: &PlacedTree,
    ) -> anyhow::Result<BuiltRelease> {
        let PlacedTree { tree, linked } = placed;
        let mut source = self.place.read_tree(tree)?;
        if preflight(bench, &source)? {
            source = self.place.read_tree(tree)?;
        }
        source.warnings.iter().for_each(|warning| progress::error(&warning.to_string()));
        found.notes.iter().for_each(|note| progress::warning(note));
        source
            .notes
            .iter()
            .filter(|note| !found.notes.contains(note))
            .for_each(|note| progress::warning(note));
        let RuntimeChoice { runtimes, warnings, .. } = runtime::choose(&source)?;
        for warning in &warnings {
            progress::warning(warning);
        }
        let tools = LayerStore::new(&bench.cache.join(TOOLS))?;
        let shared_tools = self.place.open_shared_tools(bench.jailed)?;
        let tool_stores = ToolStores { own: Some(&tools), shared: shared_tools.as_ref() };
        let architecture = machine::architecture()?;
        let cross = target::cross_target(self.architecture)?;
        let here = TargetMachine::detect()?;
        let machine = cross.map_or_else(|| here.clone(), TargetArchitecture::machine);
        let build_target = BuildTarget {
            jailed: bench.jailed,
            store: Some(bench.store),
            tools: tool_stores,
            architecture: &architecture,
            cross,
            operator_env: &bench.settings.build_env,
            commit: &self.facts.commit,
        };
        let mut whole = CombinedPlan::plan(&runtimes, &source, &build_target)?;
        if let Some(machines) = &self.machines {
            machines.check(&whole)?;
        }
        let making = ReleaseBuilder {
            at: bench,
            store: bench.store,
            tools: tool_stores,
            here: &here,
            machine: &machine,
            cross,
            source: &source,
            tree,
            linked: linked.as_ref(),
        };
        making.execute_plan(&mut whole)?;
        making.refuse_foreign(&whole, &architecture)?;
        supply_secrets(&mut whole, self.before.as_deref())?;
        let types: Vec<_> = whole.processes.keys().map(AsRef::as_ref).collect();
        let from = if source.procfile.is_some() {
            String::new()
        } else {
            format!(" (by default, from {})", whole.processes_from)
        };
        progress::step(&format!("Process types: {}{from}", types.join(", ")));
        if let Some(used) = source.app_json.describe(&whole.processes, |name| Some(source.variable(name)?.0))
        {
            progress::detail(&used);
        }
        let is_plain = making.is_plain_source(&whole);
        if let Some(old) = bench.before.as_ref().filter(|_| !is_plain) {
            hard_link::share_files(old, tree)?;
        }
        let natives = making.find_native_files(&whole)?;
        if let Some(file) = natives.binding_file() {
            progress::detail(&format!("Needs {} for '{}'", file.architecture, file.path.display()));
        }
        if let Some(linked) = linked.as_ref().filter(|_| !is_plain) {
            linked.add_others();
        }
        Ok(self.facts(bench, whole, app, &natives, cross, tree))
    }

    fn facts(
        &self,
        bench: &BuildContext<'_>,
        whole: CombinedPlan,
        app: AppName,
        natives: &NativeSearch<'_>,
        cross: Option<&TargetArchitecture>,
        tree: &TreeHandle,
    ) -> BuiltRelease {
        let ReleaseFacts { number, commit, subject, by, .. } = &self.facts;
        let BuildPlan { runtime, version, version_from, .. } = whole.main();
        let trees = whole.plans().flat_map(|plan| &plan.tree_layers);
        let taken_in = trees.filter(|layer| layer.mount.is_none());
        let architecture = match (natives.architecture(), cross) {
            // A program may not say for which level it was compiled.
            (ReleaseArchitecture::Native(_), Some(target)) => target.name.to_owned(),
            (found, _) => found.to_string(),
        };
        BuiltRelease {
            app,
            number: *number,
            commit: commit.clone(),
            subject: subject.clone(),
            by: by.clone(),
            origin: ReleaseOrigin::Deploy,
            tree_of: None,
            at: jiff::Timestamp::now(),
            architecture,
            native: natives.shown(),
            runtime: (*runtime).to_owned(),
            version: version.clone(),
            version_from: version_from.clone(),
            layers: whole.mounted_layers().collect(),
            host: whole.host_folders().cloned().collect(),
            profile: profile::is_in(tree),
            kept: taken_in.map(|layer| layer.key.clone()).collect(),
            processes: whole.processes,
            formation: whole.formation,
            env: whole.env,
            jailed: bench.jailed,
        }
    }
}

/// Returns the app's preflight task.
pub(super) fn preflight_command(source: &AppSource) -> Option<&str> {
    let entries = source.procfile.iter().flat_map(|procfile| &procfile.entries);
    let entry = entries.into_iter().find(|entry| entry.kind == ProcessKind::Preflight);
    entry.map(|entry| entry.command.as_str())
}

/// Runs the app's preflight task. Returns whether the app has one.
fn preflight(bench: &BuildContext<'_>, source: &AppSource) -> anyhow::Result<bool> {
    let Some(command) = preflight_command(source) else { return Ok(false) };
    progress::step(&format!("Running preflight: {command}"));
    let run = piku_procfile::command::argv(command).into();
    let step = BuildStep { name: "preflight", run, quiet: false };
    let env = environment::preflight_environment(&bench.settings.build_env, source);
    let ended = bench.step_runner(source.tree.path(), true, Vec::new(), &env).run(&step)?;
    if ended.succeeded() {
        return Ok(true);
    }
    Err(errors::step_failed(step.name, &ended, &[]).into())
}

/// Returns the given name, or else the folder's if it is a valid one.
fn app_name(build: &BuildJob, dir: &Path) -> anyhow::Result<AppName> {
    if let Some(name) = &build.facts.app {
        return Ok(name.clone());
    }
    let folder = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    folder.parse().or_else(|_| "app".parse()).context("cannot name the app")
}
