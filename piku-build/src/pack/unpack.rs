//! Unpacks a stream into layers and a release, as if they had been built here. Layers and release get their
//! names only after the hash has been checked; a failed or killed unpack leaves nothing behind.

#![expect(
    clippy::disallowed_methods,
    reason = "the finished release's folder is renamed to its place, which the caller names"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use piku_files::TreeHandle;
use piku_files::atomic_file;
use piku_layout::settings::{HostSettings, SandboxMode};
use piku_release::removals;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::fits::FitQuestion;
use super::head::PackHead;
use super::jvm;
use super::read::{self, PackItem, PartTaker};
use super::tree_planter::TreePlanter;
use super::{LAYERS, LONGEST_TEXT};
use crate::app::app_source::AppSource;
use crate::app::command_check::StartTarget;
use crate::app::{command_check, profile};
use crate::build::host_paths;
use crate::build::work_folder::WorkFolder;
use crate::errors::pack as errors;
use crate::native::native_search::NativeSearch;
use crate::runtime;
use crate::step::interrupt;
use crate::store::layer::{LayerStore, TakenLayer, UnfinishedLayer};
use crate::tree::hard_link;
use crate::tree::root_view::{MountedFolder, RootView};
use piku_files::free_space::SpaceNeeded;
use piku_layout::jail::PATH;
use piku_release::architecture::ReleaseArchitecture;
use piku_release::manifest::{self, BuiltRelease, TREE};
use piku_release::received::{LocalFacts, ReceivedManifest};
use piku_release::target;

/// Request to unpack a release.
pub(crate) struct UnpackRequest {
    /// This host, and the app that the release must belong to.
    pub(crate) asked: FitQuestion,
    /// Directory of the release, which must not exist yet.
    pub(crate) output: Option<PathBuf>,
    /// The number that the release gets here.
    pub(crate) number: Option<u64>,
    /// Name of the key that sent it.
    pub(crate) via: Option<String>,
    /// The previous release; equal files are shared with it.
    pub(crate) before: Option<PathBuf>,
}

/// Unpacks the stream from stdin.
pub(crate) fn run(unpack: &UnpackRequest) -> anyhow::Result<()> {
    interrupt::watch_signals()?;
    let output =
        unpack.output.as_deref().map(std::path::absolute).transpose().context("cannot find the output")?;
    if let Some(output) = &output {
        host_paths::refuse_existing(output)?;
    }
    let store = unpack.asked.place.layers.as_deref().map(host_paths::create_folder).transpose()?;
    let store = store.as_deref().map(LayerStore::new).transpose()?;
    let settings = unpack.asked.place.read_settings()?;
    interrupt::limit_time(Duration::from_secs(settings.build_timeout))?;
    let mut taking = StreamIntake {
        unpack,
        output,
        store,
        settings,
        layers: BTreeMap::new(),
        place: None,
        yaml: Vec::new(),
    };
    let head = read::read_stream(io::stdin().lock(), &mut taking)?;
    interrupt::check()?;
    taking.finish(&head)
}

/// State of an unpack.
struct StreamIntake<'a> {
    unpack: &'a UnpackRequest,
    output: Option<PathBuf>,
    store: Option<LayerStore>,
    settings: HostSettings,
    /// Layers by key; `None` for those that exist already.
    layers: BTreeMap<String, Option<(UnfinishedLayer, TreePlanter)>>,
    /// Work folder and tree of the release.
    place: Option<(WorkFolder, TreePlanter)>,
    yaml: Vec<u8>,
}

/// The release's folder in the work folder.
const RELEASE: &str = "release";

impl PartTaker for StreamIntake<'_> {
    fn begin(&mut self, head: &PackHead) -> anyhow::Result<()> {
        self.unpack.asked.check(head)?;
        let need = SpaceNeeded { bytes: head.bytes, files: head.files };
        for layer in &head.layers {
            let Some(store) = &self.store else {
                let failure = UserError::new(format!(
                    "the release has the layer '{}', which needs a store",
                    layer.name
                ));
                return Err(failure.hint("name the folder of layers with --layers").into());
            };
            if !layer.packed {
                ensure!(
                    store.is_complete(&layer.key),
                    "the release needs the layer '{}' ({}), which is neither in the stream nor in '{}'",
                    layer.name,
                    layer.key,
                    store.path().display()
                );
                continue;
            }
            removals::check_space_keeping(
                store.path(),
                need,
                self.settings.reserve_bytes(),
                "what comes in",
            )?;
            let taken = match store.find_or_lock(&layer.key)? {
                TakenLayer::There => None,
                TakenLayer::Build(unfinished) => {
                    let plant = TreePlanter::new(unfinished.tree()?);
                    Some((unfinished, plant))
                }
            };
            self.layers.insert(layer.key.clone(), taken);
        }
        if head.release.is_some() {
            let Some(output) = &self.output else {
                let failure = UserError::new("it has a release in it");
                return Err(failure.hint("say with --output where the release is to be").into());
            };
            let parent = output.parent().unwrap_or(Path::new("/"));
            let work = WorkFolder::new(parent)?;
            removals::check_space_keeping(parent, need, self.settings.reserve_bytes(), "what comes in")?;
            work.tree().create_dir(RELEASE)?;
            let release = work.tree().subtree(RELEASE)?;
            release.create_dir(TREE)?;
            let plant = TreePlanter::new(release.subtree(TREE)?);
            self.place = Some((work, plant));
        }
        Ok(())
    }

    fn take(&mut self, item: &PackItem<'_>, content: &mut dyn Read) -> anyhow::Result<()> {
        if let Ok(below) = item.path.strip_prefix(LAYERS) {
            let mut names = below.components();
            let key = names.next().map(|key| key.as_os_str().to_string_lossy()).unwrap_or_default();
            return match self.layers.get_mut(&*key) {
                Some(Some((_, plant))) => plant.write_entry(names.as_path(), item, content),
                Some(None) => Ok(()),
                None => bail!("the head of the stream does not list it"),
            };
        }
        let Some((_, plant)) = &mut self.place else { bail!("the head of the stream does not list it") };
        if let Ok(below) = item.path.strip_prefix(TREE) {
            return plant.write_entry(below, item, content);
        }
        ensure!(item.path == Path::new(manifest::FILE) && self.yaml.is_empty(), "no release has such a file");
        content.take(LONGEST_TEXT).read_to_end(&mut self.yaml)?;
        Ok(())
    }
}

impl StreamIntake<'_> {
    /// Moves layers and release to their places after the hash has been checked.
    fn finish(mut self, head: &PackHead) -> anyhow::Result<()> {
        let machine = &self.unpack.asked.machine;
        // If the release is refused, its layers are removed.
        let manifest = self.place.is_some().then(|| ReceivedManifest::parse(&self.yaml)).transpose()?;
        if let Some(manifest) = &manifest {
            self.check_against_head(manifest, head)?;
        }
        for layer in &head.layers {
            if let Some(Some((unfinished, plant))) = self.layers.remove(&layer.key) {
                plant.finish()?;
                unfinished.finish_for(machine, &format!("{} unpacked", layer.name))?;
            }
        }
        let (Some((work, plant)), Some(output), Some(manifest)) = (self.place.take(), &self.output, manifest)
        else {
            return Ok(());
        };
        plant.finish()?;
        let tree = work.tree().subtree(Path::new(RELEASE).join(TREE))?;
        let natives = self.find_native_files(&manifest, &tree)?;
        if let (None, Some(file)) = (natives.binding_file(), natives.foreign_file()) {
            let (path, its) = (file.path.display(), &file.architecture);
            progress::warning(&format!(
                "'{path}' is for {its}, and this machine is {}",
                machine.name_beside(its)
            ));
        }
        let claims_any = manifest.architecture() == ReleaseArchitecture::ANY;
        let before = self.unpack.before.as_deref().filter(|_| manifest.is_jailed());
        if let Some(old) = before.and_then(hard_link::open_previous) {
            hard_link::share_files(&old, &tree)?;
        }
        let sandbox = self.unpack.asked.place.sandbox.unwrap_or(self.settings.sandbox);
        let mut release = manifest.into_release(&LocalFacts {
            number: self.unpack.number.unwrap_or(1),
            via: self.unpack.via.as_deref(),
            architecture: &natives.architecture(),
            native: natives.shown(),
            has_profile: profile::is_in(&tree),
            homes: &runtime::list_homes(&self.settings.build_env),
            may_be_unjailed: sandbox == SandboxMode::Off,
            now: Timestamp::now(),
        })?;
        jvm::localize_env(&mut release.env);
        let aside = work.join(RELEASE);
        // The builder of a release with programs has chosen the machines for it.
        let on = StartTarget { machine, judges_levels: claims_any };
        for warning in command_check::check(&release.processes, &self.view(&release, tree)?, on)? {
            progress::warning(&warning);
        }
        release.write(&aside)?;
        work.tree().subtree(RELEASE)?.write_out(None)?;
        interrupt::check()?;
        host_paths::refuse_existing(output)?;
        fs::rename(&aside, output).with_context(|| format!("cannot make '{}'", output.display()))?;
        atomic_file::order_parent(output).with_context(|| format!("cannot sync '{}'", output.display()))
    }

    /// Finds the architecture that the release needs from its files alone.
    fn find_native_files(
        &self,
        release: &ReceivedManifest,
        tree: &TreeHandle,
    ) -> anyhow::Result<NativeSearch<'_>> {
        let mut search = NativeSearch::new(&self.unpack.asked.machine);
        search.add_tree(tree, Path::new(TREE))?;
        for layer in release.layers() {
            let store = self.store.as_ref().context("no layers")?;
            store.add_native_files(&layer.key, &layer.name, &mut search)?;
        }
        Ok(search)
    }

    /// Checks that the manifest agrees with the head, which has been checked against this machine.
    fn check_against_head(&self, release: &ReceivedManifest, head: &PackHead) -> anyhow::Result<()> {
        let facts = head.release.as_ref().context("bad head")?;
        let same = *release.app() == facts.app
            && release.is_jailed() == facts.jailed
            && release.commit() == facts.commit
            && release.architecture() == head.architecture;
        ensure!(same, "its release.yaml and its head do not agree");
        for layer in release.layers() {
            ensure!(
                head.layers.iter().any(|known| known.key == layer.key),
                "its head does not name the layer '{}'",
                layer.name
            );
            let here = self.store.as_ref().map(|store| store.content(&layer.key));
            if !release.is_jailed() && here.as_ref() != Some(&layer.mount) {
                return Err(errors::bound_to_its_place(&layer.name, &layer.mount).into());
            }
        }
        Ok(())
    }

    /// Returns the release as its processes will see it here.
    fn view(&self, release: &BuiltRelease, tree: TreeHandle) -> anyhow::Result<RootView> {
        let source = AppSource::open_tree(tree, self.unpack.asked.place.config.as_deref())?;
        let path =
            source.variable("PATH").map(|(path, _)| path).or(release.env.get("PATH").map(String::as_str));
        let content = |layer: &manifest::ReleaseLayer| {
            let store = self.store.as_ref().context("no layers")?;
            Ok((layer.mount.clone(), MountedFolder::Layer(store.content(&layer.key))))
        };
        let homes = release.host.iter().map(|home| Ok((home.clone(), MountedFolder::Host(home.clone()))));
        let mounts = release.layers.iter().map(content).chain(homes).collect::<anyhow::Result<_>>()?;
        let cross = target::operator_target(&self.settings)?;
        let view = RootView::new(source.tree.clone(), release.jailed, mounts, path.unwrap_or(PATH));
        Ok(view.for_target(cross))
    }
}
