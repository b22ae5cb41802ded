//! What a build will do, as values: the same plan is shown by `plan` and carried out by `build`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;

use crate::plan::programs::BuiltProgram;
use crate::step::build_step::BuildStep;
use crate::step::step_runner::StepMount;
use crate::tree::kept_tree::KeptFolders;
use piku_files::free_space::SpaceNeeded;
use piku_release::manifest::ReleaseLayer;

/// A runtime's whole answer to an app.
#[derive(Default)]
pub(crate) struct BuildPlan {
    /// The runtime's name.
    pub(crate) runtime: &'static str,
    /// Its version, where it has one.
    pub(crate) version: Option<String>,
    /// What the version comes from.
    pub(crate) version_from: Option<String>,
    /// What was asked for there, where the version is not that but the nearest to be had.
    pub(crate) version_asked: Option<String>,
    /// The dependency layers, in the order in which they are built; each sees those before it.
    pub(crate) layers: Vec<LayerPlan>,
    /// Layers that become part of the app's tree before its steps run.
    pub(crate) tree_layers: Vec<TreeLayer>,
    /// What of the host's else its steps see, at paths of their own.
    pub(crate) mounts: Vec<StepMount>,
    /// Folders of this machine beyond those that the jail shows by itself, which layers, steps and processes need where they
    /// are, read-only.
    pub(crate) host: Vec<PathBuf>,
    /// What runs in the app's own tree once the layers are there.
    pub(crate) steps: Vec<BuildStep>,
    /// What stays of the work tree in which the steps run from build to build; without it they run in the release's own.
    pub(crate) keep: Option<KeptFolders>,
    /// The programs that the steps make.
    pub(crate) programs: Vec<BuiltProgram>,
    /// The process types, in order.
    pub(crate) processes: IndexMap<ProcessName, String>,
    /// What says them where it is not the Procfile: `package.json`.
    pub(crate) processes_from: Option<String>,
    /// What the runtime wants in the environment of workers.
    pub(crate) env: BTreeMap<String, String>,
    /// Of these variables each release has a secret value, the one that the release before has, where the app says none.
    pub(crate) secrets: Vec<&'static str>,
    /// What the runtime wants in the environment of build steps beyond that.
    pub(crate) build_env: BTreeMap<String, String>,
    /// What a shell is to read before each command: a file in `.profile.d`, and its text.
    pub(crate) profile: Option<(&'static str, &'static str)>,
    /// What the app's author should know.
    pub(crate) warnings: Vec<String>,
}

/// A dependency layer of a plan.
#[derive(Default)]
pub(crate) struct LayerPlan {
    /// What is in it: `venv`.
    pub(crate) name: &'static str,
    /// The hash of what determines it.
    pub(crate) key: String,
    /// Where processes find it.
    pub(crate) mount: PathBuf,
    /// What makes it.
    pub(crate) steps: Vec<BuildStep>,
    /// The room it may take.
    pub(crate) need: SpaceNeeded,
    /// Whether its steps write into the app's folder: they then get a copy of it, so that a release is the same whether
    /// the layer was there or not.
    pub(crate) writes_app: bool,
    /// What makes it and is no part of it: layers of the store of tools, made only when this one has to be.
    pub(crate) tools: Vec<LayerPlan>,
    /// Folders of this machine that only its own steps need.
    pub(crate) host: Vec<PathBuf>,
}

/// A layer whose content becomes part of the app's own tree: packages that look for each other, and for the app, by where they
/// lie (`node_modules`). It is made from a few files of the app in a folder of its own at the app's place, so that every path is
/// what it will be.
pub(crate) struct TreeLayer {
    /// What is in it: `node_modules`.
    pub(crate) name: &'static str,
    /// The hash of what determines it.
    pub(crate) key: String,
    /// What of the app its steps see, by its path in the app.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// What makes it.
    pub(crate) steps: Vec<BuildStep>,
    /// The room it may take.
    pub(crate) need: SpaceNeeded,
    /// Folders of this name, wherever they lie, are what is taken into the tree.
    pub(crate) folder: &'static str,
    /// Where processes find it, where nobody writes to it: it is then shown there, and the tree has an empty folder in its place.
    pub(crate) mount: Option<PathBuf>,
}

impl BuildPlan {
    /// The layers that processes see, and where.
    pub(crate) fn shown(&self) -> impl Iterator<Item = ReleaseLayer> {
        let layer = |name: &str, key: &String, mount: &PathBuf| ReleaseLayer {
            name: name.to_owned(),
            key: key.clone(),
            mount: mount.clone(),
        };
        let trees =
            self.tree_layers.iter().filter_map(move |of| Some(layer(of.name, &of.key, of.mount.as_ref()?)));
        self.layers.iter().map(move |of| layer(of.name, &of.key, &of.mount)).chain(trees)
    }
}
