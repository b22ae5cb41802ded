//! What a build will do, as values: the same plan is shown by `plan` and carried out by `build`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use piku_procfile::name::ProcessName;
use serde::Serialize;

use crate::disk::Need;
use crate::layer::Store;
use crate::step::Step;

/// A runtime's whole answer to an app.
pub(crate) struct Plan {
    /// The runtime's name.
    pub(crate) runtime: &'static str,
    /// Its version, where it has one.
    pub(crate) version: Option<String>,
    /// What the version comes from.
    pub(crate) version_from: Option<String>,
    /// The dependency layers, in the order in which they are built.
    pub(crate) layers: Vec<LayerPlan>,
    /// What runs in the app's own tree once the layers are there.
    pub(crate) steps: Vec<Step>,
    /// The process types, in order.
    pub(crate) processes: IndexMap<ProcessName, String>,
    /// What the runtime wants in the environment of workers.
    pub(crate) env: BTreeMap<String, String>,
    /// What the runtime wants in the environment of build steps beyond that.
    pub(crate) build_env: BTreeMap<String, String>,
    /// What the app's author should know.
    pub(crate) warnings: Vec<String>,
}

/// A dependency layer of a plan.
pub(crate) struct LayerPlan {
    /// What is in it: `venv`.
    pub(crate) name: &'static str,
    /// The hash of what determines it.
    pub(crate) key: String,
    /// Where processes find it.
    pub(crate) mount: PathBuf,
    /// What makes it.
    pub(crate) steps: Vec<Step>,
    /// The room it may take.
    pub(crate) need: Need,
    /// Whether its steps write into the app's folder: they then get a copy of it, so that a release is the same whether
    /// the layer was there or not.
    pub(crate) writes_app: bool,
}

/// The plan as `plan` prints it. These names are a contract with scripts.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    runtime: &'a str,
    version: Option<&'a str>,
    version_from: Option<&'a str>,
    layers: Vec<ShownLayer<'a>>,
    steps: Vec<ShownStep>,
    processes: &'a IndexMap<ProcessName, String>,
    env: Vec<&'a str>,
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
}

impl Plan {
    /// The plan beside what is there already: a layer that is there needs no steps. `env` is every name that a step or a
    /// worker will know.
    pub(crate) fn show<'a>(&'a self, store: Option<&Store>, env: Vec<&'a str>) -> Shown<'a> {
        let hit = |layer: &LayerPlan| store.is_some_and(|store| store.has(&layer.key));
        let missed = self.layers.iter().filter(|layer| !hit(layer)).flat_map(|layer| &layer.steps);
        Shown {
            runtime: self.runtime,
            version: self.version.as_deref(),
            version_from: self.version_from.as_deref(),
            layers: self
                .layers
                .iter()
                .map(|layer| ShownLayer { name: layer.name, key: &layer.key, hit: hit(layer) })
                .collect(),
            steps: missed
                .chain(&self.steps)
                .map(|step| ShownStep { name: step.name, run: shell_words::join(&step.run) })
                .collect(),
            processes: &self.processes,
            env,
        }
    }
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "runtime  {}", self.runtime)?;
        if let Some(version) = self.version {
            write!(f, " {version}")?;
        }
        if let Some(from) = self.version_from {
            write!(f, " ({from})")?;
        }
        writeln!(f)?;
        for layer in &self.layers {
            writeln!(f, "layer    {} {} {}", layer.name, layer.key, if layer.hit { "hit" } else { "miss" })?;
        }
        for step in &self.steps {
            writeln!(f, "step     {}: {}", step.name, step.run)?;
        }
        for (name, command) in self.processes {
            writeln!(f, "process  {name}: {command}")?;
        }
        writeln!(f, "env      {}", self.env.join(" "))
    }
}
