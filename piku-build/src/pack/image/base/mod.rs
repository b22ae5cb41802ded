//! The base of an image: the programs and libraries of the system that the release needs, as its jail shows
//! those of the machine.

mod apt_sources;
mod command_words;
mod debian;
mod entry_names;
mod foreign;
mod image_archive;
mod libraries;
mod packages;
mod programs;
pub(super) mod root_archive;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::TreeHandle;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};
use serde::{Deserialize, Serialize};

use super::OpenedRelease;
use super::blob::{BlobSource, ImageBlob};
use super::image_config::ImageLayer;
use super::layer_content::{LayerContent, LayerTree, TreeKind};
use super::platform::ImagePlatform;
use crate::errors::image as errors;
use apt_sources::DebianSources;
use root_archive::STATUS;

/// Request for a base.
pub(super) struct BaseRequest<'a> {
    /// The operator's own.
    pub(super) own: Option<&'a Path>,
    /// Directory of the bases that are made here.
    pub(super) bases: Option<&'a Path>,
    /// Packages beside those that the release is known to need.
    pub(super) packages: &'a [String],
    /// True to make the base anew.
    pub(super) renew: bool,
    /// Bases that this process has made, which are not made again.
    pub(super) made: &'a RefCell<BTreeSet<PathBuf>>,
    pub(super) platform: &'a ImagePlatform,
    pub(super) limits: BaseLimits,
}

/// Limits of what is made here, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct BaseLimits {
    /// Space of the disk that stays free.
    pub(super) reserve: u64,
    /// Size of all bases beyond which the least recently used ones are removed.
    pub(super) most: u64,
}

/// Layers below those of the release.
pub(super) struct ImageBase {
    pub(super) layers: Vec<ImageLayer>,
    /// Variables of the base's config.
    pub(super) env: IndexMap<String, String>,
    /// Packages of the system in it, if they are known.
    pub(super) packages: Vec<BasePackage>,
}

/// Package of the system in a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BasePackage {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
}

/// Finds the base of a release, or makes it.
pub(super) fn find(request: &BaseRequest<'_>, release: &OpenedRelease) -> anyhow::Result<ImageBase> {
    let Some(own) = request.own else {
        let bases = match request.bases {
            Some(dir) => dir.to_owned(),
            None => PikuRoot::new(std::env::var_os(ROOT_VARIABLE).map(PathBuf::from))
                .context("--bases is needed")?
                .image_bases(),
        };
        // Before the long search for packages: without sources there is no base.
        let sources = DebianSources::read()?;
        let packages = packages::find_needed(release, request.packages)?;
        return debian::find(&bases, sources, &packages, request);
    };
    if !request.packages.is_empty() {
        return Err(errors::packages_of_own_base(own).into());
    }
    if is_folder(own) {
        return of_folder(own);
    }
    match image_archive::open(own, request.platform)? {
        Some(base) => Ok(base),
        None => of_archive(own),
    }
}

#[expect(clippy::disallowed_methods, reason = "a base of the operator")]
fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// Returns the base that is a directory of the operator.
fn of_folder(dir: &Path) -> anyhow::Result<ImageBase> {
    let tree = TreeHandle::open_following(dir)?;
    if !["bin", "usr/bin"].iter().any(|folder| tree.is_dir(folder)) {
        return Err(errors::no_base(dir, "it has no programs").into());
    }
    let status = tree.read_bounded(STATUS, root_archive::LONGEST_STATUS).unwrap_or_default();
    let part = LayerTree { tree, at: PathBuf::new(), owner: 0, hidden: Vec::new(), kind: TreeKind::System };
    let blob = ImageBlob::measure(BlobSource::Content(LayerContent {
        trees: vec![part],
        ..LayerContent::default()
    }))?;
    Ok(ImageBase::of_blob(blob, root_archive::parse_status(&status)))
}

/// Returns the base that is an archive of its files.
fn of_archive(path: &Path) -> anyhow::Result<ImageBase> {
    let facts = root_archive::rewrite_file(path, &mut std::io::sink())?;
    if !facts.has_shell {
        return Err(errors::no_base(path, "it has no /bin/sh").into());
    }
    let blob = ImageBlob::measure(BlobSource::RootArchive(path.to_owned()))?;
    Ok(ImageBase::of_blob(blob, facts.packages()))
}

impl ImageBase {
    /// Returns the base of one layer that is not compressed.
    fn of_blob(blob: ImageBlob, packages: Vec<BasePackage>) -> Self {
        let layer = ImageLayer {
            uncompressed: blob.digest.clone(),
            blob,
            compressed: false,
            made_by: "base".to_owned(),
        };
        Self { layers: vec![layer], env: IndexMap::new(), packages }
    }
}
