//! The plan of a build as values: `plan` prints it and `build` executes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;

use crate::compiled::compilation::SharedCompilation;
use crate::plan::programs::BuiltProgram;
use crate::step::build_step::BuildStep;
use crate::step::step_runner::StepMount;
use crate::tree::kept_tree::KeptFolders;
use piku_files::free_space::SpaceNeeded;
use piku_release::manifest::ReleaseLayer;

/// Plan of one runtime for an app.
#[derive(Default)]
pub(crate) struct BuildPlan {
    /// Name of the runtime.
    pub(crate) runtime: &'static str,
    /// Its version, where it has one.
    pub(crate) version: Option<String>,
    /// Source of the version, such as `.python-version`.
    pub(crate) version_from: Option<String>,
    /// Requested version, if the nearest installed one is used instead.
    pub(crate) version_asked: Option<String>,
    /// Interpreter of this machine that runs the release, and that other machines must have at the same path.
    pub(crate) interpreter: Option<PathBuf>,
    /// The dependency layers, in the order in which they are built; each sees those before it.
    pub(crate) layers: Vec<LayerPlan>,
    /// Layers that become part of the app's tree before its steps run.
    pub(crate) tree_layers: Vec<TreeLayer>,
    /// Layers with tools that make the steps faster, and that they can do without.
    pub(crate) tools: Vec<LayerPlan>,
    /// Further directories of the host that the steps see.
    pub(crate) mounts: Vec<StepMount>,
    /// Folders of this machine beyond those that the jail shows by itself, which layers, steps and processes
    /// need where they are, read-only.
    pub(crate) host: Vec<PathBuf>,
    /// Steps that run in the app tree after the layers are built.
    pub(crate) steps: Vec<BuildStep>,
    /// Parts of an incremental tree in which the steps run. If `None`, they run in the release's tree.
    pub(crate) keep: Option<KeptFolders>,
    /// Hash of what else the kept folders were made by; without it they are removed. Empty if the tool sees
    /// every change.
    pub(crate) keep_key: String,
    /// Programs that the steps compile.
    pub(crate) programs: Vec<BuiltProgram>,
    /// Process types with their commands, in order.
    pub(crate) processes: IndexMap<ProcessName, String>,
    /// Source of the process types if it is not the Procfile: `package.json`.
    pub(crate) processes_from: Option<String>,
    /// True if the process types are a guess, which the built tree confirms or corrects.
    pub(crate) is_guess: bool,
    /// Variables for the processes of the app.
    pub(crate) env: BTreeMap<String, String>,
    /// Variables that need a secret value. A release inherits the value of the previous release unless the
    /// app sets it.
    pub(crate) secrets: Vec<&'static str>,
    /// Additional variables for build steps.
    pub(crate) build_env: BTreeMap<String, String>,
    /// File for `.profile.d` that a shell reads before each command: its name and its text.
    pub(crate) profile: Option<(&'static str, &'static str)>,
    /// Warnings for the app's author.
    pub(crate) warnings: Vec<String>,
}

/// A dependency layer of a plan.
#[derive(Default, Clone)]
pub(crate) struct LayerPlan {
    /// Content of the layer: `venv`.
    pub(crate) name: &'static str,
    /// Hash of its inputs.
    pub(crate) key: String,
    /// Path at which processes see it.
    pub(crate) mount: PathBuf,
    /// Steps that build it.
    pub(crate) steps: Vec<BuildStep>,
    /// Estimated size.
    pub(crate) need: SpaceNeeded,
    /// True if its steps write into the app tree. They then get a copy of it, so that the release is the same
    /// whether the layer already exists or not.
    pub(crate) writes_app: bool,
    /// Layers with the tools that build it, from the store of tools. They are built only if this layer is
    /// built.
    pub(crate) tools: Vec<LayerPlan>,
    /// Folders of this machine that only its own steps need.
    pub(crate) host: Vec<PathBuf>,
    /// Line for the user about the way in which it is built.
    pub(crate) note: Option<String>,
    /// Faster way to build it. If it fails, the layer is emptied and built by `steps` and `tools`.
    pub(crate) fast: Option<LayerRecipe>,
    /// Compilation of the installed packages before the last step, with results that apps share. The step, also that of
    /// `fast`, compiles what is left.
    pub(crate) compilation: Option<SharedCompilation>,
    /// True for a tool that is the same for all apps: it is in the store that they share, and nothing of an
    /// app reaches its steps.
    pub(crate) is_shared: bool,
    /// Variables for the steps of a shared tool, which get none of the app's plan.
    pub(crate) env: BTreeMap<String, String>,
}

/// Tools and steps that build a layer.
#[derive(Default, Clone)]
pub(crate) struct LayerRecipe {
    /// Name of the program that does it, for people: `uv`.
    pub(crate) program: &'static str,
    /// Name of the program that does it if this one fails: `pip`.
    pub(crate) otherwise: &'static str,
    pub(crate) tools: Vec<LayerPlan>,
    pub(crate) steps: Vec<BuildStep>,
}

/// Layer that becomes part of the app tree, because its packages find each other and the app by their paths
/// (`node_modules`). It is built from a few files of the app in a directory that is mounted at the app's
/// path, so that every path is final.
pub(crate) struct TreeLayer {
    /// Content of the layer: `node_modules`.
    pub(crate) name: &'static str,
    /// Hash of its inputs.
    pub(crate) key: String,
    /// Files of the app that its steps see, by their paths in the app.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// Steps that build it.
    pub(crate) steps: Vec<BuildStep>,
    /// Estimated size.
    pub(crate) need: SpaceNeeded,
    /// Directories with this name, at any depth, are moved into the tree.
    pub(crate) folder: &'static str,
    /// Path at which processes see it if they only read it. The layer is mounted there, over an empty
    /// directory of the tree.
    pub(crate) mount: Option<PathBuf>,
}

impl BuildPlan {
    /// Returns the layers that processes see, and where.
    pub(crate) fn mounted_layers(&self) -> impl Iterator<Item = ReleaseLayer> {
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
