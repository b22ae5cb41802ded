//! An image of the operator as a base: its layers are taken as they are, from an OCI layout or an archive of
//! `docker save`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use flate2::read::MultiGzDecoder;
use indexmap::IndexMap;
use piku_files::free_space;
use piku_files::sha256::{hash_reader, to_hex};
use serde_json::Value;
use tar::Archive;

use super::super::blob::{BlobSource, ImageBlob, PackedFile};
use super::super::image_config::ImageLayer;
use super::super::platform::ImagePlatform;
use super::ImageBase;
use super::root_archive::{MOST_BYTES, ZSTD};
use crate::errors::image as errors;

/// No description in an image is longer, in bytes.
const LONGEST: u64 = 4 << 20;
/// More files than an image has.
const MOST_ENTRIES: usize = 100_000;
/// Indexes that refer to one another.
const DEEPEST: usize = 4;

/// An archive whose entries can be read in any order.
struct IndexedArchive {
    file: PackedFile,
    /// Place and size of each entry.
    entries: BTreeMap<String, (u64, u64)>,
}

/// Name of a layer in the archive, and its digest where a manifest has it.
type NamedLayer = (String, Option<String>);

/// Opens a base that is an image; `None` if the file is something else.
pub(super) fn open(path: &Path, platform: &ImagePlatform) -> anyhow::Result<Option<ImageBase>> {
    let Some(archive) = IndexedArchive::read(path)? else { return Ok(None) };
    let base =
        archive.base(platform).with_context(|| format!("cannot use the image '{}'", path.display()))?;
    Ok(Some(base))
}

impl IndexedArchive {
    /// Reads the names in an archive; `None` if it is no image.
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let file = PackedFile::open(path)?;
        let mut entries = BTreeMap::new();
        let mut archive = Archive::new(file.reader());
        let Ok(found) = archive.entries_with_seek() else { return Ok(None) };
        // Names of an image are short: descriptions of longer ones are not read.
        for entry in found.raw(true) {
            let Ok(entry) = entry else { return Ok(None) };
            if entries.len() >= MOST_ENTRIES {
                break;
            }
            if entry.header().entry_type().is_file() {
                let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
                entries.insert(name, (entry.raw_file_position(), entry.size()));
            }
        }
        let is_image = ["index.json", "manifest.json"].iter().any(|name| entries.contains_key(*name));
        Ok(is_image.then_some(Self { file, entries }))
    }

    fn base(&self, platform: &ImagePlatform) -> anyhow::Result<ImageBase> {
        let is_layout = self.entries.contains_key("index.json");
        let (config, layers) = if is_layout { self.layout(platform)? } else { self.docker()? };
        if !platform.is_of(&config) {
            let found = config["architecture"].as_str().unwrap_or("?").to_owned();
            return Err(errors::other_base(self.file.path(), &found, &platform.to_string()).into());
        }
        let digests = strings(&config["rootfs"]["diff_ids"]);
        ensure!(digests.len() == layers.len() && !layers.is_empty(), "its config names other layers");
        let layers = layers.into_iter().zip(digests).map(|((name, known), uncompressed)| {
            let uncompressed = parse_digest(&uncompressed)?.to_owned();
            self.layer(&name, known, uncompressed)
        });
        let env = strings(&config["config"]["Env"]).into_iter();
        let env: IndexMap<String, String> = env
            .filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        Ok(ImageBase { layers: layers.collect::<anyhow::Result<_>>()?, env, packages: Vec::new() })
    }

    /// Returns config, and names and digests of the layers, of an OCI layout.
    fn layout(&self, platform: &ImagePlatform) -> anyhow::Result<(Value, Vec<NamedLayer>)> {
        let mut list: Value = self.json("index.json")?;
        for _ in 0..DEEPEST {
            let manifests = list["manifests"].as_array().context("its index lists no manifests")?;
            let fits = |one: &&Value| one["platform"].is_null() || platform.is_of(&one["platform"]);
            let Some(chosen) = manifests.iter().find(fits) else {
                return Err(errors::other_base(self.file.path(), "others", &platform.to_string()).into());
            };
            let document = self.blob(chosen)?;
            if document["manifests"].is_array() {
                list = document;
                continue;
            }
            let config = self.blob(&document["config"])?;
            let layers = document["layers"].as_array().context("its manifest lists no layers")?;
            let layers = layers.iter().map(|layer| {
                let digest = parse_digest(layer["digest"].as_str().unwrap_or_default())?;
                Ok((format!("blobs/sha256/{digest}"), Some(digest.to_owned())))
            });
            return Ok((config, layers.collect::<anyhow::Result<_>>()?));
        }
        anyhow::bail!("its indexes refer to one another")
    }

    /// Returns config and names of the layers of an archive of `docker save`.
    fn docker(&self) -> anyhow::Result<(Value, Vec<NamedLayer>)> {
        let manifest = self.json("manifest.json")?;
        let config = self.json(manifest[0]["Config"].as_str().context("its manifest names no config")?)?;
        let layers = strings(&manifest[0]["Layers"]);
        Ok((config, layers.into_iter().map(|name| (name, None)).collect()))
    }

    fn layer(&self, name: &str, known: Option<String>, uncompressed: String) -> anyhow::Result<ImageLayer> {
        let (offset, size) = self.find(name)?;
        let cannot = || format!("cannot read its layer '{name}'");
        let mut head = [0; 4];
        let read = self.file.part(offset, size).read(&mut head)?;
        let compressed = head[..read].starts_with(&[0x1f, 0x8b]);
        if head == ZSTD {
            // Archives of Docker's form cannot have it.
            let (file, most) = (self.file.clone(), MOST_BYTES);
            let blob =
                ImageBlob::measure(BlobSource::Zstd { file, offset, size, most }).with_context(cannot)?;
            if blob.digest != uncompressed {
                return Err(errors::other_layer(name, &uncompressed).into());
            }
            return Ok(ImageLayer { blob, uncompressed, compressed: false, made_by: "base".to_owned() });
        }
        if compressed && self.hash_gzip(offset, size).with_context(cannot)? != uncompressed {
            return Err(errors::other_layer(name, &uncompressed).into());
        }
        let digest = match known {
            // The content is compared with the digest when it is written.
            Some(digest) if !compressed && digest != uncompressed => {
                return Err(errors::other_layer(name, &uncompressed).into());
            }
            Some(digest) => digest,
            None if compressed => to_hex(&hash_reader(&mut self.file.part(offset, size))?),
            None => uncompressed.clone(),
        };
        let blob = ImageBlob::known(digest, size, self.file.clone(), offset);
        Ok(ImageLayer { blob, uncompressed, compressed, made_by: "base".to_owned() })
    }

    /// Returns the digest of what gzip has compressed.
    fn hash_gzip(&self, offset: u64, size: u64) -> anyhow::Result<String> {
        let mut content = MultiGzDecoder::new(self.file.part(offset, size)).take(MOST_BYTES + 1);
        let digest = hash_reader(&mut content).context("cannot decompress it")?;
        ensure!(content.limit() > 0, "it has more than {}", free_space::size(MOST_BYTES));
        Ok(to_hex(&digest))
    }

    fn find(&self, name: &str) -> anyhow::Result<(u64, u64)> {
        self.entries.get(name).copied().with_context(|| format!("it has no '{name}'"))
    }

    fn text(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let (offset, size) = self.find(name)?;
        ensure!(size <= LONGEST, "'{name}' is longer than {LONGEST} bytes");
        let mut text = Vec::new();
        self.file.part(offset, size).read_to_end(&mut text)?;
        Ok(text)
    }

    fn json(&self, name: &str) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.text(name)?).with_context(|| format!("'{name}' is no JSON"))
    }

    /// Reads the description that a descriptor refers to.
    fn blob(&self, descriptor: &Value) -> anyhow::Result<Value> {
        let digest = parse_digest(descriptor["digest"].as_str().unwrap_or_default())?;
        let name = format!("blobs/sha256/{digest}");
        let text = self.text(&name)?;
        ensure!(to_hex(&hash_reader(&mut text.as_slice())?) == digest, "'{name}' does not match its digest");
        serde_json::from_slice(&text).with_context(|| format!("'{name}' is no JSON"))
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Returns the hex digits of a digest.
fn parse_digest(text: &str) -> anyhow::Result<&str> {
    let digits = text.strip_prefix("sha256:").filter(|digits| piku_release::layers::is_key(digits));
    digits.with_context(|| format!("'{text}' is no SHA-256"))
}
