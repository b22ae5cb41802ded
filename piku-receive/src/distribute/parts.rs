//! The parts of a release: its manifest, the missing layers and the release itself, packed once for all
//! hosts.
//!
//! A layer always packs to the same bytes, so that the next push can resume an interrupted transfer.

#![expect(clippy::disallowed_methods, reason = "a new directory for packed parts, which only piku writes")]

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

pub(super) struct ReleaseParts<'a> {
    app: &'a AppContext<'a>,
    dir: PathBuf,
    head: Vec<u8>,
}

pub(super) struct PackedPart {
    /// Key of the layer; `None` for the release itself.
    pub(super) layer: Option<String>,
    pub(super) path: PathBuf,
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

/// Packed parts; their directory is removed on drop.
pub(super) struct PackedParts {
    /// Layers before the release.
    pub(super) parts: Vec<PackedPart>,
    _dir: TempDir,
}

/// Fields of the manifest that are read here.
#[derive(Deserialize)]
struct ReleaseHead {
    layers: Vec<HeadLayer>,
}

#[derive(Deserialize)]
struct HeadLayer {
    key: String,
}

impl<'a> ReleaseParts<'a> {
    pub(super) fn new(app: &'a AppContext<'a>, dir: PathBuf) -> anyhow::Result<Self> {
        let mut parts = Self { app, dir, head: Vec::new() };
        let mut head = tempfile::tempfile().context("cannot create a temporary file")?;
        parts.write_part("head", head.try_clone().context("cannot create a temporary file")?)?;
        std::io::Seek::rewind(&mut head)?;
        head.read_to_end(&mut parts.head).context("cannot read the head")?;
        Ok(parts)
    }

    /// Returns the manifest, as JSON.
    pub(super) fn manifest(&self) -> &[u8] {
        &self.head
    }

    /// Returns the keys of the release's layers.
    pub(super) fn layer_keys(&self) -> anyhow::Result<Vec<String>> {
        let head: ReleaseHead = serde_json::from_slice(&self.head).context("cannot read the head")?;
        Ok(head.layers.into_iter().map(|layer| layer.key).collect())
    }

    /// Packs the release and those of its layers that are in `lacked`.
    pub(super) fn pack_parts(&self, lacked: &[String]) -> anyhow::Result<PackedParts> {
        let dir = tempfile::Builder::new()
            .prefix(DEPLOY_PREFIX)
            .tempdir_in(self.app.dir().path())
            .context("cannot create a directory for the packed parts")?;
        let ours = self.layer_keys()?;
        let mut parts = Vec::new();
        let layers =
            lacked.iter().filter(|key| ours.contains(key)).map(|key| (Some(key.clone()), key.as_str()));
        for (layer, name) in layers.chain([(None, "release")]) {
            let path = dir.path().join(name);
            let cannot = || format!("cannot write '{}'", path.display());
            self.write_part(name, File::create_new(&path).with_context(cannot)?)?;
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

    fn write_part(&self, part: &str, to: File) -> anyhow::Result<()> {
        let status = self
            .app
            .command("piku-build")?
            .arg("pack")
            .arg(&self.dir)
            .arg("--layers")
            .arg(self.app.dir().layers())
            .args(["--part", part])
            .stdin(Stdio::null())
            .stdout(to)
            .status()
            .context("cannot run 'piku-build pack'")?;
        ensure!(status.success(), "'piku-build pack' failed");
        Ok(())
    }
}
