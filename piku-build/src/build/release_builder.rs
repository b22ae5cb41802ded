//! Executes a build plan in the release's tree: the layers of each runtime, then its steps, runtime by
//! runtime; finally checks the result.

use std::path::Path;

use anyhow::Context;
use piku_files::{TreeHandle, free_space};
use piku_release::removals;
use piku_report::user_error::UserError;

use crate::app::app_source::AppSource;
use crate::app::command_check::StartTarget;
use crate::app::{command_check, profile};
use crate::build::build_context::BuildContext;
use crate::errors;
use crate::native::foreign::ForeignSearch;
use crate::native::native_search::NativeSearch;
use crate::plan::build_plan::{BuildPlan, LayerPlan, TreeLayer};
use crate::plan::combined_plan::{CombinedPlan, RuntimePart};
use crate::runtime::{Runtime, binary};
use crate::step::environment;
use crate::step::step_runner::StepMount;
use crate::store::layer::{LayerStore, TakenLayer, UnfinishedLayer};
use crate::store::tools::ToolStores;
use crate::tree::copy::CopyExclusions;
use crate::tree::kept_tree::KeptTree;
use crate::tree::linked_source::LinkedSource;
use crate::tree::root_view::{MountedFolder, RootView};
use crate::tree::{copy, tree_layer};
use piku_layout::jail::PATH;
use piku_release::elf;
use piku_release::machine::TargetMachine;
use piku_release::manifest::{ReleaseLayer, TREE};
use piku_release::target::TargetArchitecture;
use piku_report::progress;

/// Executes a build plan in the tree of a new release.
pub(crate) struct ReleaseBuilder<'a> {
    /// Directories and settings of the build.
    pub(crate) at: &'a BuildContext<'a>,
    pub(crate) store: &'a LayerStore,
    /// Stores of the layers with tools that build other layers.
    pub(crate) tools: ToolStores<'a>,
    /// The machine that builds.
    pub(crate) here: &'a TargetMachine,
    /// The machine that runs the release.
    pub(crate) machine: &'a TargetMachine,
    /// The app that the plan was made from.
    pub(crate) source: &'a AppSource,
    /// Tree of the new release.
    pub(crate) tree: &'a TreeHandle,
    /// Source of the tree, if its files are links to those of the app's source.
    pub(crate) linked: Option<&'a LinkedSource>,
    /// Architecture of the release if it is not that of this machine.
    pub(crate) cross: Option<&'static TargetArchitecture>,
}

/// The part of the plan that layers are built for.
pub(super) struct LayerOwner<'a> {
    pub(super) runtime: &'a dyn Runtime,
    pub(super) plan: &'a BuildPlan,
    pub(super) view: &'a RootView,
}

impl ReleaseBuilder<'_> {
    /// Executes the plan and checks its result.
    pub(crate) fn execute_plan(&self, combined: &mut CombinedPlan) -> anyhow::Result<()> {
        for plan in combined.plans() {
            if let (Some(version), Some(from)) = (&plan.version, &plan.version_from) {
                progress::step(&format!("{} {version} ({from})", capital(plan.runtime)));
            }
            plan.warnings.iter().for_each(|warning| progress::warning(warning));
        }
        for at in 0..combined.parts.len() {
            let RuntimePart { runtime, plan } = &combined.parts[at];
            let mut view = self.view(combined);
            let owner = LayerOwner { runtime: *runtime, plan, view: &view };
            for (place, layer) in plan.layers.iter().enumerate() {
                self.build_layer(&owner, layer, &plan.layers[..place])?;
            }
            self.build_optional_tools(&owner, &plan.tools)?;
            for layer in &plan.tree_layers {
                self.tree_layer(*runtime, plan, layer, &view)?;
            }
            if let Some(before) = self.at.reusable_tree() {
                runtime.reuse_previous(plan, before, self.tree)?;
            }
            // Locked until its artifacts are taken out.
            let kept = self.kept(&combined.parts[at].plan)?;
            if let Some(kept) = &kept {
                view.work = kept.tree().clone();
            }
            self.steps(combined, at, &view, kept.as_ref())?;
            let RuntimePart { runtime, plan } = &mut combined.parts[at];
            runtime.complete_plan(plan, &view)?;
            combined.join(self.source);
        }
        combined.remove_build_layers(self.source);
        // Files that the owner cannot read could neither be compared with the next release nor sent to
        // another machine.
        if !self.is_plain_source(combined) {
            copy::normalize_modes(self.tree)?;
        }
        if self.at.jailed {
            for layer in combined.plans().flat_map(|plan| &plan.tree_layers) {
                tree_layer::link_files(&self.store.tree(&layer.key)?, self.tree, layer)?;
            }
        }
        let view = self.view(combined);
        // With files in `.profile.d`, only the shell knows where programs are.
        if !profile::is_in(self.tree) {
            // Other apps were compiled on this machine.
            let judges_levels = combined.plans().all(|plan| plan.runtime == binary::NAME);
            let on = StartTarget { machine: self.machine, judges_levels };
            let programs: Vec<_> = combined.plans().flat_map(|plan| plan.programs.clone()).collect();
            let checked = command_check::check(&combined.processes, &view, on);
            for warning in checked.map_err(|failure| errors::with_built_programs(failure, &programs))? {
                progress::warning(&warning);
            }
        }
        combined
            .parts
            .iter()
            .try_for_each(|RuntimePart { runtime, plan }| runtime.check_processes(plan, &view))?;
        combined
            .plans()
            .filter_map(|plan| plan.profile)
            .try_for_each(|(name, text)| profile::write_file(self.tree, name, text))
    }

    /// Returns whether the tree has nothing but links to the app's source: no step has run in it.
    pub(crate) fn is_plain_source(&self, combined: &CombinedPlan) -> bool {
        let is_plain = |plan: &BuildPlan| {
            plan.steps.is_empty()
                && plan.keep.is_none()
                && plan.profile.is_none()
                && plan.tree_layers.iter().all(|layer| layer.mount.is_some())
        };
        self.linked.is_some_and(LinkedSource::is_whole) && combined.plans().all(is_plain)
    }

    /// Locks a layer that must be built; `None` if it is complete.
    pub(super) fn lock_layer(
        &self,
        name: &str,
        key: &str,
        need: free_space::SpaceNeeded,
    ) -> anyhow::Result<Option<UnfinishedLayer>> {
        let short = &key[..12];
        let TakenLayer::Build(unfinished) = self.store.find_or_lock(key)? else {
            progress::step(&format!("Dependencies are unchanged: layer {name} {short}"));
            return Ok(None);
        };
        progress::step(&format!("Installing dependencies: layer {name} {short}"));
        removals::check_space(self.store.path(), need, "the layer of dependencies")?;
        Ok(Some(unfinished))
    }

    /// Finds or builds a layer that goes into the app tree, and adds it to the tree.
    fn tree_layer(
        &self,
        runtime: &dyn Runtime,
        plan: &BuildPlan,
        layer: &TreeLayer,
        view: &RootView,
    ) -> anyhow::Result<()> {
        if let Some(unfinished) = self.lock_layer(layer.name, &layer.key, layer.need)? {
            let content = unfinished.content();
            tree_layer::write_inputs(&unfinished.tree()?, &layer.files)?;
            let env =
                environment::step_environment(&plan.env, plan, &self.at.settings.build_env, self.source);
            let runner = self.at.step_runner(&content, true, finished(&plan.layers, self.store), &env);
            for step in &layer.steps {
                let ended = runner.run(step)?;
                runtime.check_step(step, &ended, plan, view)?;
            }
            unfinished.check_steps(layer)?;
            self.finish(unfinished, layer.name, plan)?;
        }
        protect_layer(self.store, layer.name, &layer.key)?;
        tree_layer::add_to_tree(&self.store.tree(&layer.key)?, self.tree, layer)
    }

    /// Runs the steps of one plan in the app tree, which contains the results of the plans before it.
    fn steps(
        &self,
        combined: &CombinedPlan,
        at: usize,
        view: &RootView,
        kept: Option<&KeptTree>,
    ) -> anyhow::Result<()> {
        let RuntimePart { runtime, plan } = &combined.parts[at];
        if let Some(linked) = self.linked.filter(|_| kept.is_none() && !plan.steps.is_empty()) {
            linked.separate(self.tree)?;
        }
        let build_env = &self.at.settings.build_env;
        let env = environment::step_environment(&combined.env_until(at), plan, build_env, self.source);
        let content = |layer: ReleaseLayer| StepMount {
            real: self.store.content(&layer.key),
            inside: layer.mount,
            writable: false,
        };
        let layers = combined.parts[..=at].iter().flat_map(|part| part.plan.mounted_layers()).map(content);
        let host = combined.host_folders().map(|folder| StepMount::read_only(folder));
        let tools = self.tool_mounts(&plan.tools);
        let mounts = layers.chain(plan.mounts.iter().cloned()).chain(tools).chain(host).collect();
        let runner = self.at.step_runner(view.work.path(), true, mounts, &env);
        for step in &plan.steps {
            let ended = runner.run(step)?;
            let judged = runtime.check_step(step, &ended, plan, view);
            if let (Err(_), Some(kept)) = (&judged, kept) {
                // A compiler that reports an error leaves complete files; a killed one may not.
                if ended.code < 128 {
                    kept.finish()?;
                }
            }
            judged?;
        }
        kept.map_or(Ok(()), KeptTree::finish)
    }

    /// Opens the work tree in which a plan's steps run, unless they run in the release's.
    fn kept(&self, plan: &BuildPlan) -> anyhow::Result<Option<KeptTree>> {
        let Some(keep) = plan.keep else { return Ok(None) };
        let cache = self.at.cache;
        removals::check_space(
            cache,
            copy::measure_tree(self.tree, &CopyExclusions::new([]))?,
            "the work tree",
        )?;
        let version = plan.version.as_deref().unwrap_or_default();
        let key = &plan.keep_key;
        let made_by = format!("{} {version} {}{key}", plan.runtime, self.at.jailed);
        KeptTree::open_tree(cache, plan.runtime, &made_by, keep, self.tree).map(Some)
    }

    /// Marks a layer as complete if it is not empty: exit code 0 alone proves nothing.
    pub(super) fn finish(
        &self,
        unfinished: UnfinishedLayer,
        name: &str,
        plan: &BuildPlan,
    ) -> anyhow::Result<()> {
        if unfinished.tree()?.is_empty()? {
            return Err(UserError::new(format!("the layer '{name}' is empty after its steps")).into());
        }
        let version = plan.version.as_deref().unwrap_or_default();
        unfinished.finish_for(self.here, &format!("{name} {} {version}", plan.runtime))
    }

    /// Searches the finished release for native files.
    pub(crate) fn find_native_files(&self, combined: &CombinedPlan) -> anyhow::Result<NativeSearch<'_>> {
        let mut search = NativeSearch::new(self.machine);
        let linked = self.linked.filter(|_| self.is_plain_source(combined));
        if !linked
            .map_or(Ok(false), |linked| search.add_files(self.tree, linked.natives(), Path::new(TREE)))?
        {
            search = NativeSearch::new(self.machine);
            search.add_tree(self.tree, Path::new(TREE))?;
        }
        combined.mounted_layers().try_for_each(|layer| match self.cross {
            // The marker of a layer names its native file.
            Some(_) => search.add_tree(&self.store.tree(&layer.key)?, Path::new(&layer.name)),
            None => self.store.add_native_files(&layer.key, &layer.name, &mut search),
        })?;
        Ok(search)
    }

    /// Refuses native code for this machine in a release for another architecture.
    pub(crate) fn refuse_foreign(&self, combined: &CombinedPlan, here: &str) -> anyhow::Result<()> {
        let (Some(target), Some(here)) = (self.cross, elf::machine_number(here)) else { return Ok(()) };
        let mut search = ForeignSearch::new(here, target);
        search.add_tree(self.tree, None)?;
        for layer in combined.mounted_layers() {
            search.add_tree(&self.store.tree(&layer.key)?, Some(&layer.name))?;
        }
        let packages = search.packages();
        if !packages.is_empty() {
            return Err(errors::foreign_packages(&packages, target.name).into());
        }
        for file in search.files() {
            progress::warning(&format!(
                "'{}' does not run on {}: it is a program of this machine's",
                file.display(),
                target.name
            ));
        }
        Ok(())
    }

    /// Returns the finished release as its processes will see it.
    fn view(&self, combined: &CombinedPlan) -> RootView {
        let own = self.source.variable("PATH").map(|(path, _)| path);
        let path = own.or(combined.env.get("PATH").map(String::as_str));
        let layer = |layer: ReleaseLayer| (layer.mount, MountedFolder::Layer(self.store.content(&layer.key)));
        let host =
            combined.host_folders().map(|folder| (folder.clone(), MountedFolder::Host(folder.clone())));
        let mounts = combined.mounted_layers().map(layer).chain(host).collect();
        RootView::new(self.tree.clone(), self.at.jailed, mounts, path.unwrap_or(PATH)).for_target(self.cross)
    }
}

/// Layers of this store as later steps see them.
pub(super) fn finished(layers: &[LayerPlan], store: &LayerStore) -> Vec<StepMount> {
    let mount = |layer: &LayerPlan| StepMount {
        real: store.content(&layer.key),
        inside: layer.mount.clone(),
        writable: false,
    };
    layers.iter().map(mount).collect()
}

/// Protects a layer from garbage collection until the release is in its place.
pub(super) fn protect_layer(store: &LayerStore, name: &str, key: &str) -> anyhow::Result<()> {
    store.hold(key).map(drop).with_context(|| format!("cannot lock the layer '{name}'"))
}

/// Returns a runtime's name for the beginning of a line.
pub(crate) fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
