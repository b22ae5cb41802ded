//! A release as a container image: one tar archive that is an OCI layout and an archive of `docker save` at
//! the same time. Engines, registries' tools and clusters take either.
//!
//! - `oci-layout`, `index.json`, and `manifest.json` for readers of Docker's form;
//! - `blobs/sha256/…`: the layers, the config and the manifest.
//!
//! The layers are those of the base, one for each dependency layer of the release, one for everything that
//! changes with a release, and a small one for the bill of materials. They are not compressed: tools compress what
//! they push, a digest then does not depend on the version of a compressor, and equal layers of two images stay equal.
//!
//! Each layer is read twice: for its digest, which is its name, and when it is written. No copy of it is made.

mod base;
mod blob;
mod components;
mod environment;
mod image_config;
mod layer_content;
mod layout_writer;
mod platform;
mod start_script;

pub(crate) use image_config::parse_name;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::TreeHandle;
use piku_files::free_space::{self, SpaceNeeded};
use piku_layout::jail::{APP, DATA, HOME};
use piku_layout::settings::HostSettings;
use piku_procfile::command;
use piku_procfile::procfile::{ProcessKind, ProcfileEntry};
use piku_report::progress;
use piku_report::user_error::UserError;
use rustix::fs::{FileType, fstat, readlink};

use self::base::{BaseLimits, BaseRequest};
use self::blob::{BlobSource, ImageBlob};
use self::image_config::{ImageDescription, ImageLayer};
use self::layer_content::{LayerContent, LayerFile, LayerTree, TreeKind};
use self::layout_writer::LayoutWriter;
use self::platform::ImagePlatform;
use super::write::{self, PackScope, PackSource, PackTree};
use super::{LAYERS, head::PackHead};
use crate::app::command_check;
use crate::errors::image as errors;
use crate::step::interrupt;
use piku_release::manifest::{BuiltRelease, TREE};
use piku_release::target::TargetArchitecture;

/// User and group of the app's processes, and owner of what they may change.
const USER: u64 = 1000;

/// The output, as a path.
const OUTPUT: &str = "/proc/self/fd/1";

/// Request for an image.
pub(crate) struct ImageRequest {
    /// Directories of the releases, one for each architecture.
    pub(crate) releases: Vec<PathBuf>,
    /// Directory of their layers.
    pub(crate) layers: Option<PathBuf>,
    /// Architectures of the image, `None` for this machine's; those of the releases if there are none.
    pub(crate) architectures: Vec<Option<&'static TargetArchitecture>>,
    /// Name of the image; `APP:NUMBER` if there is none.
    pub(crate) tag: Option<String>,
    /// The operator's own base: a directory, an archive of its files, or an image.
    pub(crate) base: Option<PathBuf>,
    /// Directory of the bases that are made here.
    pub(crate) bases: Option<PathBuf>,
    /// Packages that the base has beside those that the release is known to need.
    pub(crate) packages: Vec<String>,
    /// True to make the base anew.
    pub(crate) new_base: bool,
    pub(crate) settings: HostSettings,
}

/// A release of which an image is made.
struct ReleaseImage {
    description: ImageDescription,
    layers: Vec<ImageLayer>,
}

/// A release with its opened trees.
struct OpenedRelease {
    release: BuiltRelease,
    head: PackHead,
    trees: Vec<PackTree>,
    entries: Vec<ProcfileEntry>,
}

/// Writes the image to stdout.
pub(crate) fn run(request: &ImageRequest) -> anyhow::Result<()> {
    interrupt::watch_signals()?;
    let stdout = io::stdout().lock();
    if stdout.is_terminal() {
        let failure = UserError::new("an image is nothing for a terminal");
        return Err(failure.hint("piku-build pack --format oci RELEASE > image.tar").into());
    }
    let made_bases = RefCell::default();
    let images: Vec<_> = platform::assign_releases(&request.releases, &request.architectures)?
        .into_iter()
        .map(|(dir, architecture)| make(request, dir, architecture, &made_bases))
        .collect::<anyhow::Result<_>>()?;
    check_together(&images)?;
    let name = request.tag.clone().unwrap_or_else(|| images[0].description.default_name());
    check_space(&stdout, &images, request.settings.reserve_bytes())?;
    let writer = LayoutWriter::new(BufWriter::with_capacity(1 << 16, stdout));
    let images: Vec<_> = images.into_iter().map(|image| (image.description, image.layers)).collect();
    write::forgive_closed(image_config::write(writer, &images, &name))
}

/// Checks that the disk has space for the image, if it is written to a file.
fn check_space(output: &impl AsFd, images: &[ReleaseImage], reserve: u64) -> anyhow::Result<()> {
    let is_file = fstat(output).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    if !is_file {
        return Ok(());
    }
    let layers = images.iter().flat_map(|image| &image.layers);
    let sizes: BTreeMap<&str, u64> =
        layers.map(|layer| (layer.blob.digest.as_str(), layer.blob.size)).collect();
    let bytes = sizes.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
    let path = readlink(OUTPUT, Vec::new()).map(|path| PathBuf::from(OsString::from_vec(path.into_bytes())));
    let folder =
        path.ok().and_then(|path| path.parent().map(Path::to_owned)).filter(|folder| folder.is_absolute());
    let folder = folder.unwrap_or_else(|| OUTPUT.into());
    free_space::check_keeping(&folder, SpaceNeeded::of(bytes), reserve, "the image")
}

/// Fails unless the images can be one: of one app, for different platforms.
fn check_together(images: &[ReleaseImage]) -> anyhow::Result<()> {
    let mut platforms = BTreeSet::new();
    for image in images {
        let description = &image.description;
        if description.app != images[0].description.app {
            return Err(errors::other_app(&description.app, &images[0].description.app).into());
        }
        if !platforms.insert(description.platform.to_string()) {
            return Err(errors::same_platform(&description.platform.to_string()).into());
        }
    }
    Ok(())
}

/// Makes the image of a release. `made_bases` are those that this process has made.
fn make(
    request: &ImageRequest,
    dir: &Path,
    architecture: Option<&'static TargetArchitecture>,
    made_bases: &RefCell<BTreeSet<PathBuf>>,
) -> anyhow::Result<ReleaseImage> {
    let opened = OpenedRelease::open(dir, request.layers.as_deref())?;
    let platform = ImagePlatform::of_release(&opened.release.architecture, architecture)?;
    let base = base::find(
        &BaseRequest {
            own: request.base.as_deref(),
            bases: request.bases.as_deref(),
            packages: &request.packages,
            renew: request.new_base,
            made: made_bases,
            platform: &platform,
            limits: BaseLimits {
                reserve: request.settings.reserve_bytes(),
                most: request.settings.image_bases.saturating_mul(1 << 20),
            },
        },
        &opened,
    )?;
    let env = environment::read(&opened.release, opened.app()?, &base.env, &platform)?;
    let mut layers = base.layers;
    for layer in &opened.release.layers {
        let tree = opened.layer(&layer.key)?;
        let at = inside(&layer.mount)?;
        let content = LayerContent {
            trees: vec![LayerTree {
                tree: tree.clone(),
                at,
                owner: 0,
                hidden: Vec::new(),
                kind: TreeKind::Release,
            }],
            ..LayerContent::default()
        };
        layers.push(ImageLayer::measure(content, &format!("dependencies: {}", layer.name))?);
    }
    let components =
        components::render(&opened.release, opened.app()?, &opened.layer_trees()?, &base.packages)?;
    layers.push(ImageLayer::measure(opened.app_content()?, "app")?);
    // The packages of the base differ between architectures, which share the layers above it.
    let file = LayerFile { path: inside(Path::new(components::PATH))?, text: components, mode: 0o644 };
    let content = LayerContent { files: vec![file], ..LayerContent::default() };
    layers.push(ImageLayer::measure(content, "bill of materials")?);
    let command = opened.default_type().map(str::to_owned);
    if command.is_none() {
        progress::warning(
            "the image starts nothing by itself: the release has no web, worker or other process type that runs",
        );
    }
    Ok(ReleaseImage { description: ImageDescription::new(opened.release, platform, env, command), layers })
}

impl OpenedRelease {
    fn open(dir: &Path, layers: Option<&Path>) -> anyhow::Result<Self> {
        let release = BuiltRelease::read(dir)?;
        if !release.jailed {
            return Err(errors::built_without_jail(release.number).into());
        }
        if let Some(folder) = release.host.first() {
            return Err(errors::needs_folder(folder).into());
        }
        let source = PackSource {
            release: dir.to_owned(),
            layers: layers.map(Path::to_owned),
            part: PackScope::Whole,
        };
        let (packed, trees) = write::choose(&source, &release)?;
        let head = write::head(&release, true, packed, &trees)?;
        let entries = command_check::parse_entries(&release.processes);
        Ok(Self { release, head, trees, entries })
    }

    fn tree(&self, name: &Path) -> anyhow::Result<&TreeHandle> {
        let tree = self.trees.iter().find(|tree| tree.name == name);
        tree.map(|tree| &tree.handle).with_context(|| format!("the release has no '{}'", name.display()))
    }

    fn app(&self) -> anyhow::Result<&TreeHandle> {
        self.tree(Path::new(TREE))
    }

    fn layer(&self, key: &str) -> anyhow::Result<&TreeHandle> {
        self.tree(&Path::new(LAYERS).join(key))
    }

    /// Returns the dependency layers by name.
    fn layer_trees(&self) -> anyhow::Result<Vec<(&str, &TreeHandle)>> {
        let layers = self.release.layers.iter();
        layers.map(|layer| Ok((layer.name.as_str(), self.layer(&layer.key)?))).collect()
    }

    /// Returns the process type that the image starts without arguments.
    fn default_type(&self) -> Option<&str> {
        let with_port = self.entries.iter().find(|entry| entry.kind.has_port());
        let first = with_port.or_else(|| self.entries.iter().find(|entry| entry.kind.is_long_running()));
        first.map(|entry| entry.name.as_str())
    }

    /// Returns the content of the app's layer: its tree, start script and commands, and the directories of its data.
    fn app_content(&self) -> anyhow::Result<LayerContent> {
        let mounts: Vec<PathBuf> =
            self.release.layers.iter().map(|layer| inside(&layer.mount)).collect::<anyhow::Result<_>>()?;
        let app = inside(Path::new(APP))?;
        let hidden = mounts.iter().filter_map(|mount| mount.strip_prefix(&app).ok().map(Path::to_owned));
        let tree = LayerTree {
            tree: self.app()?.clone(),
            at: app.clone(),
            owner: USER,
            hidden: hidden.collect(),
            kind: TreeKind::Release,
        };
        let file = |path: PathBuf, text: Vec<u8>, mode| LayerFile { path, text, mode };
        let script = start_script::render(self.release.profile);
        let mut files = vec![file(inside(Path::new(start_script::PATH))?, script.into_bytes(), 0o755)];
        for entry in &self.entries {
            if !matches!(entry.kind, ProcessKind::Static | ProcessKind::Preflight) {
                let path = inside(Path::new(start_script::PROCESSES))?.join(entry.name.as_str());
                let [_, _, text] = command::argv(&entry.command);
                files.push(file(path, text.into_bytes(), 0o644));
            }
        }
        let folders = vec![inside(Path::new(DATA))?, inside(Path::new(HOME))?];
        Ok(LayerContent { trees: vec![tree], files, folders })
    }
}

/// Returns a path of the image without the slash in front.
fn inside(path: &Path) -> anyhow::Result<PathBuf> {
    let below = path.strip_prefix("/").unwrap_or(Path::new(""));
    let is_plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    anyhow::ensure!(
        is_plain && below.components().count() > 0,
        "'{}' is no place in an image",
        path.display()
    );
    Ok(below.to_owned())
}

impl ImageLayer {
    /// Measures a layer of this content.
    fn measure(content: LayerContent, made_by: &str) -> anyhow::Result<Self> {
        let blob = ImageBlob::measure(BlobSource::Content(content))?;
        Ok(Self { uncompressed: blob.digest.clone(), blob, compressed: false, made_by: made_by.to_owned() })
    }
}
