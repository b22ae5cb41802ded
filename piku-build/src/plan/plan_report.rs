//! Serialises a plan for the command `plan`.

use std::borrow::Cow;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;
use serde::Serialize;

use crate::plan::build_plan::{BuildPlan, LayerPlan};
use crate::plan::combined_plan::CombinedPlan;
use crate::step::build_step::BuildStep;
use crate::store::layer::LayerStore;
use crate::store::tools::ToolStores;

/// All of it. These names are a contract with scripts.
#[derive(Serialize)]
pub(crate) struct PlanReport<'a> {
    runtime: &'a str,
    version: Option<&'a str>,
    version_from: Option<&'a str>,
    because: &'a str,
    runtimes: Vec<ShownRuntime<'a>>,
    layers: Vec<ShownLayer<'a>>,
    steps: Vec<ShownStep>,
    processes: &'a IndexMap<ProcessName, String>,
    processes_from: &'a str,
    env: Vec<&'a str>,
}

#[derive(Serialize)]
struct ShownRuntime<'a> {
    runtime: &'a str,
    version: Option<&'a str>,
    version_from: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownLayer<'a> {
    name: &'a str,
    key: &'a str,
    hit: bool,
}

#[derive(Serialize)]
struct ShownStep {
    name: &'static str,
    run: String,
    /// The command on one line.
    #[serde(skip)]
    line: String,
}

impl From<&BuildStep> for ShownStep {
    fn from(step: &BuildStep) -> Self {
        let line = shell_words::join(step.run.iter().map(|word| first_line(word)));
        Self { name: step.name, run: shell_words::join(&step.run), line }
    }
}

/// Compares a plan with the store: existing layers need no steps. `env` holds all variables that steps and
/// processes get.
pub(crate) fn show<'a>(
    whole: &'a CombinedPlan,
    because: &'a str,
    store: Option<&LayerStore>,
    stores: ToolStores<'_>,
    env: Vec<&'a str>,
) -> PlanReport<'a> {
    let hit = |key: &str| store.is_some_and(|store| store.is_complete(key));
    let unmade = |tools: &'a [LayerPlan]| {
        let mut found = Vec::new();
        list_unmade(tools, stores, &mut found);
        found
    };
    let mut steps = Vec::new();
    for plan in whole.plans() {
        let missed = plan.layers.iter().filter(|layer| !hit(&layer.key)).flat_map(|layer| {
            let (tools, steps) =
                layer.fast.as_ref().map_or((&layer.tools, &layer.steps), |fast| (&fast.tools, &fast.steps));
            unmade(tools).into_iter().chain(steps)
        });
        let trees = plan.tree_layers.iter().filter(|layer| !hit(&layer.key)).flat_map(|layer| &layer.steps);
        steps.extend(missed.chain(trees).chain(unmade(&plan.tools)).chain(&plan.steps).map(ShownStep::from));
    }
    let runtime = |plan: &'a BuildPlan| ShownRuntime {
        runtime: plan.runtime,
        version: plan.version.as_deref(),
        version_from: plan.version_from.as_deref(),
    };
    let layer = |name, key: &'a String| ShownLayer { name, key, hit: hit(key) };
    let layers = whole.plans().flat_map(|plan| {
        let mounted = plan.layers.iter().map(|of| layer(of.name, &of.key));
        mounted.chain(plan.tree_layers.iter().map(|of| layer(of.name, &of.key)))
    });
    let ShownRuntime { runtime: name, version, version_from } = runtime(whole.main());
    PlanReport {
        runtime: name,
        version,
        version_from,
        because,
        runtimes: whole.plans().map(runtime).collect(),
        layers: layers.collect(),
        steps,
        processes: &whole.processes,
        processes_from: &whole.processes_from,
        env,
    }
}

/// Collects the steps of tools that are in no store, those of a tool's own tools first.
fn list_unmade<'a>(tools: &'a [LayerPlan], stores: ToolStores<'_>, found: &mut Vec<&'a BuildStep>) {
    for tool in tools.iter().filter(|tool| !stores.is_complete(tool)) {
        list_unmade(&tool.tools, stores, found);
        found.extend(tool.steps.iter().filter(|step| !found.contains(step)).collect::<Vec<_>>());
    }
}

/// Shortens a script of several lines to its first one. JSON has all of it.
fn first_line(word: &str) -> Cow<'_, str> {
    word.split_once('\n').map_or(word.into(), |(first, _)| format!("{first} …").into())
}

impl std::fmt::Display for PlanReport<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for runtime in &self.runtimes {
            write!(f, "runtime  {}", runtime.runtime)?;
            if let Some(version) = runtime.version {
                write!(f, " {version}")?;
            }
            if let Some(from) = runtime.version_from {
                write!(f, " ({from})")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "because  {}", self.because)?;
        for layer in &self.layers {
            writeln!(f, "layer    {} {} {}", layer.name, layer.key, if layer.hit { "hit" } else { "miss" })?;
        }
        for step in &self.steps {
            writeln!(f, "step     {}: {}", step.name, step.line)?;
        }
        for (name, command) in self.processes {
            writeln!(f, "process  {name}: {command} ({})", self.processes_from)?;
        }
        writeln!(f, "env      {}", self.env.join(" "))
    }
}
