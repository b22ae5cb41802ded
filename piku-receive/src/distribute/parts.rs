//! What is sent: the head, then each layer that somebody lacks and the release itself, packed once for all machines. A layer
//! packs to the same bytes each time, so that a transfer that broke off goes on with the next push.

#![expect(clippy::disallowed_methods, reason = "a new folder for packed parts, which only piku writes")]

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use piku_files::sha256;
use piku_layout::paths::DEPLOY_PREFIX;
use serde::Deserialize;
use tempfile::TempDir;

use crate::app_context::AppContext;

/// A release that is to be sent.
pub(super) struct ReleaseParts<'a> {
    place: &'a AppContext<'a>,
    dir: PathBuf,
    head: Vec<u8>,
}

/// A packed part.
pub(super) struct PackedPart {
    /// The layer's key; nothing for the release itself.
    pub(super) layer: Option<String>,
    pub(super) path: PathBuf,
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

/// Packed parts, removed with this.
pub(super) struct PackedParts {
    /// Layers first.
    pub(super) parts: Vec<PackedPart>,
    _dir: TempDir,
}

/// What is read of a head.
#[derive(Deserialize)]
struct ReleaseHead {
    layers: Vec<HeadLayer>,
}

#[derive(Deserialize)]
struct HeadLayer {
    key: String,
}

impl<'a> ReleaseParts<'a> {
    pub(super) fn new(place: &'a AppContext<'a>, dir: PathBuf) -> anyhow::Result<Self> {
        let mut parts = Self { place, dir, head: Vec::new() };
        let mut head = tempfile::tempfile().context("cannot make a file")?;
        parts.write("head", head.try_clone().context("cannot make a file")?)?;
        std::io::Seek::rewind(&mut head)?;
        head.read_to_end(&mut parts.head).context("cannot read the head")?;
        Ok(parts)
    }

    /// What the release is and needs, as JSON.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The keys of its layers.
    pub(super) fn layers(&self) -> anyhow::Result<Vec<String>> {
        let head: ReleaseHead = serde_json::from_slice(&self.head).context("cannot read the head")?;
        Ok(head.layers.into_iter().map(|layer| layer.key).collect())
    }

    /// Packs these layers of it, and the release.
    pub(super) fn pack(&self, lacked: &[String]) -> anyhow::Result<PackedParts> {
        let dir = tempfile::Builder::new()
            .prefix(DEPLOY_PREFIX)
            .tempdir_in(self.place.dir().path())
            .context("cannot make a folder for what is sent")?;
        let ours = self.layers()?;
        let mut parts = Vec::new();
        let layers =
            lacked.iter().filter(|key| ours.contains(key)).map(|key| (Some(key.clone()), key.as_str()));
        for (layer, name) in layers.chain([(None, "release")]) {
            let path = dir.path().join(name);
            let cannot = || format!("cannot write '{}'", path.display());
            self.write(name, File::create_new(&path).with_context(cannot)?)?;
            let mut file = File::open(&path).with_context(cannot)?;
            let bytes = file.metadata().with_context(cannot)?.len();
            parts.push(PackedPart {
                layer,
                sha256: sha256::to_hex(&sha256::hash_reader(&mut file).with_context(cannot)?),
                bytes,
                path,
            });
        }
        Ok(PackedParts { parts, _dir: dir })
    }

    fn write(&self, part: &str, to: File) -> anyhow::Result<()> {
        let status = self
            .place
            .command("piku-build")?
            .arg("pack")
            .arg(&self.dir)
            .arg("--layers")
            .arg(self.place.dir().layers())
            .args(["--part", part])
            .stdin(Stdio::null())
            .stdout(to)
            .status()
            .context("cannot run 'piku-build pack'")?;
        ensure!(status.success(), "the release could not be packed");
        Ok(())
    }
}
