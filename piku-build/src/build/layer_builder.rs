//! Builds the dependency layers of a plan and the tools that they need. A layer may have a faster recipe that
//! is tried first.

use std::path::Path;
use std::thread;

use anyhow::Context;
use piku_files::TreeHandle;
use piku_release::removals;
use piku_report::progress;

use crate::build::release_builder::{LayerOwner, ReleaseBuilder, finished, protect_layer};
use crate::compiled::compilation::PackageCompiler;
use crate::compiled::compiled_store::CompiledStore;
use crate::plan::build_plan::{LayerPlan, LayerRecipe};
use crate::step::build_step::BuildStep;
use crate::step::step_runner::{StepMount, StepRunner};
use crate::step::{environment, interrupt};
use crate::store::layer::{TakenLayer, UnfinishedLayer};

/// The folder, in that of the build, with the copy of the app that a layer's steps may write to.
const SCRATCH: &str = "scratch";
/// The folder, in that of the build, with what the steps of a shared tool see instead of the app and its
/// caches.
const TOOL_WORK: &str = "tool";

impl ReleaseBuilder<'_> {
    /// Finds a layer in the store, or builds it after the layers `before`.
    pub(super) fn build_layer(
        &self,
        owner: &LayerOwner<'_>,
        layer: &LayerPlan,
        before: &[LayerPlan],
    ) -> anyhow::Result<()> {
        let Some(unfinished) = self.lock_layer(layer.name, &layer.key, layer.need)? else { return Ok(()) };
        if let Some(note) = &layer.note {
            progress::detail(note);
        }
        let is_fast = match &layer.fast {
            Some(fast) => self.try_recipe(owner, layer, fast, before, &unfinished)?,
            None => false,
        };
        if !is_fast {
            self.build_tools(owner, &layer.tools, before)?;
            self.layer_steps(owner, layer, (&layer.tools, &layer.steps), before, &unfinished, false)?;
        }
        self.finish(unfinished, layer.name, owner.plan)?;
        protect_layer(self.store, layer.name, &layer.key)
    }

    /// Builds a layer by its faster recipe. If that fails, prints the reason, leaves the layer empty and
    /// returns false.
    ///
    /// # Errors
    /// Fails if the build is interrupted, or the layer cannot be emptied.
    fn try_recipe(
        &self,
        owner: &LayerOwner<'_>,
        layer: &LayerPlan,
        fast: &LayerRecipe,
        before: &[LayerPlan],
        unfinished: &UnfinishedLayer,
    ) -> anyhow::Result<bool> {
        let built = self.build_tools(owner, &fast.tools, before).and_then(|()| {
            self.layer_steps(owner, layer, (&fast.tools, &fast.steps), before, unfinished, true)
        });
        let Err(err) = built else { return Ok(true) };
        interrupt::check()?;
        let why = err.to_string();
        let why = why.lines().map(str::trim).take(2).collect::<Vec<_>>().join(": ");
        let LayerRecipe { program, otherwise, .. } = fast;
        progress::detail(&format!("{program} does not install them, {otherwise} does: {why}"));
        unfinished.start_again()?;
        Ok(false)
    }

    /// Runs the steps of a layer in its directory. With `afterwards`, the output of a step is shown when it
    /// has succeeded.
    fn layer_steps(
        &self,
        owner: &LayerOwner<'_>,
        layer: &LayerPlan,
        (tools, steps): (&[LayerPlan], &[BuildStep]),
        before: &[LayerPlan],
        unfinished: &UnfinishedLayer,
        afterwards: bool,
    ) -> anyhow::Result<()> {
        let LayerOwner { runtime, plan, view } = *owner;
        // What an attempt that failed has left.
        self.at.work.tree().remove_all(SCRATCH)?;
        let scratch = self.at.work.join(SCRATCH);
        let app = if layer.writes_app {
            self.at.copy(self.tree, self.at.work.tree(), SCRATCH, "a copy of the app to install from")?;
            scratch.as_path()
        } else {
            view.tree.path()
        };
        let env = environment::step_environment(&plan.env, plan, &self.at.settings.build_env, self.source);
        let mut mounts = finished(before, self.store);
        mounts.extend(self.tool_mounts(tools));
        mounts.extend(plan.host.iter().chain(&layer.host).map(|folder| StepMount::read_only(folder)));
        mounts.push(StepMount { real: unfinished.content(), inside: layer.mount.clone(), writable: true });
        let runner = self.at.step_runner(app, layer.writes_app, mounts, &env);
        let content = unfinished.tree()?;
        for (number, step) in (1..).zip(steps) {
            let quiet = step.quiet || afterwards;
            let ended = thread::scope(|scope| {
                if number > 1 && number == steps.len() {
                    // The disk writes the packages while the processor compiles them.
                    scope.spawn(|| content.begin_write_out());
                    self.compile_packages(layer, &content)?;
                }
                runner.run(&BuildStep { quiet, ..step.clone() })
            })?;
            runtime.check_step(step, &ended, plan, view)?;
            if quiet && !step.quiet {
                ended.lines.iter().for_each(|line| progress::detail(line));
            }
        }
        Ok(self.at.work.tree().remove_all(SCRATCH)?)
    }

    /// Compiles the packages in a layer, or takes over what builds of other apps have compiled.
    ///
    /// # Errors
    /// Fails if the build is interrupted.
    fn compile_packages(&self, layer: &LayerPlan, content: &TreeHandle) -> anyhow::Result<()> {
        let (Some(plan), Some(tools)) = (&layer.compilation, self.tools.shared) else { return Ok(()) };
        if !self.at.takes_made {
            return Ok(());
        }
        let settings = self.at.settings;
        let store = CompiledStore::open(tools.path(), settings.reserve_bytes());
        PackageCompiler { plan, store, memory: settings.build_memory.as_deref() }.compile_layer(content)
    }

    /// Finds or builds the tools of a layer.
    fn build_tools(
        &self,
        owner: &LayerOwner<'_>,
        tools: &[LayerPlan],
        before: &[LayerPlan],
    ) -> anyhow::Result<()> {
        tools.iter().try_for_each(|tool| self.build_tool(owner, tool, before))
    }

    /// Finds or builds the tools of a plan's steps, which work without them too.
    ///
    /// # Errors
    /// Fails if the build is interrupted.
    pub(super) fn build_optional_tools(
        &self,
        owner: &LayerOwner<'_>,
        tools: &[LayerPlan],
    ) -> anyhow::Result<()> {
        for tool in tools {
            if let Err(err) = self.build_tool(owner, tool, &owner.plan.layers) {
                interrupt::check()?;
                let why = err.to_string();
                progress::detail(&format!(
                    "goes on without {}: {}",
                    tool.name,
                    why.lines().next().unwrap_or("")
                ));
            }
        }
        Ok(())
    }

    /// Finds a tool in its store, or builds it. The steps of one that apps share see nothing of this app: not
    /// its tree, its settings, its caches or its other layers.
    fn build_tool(
        &self,
        owner: &LayerOwner<'_>,
        tool: &LayerPlan,
        before: &[LayerPlan],
    ) -> anyhow::Result<()> {
        let store = self.tools.of(tool).context("there is no store for tools")?;
        let TakenLayer::Build(unfinished) = store.find_or_lock(&tool.key)? else {
            return store.touch(&tool.key);
        };
        self.build_tools(owner, &tool.tools, before)?;
        let scope = if tool.is_shared { " for all apps" } else { "" };
        progress::step(&format!("Installing tools{scope}: layer {} {}", tool.name, &tool.key[..12]));
        removals::check_space(store.path(), tool.need, "the layer of tools")?;
        if tool.is_shared {
            self.shared_steps(owner, tool, &unfinished)?;
        } else {
            self.layer_steps(owner, tool, (&tool.tools, &tool.steps), before, &unfinished, false)?;
        }
        self.finish(unfinished, tool.name, owner.plan)?;
        protect_layer(store, tool.name, &tool.key)
    }

    /// Runs the steps of a tool that apps share.
    fn shared_steps(
        &self,
        owner: &LayerOwner<'_>,
        tool: &LayerPlan,
        unfinished: &UnfinishedLayer,
    ) -> anyhow::Result<()> {
        let LayerOwner { runtime, plan, view } = *owner;
        let work = self.at.work;
        work.tree().remove_all(TOOL_WORK)?;
        for folder in ["app", "cache", "home"] {
            work.tree().create_dir_all(Path::new(TOOL_WORK).join(folder))?;
        }
        let place = work.join(TOOL_WORK);
        let (app, cache) = (place.join("app"), place.join("cache"));
        let env = environment::tool_environment(&tool.env, &self.at.settings.build_env);
        let mut mounts: Vec<_> = self.tool_mounts(&tool.tools).collect();
        mounts.extend(tool.host.iter().map(|folder| StepMount::read_only(folder)));
        mounts.push(StepMount { real: unfinished.content(), inside: tool.mount.clone(), writable: true });
        let runner = StepRunner {
            cache: &cache,
            home: place.join("home"),
            ..self.at.step_runner(&app, false, mounts, &env)
        };
        for step in &tool.steps {
            let ended = runner.run(step)?;
            runtime.check_step(step, &ended, plan, view)?;
        }
        Ok(work.tree().remove_all(TOOL_WORK)?)
    }

    /// Returns finished tools as steps see them.
    pub(super) fn tool_mounts(&self, tools: &[LayerPlan]) -> impl Iterator<Item = StepMount> {
        // An optional one may not be there.
        tools.iter().filter(|tool| self.tools.is_complete(tool)).filter_map(|tool| {
            let real = self.tools.of(tool)?.content(&tool.key);
            Some(StepMount { real, inside: tool.mount.clone(), writable: false })
        })
    }
}
