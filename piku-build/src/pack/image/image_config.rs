//! The JSON documents of an image: config, manifest, index, and the manifest of `docker save`.

use std::io::Write;

use indexmap::IndexMap;
use piku_layout::name::AppName;
use piku_release::manifest::BuiltRelease;
use serde_json::{Value, json};

use super::blob::{BlobSource, ImageBlob};
use super::layout_writer::{LayoutWriter, blob_path};
use super::platform::ImagePlatform;
use super::{USER, components, start_script};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Label with the path of the list of components in the image.
const COMPONENTS_LABEL: &str = "io.github.piku.sbom";

/// A layer of an image.
pub(super) struct ImageLayer {
    pub(super) blob: ImageBlob,
    /// Digest of the uncompressed layer.
    pub(super) uncompressed: String,
    /// True if the blob is compressed by gzip.
    pub(super) compressed: bool,
    /// Origin, for the history.
    pub(super) made_by: String,
}

/// Everything about an image but its layers.
pub(super) struct ImageDescription {
    pub(super) app: AppName,
    pub(super) platform: ImagePlatform,
    number: u64,
    commit: String,
    created: String,
    env: IndexMap<String, String>,
    /// Process type that starts without arguments.
    command: Option<String>,
}

impl ImageDescription {
    pub(super) fn new(
        release: BuiltRelease,
        platform: ImagePlatform,
        env: IndexMap<String, String>,
        command: Option<String>,
    ) -> Self {
        let BuiltRelease { app, number, commit, at, .. } = release;
        Self { app, platform, number, commit, created: at.to_string(), env, command }
    }

    /// Returns the image's name if none is asked for.
    pub(super) fn default_name(&self) -> String {
        format!("{}:{}", self.app, self.number)
    }

    fn labels(&self) -> Value {
        let mut labels = json!({
            "org.opencontainers.image.title": self.app.as_str(),
            "org.opencontainers.image.version": self.number.to_string(),
            "org.opencontainers.image.created": self.created,
            COMPONENTS_LABEL: components::PATH,
        });
        if !self.commit.is_empty() {
            labels["org.opencontainers.image.revision"] = json!(self.commit);
        }
        labels
    }

    fn config(&self, layers: &[ImageLayer]) -> Value {
        let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut run = json!({
            "User": format!("{USER}:{USER}"),
            "Env": env,
            "Entrypoint": [start_script::PATH],
            "WorkingDir": "/app",
            "Labels": self.labels(),
            "StopSignal": "SIGTERM",
        });
        if let Some(command) = &self.command {
            run["Cmd"] = json!([command]);
            if matches!(command.as_str(), "web" | "wsgi") {
                let port = self.env.get("PORT").map(|port| port.trim()).unwrap_or_default();
                run["ExposedPorts"] = json!({ format!("{port}/tcp"): {} });
            }
        }
        let mut config = self.platform.to_json();
        config["created"] = json!(self.created);
        config["config"] = run;
        let digests = layers.iter().map(|layer| format!("sha256:{}", layer.uncompressed));
        config["rootfs"] = json!({ "type": "layers", "diff_ids": digests.collect::<Vec<_>>() });
        let history = layers.iter().map(|layer| {
            json!({ "created": self.created, "created_by": "piku-build pack", "comment": layer.made_by })
        });
        config["history"] = json!(history.collect::<Vec<_>>());
        config
    }
}

/// Writes the archive of an image; of several, as one index for several platforms.
pub(super) fn write<W: Write>(
    mut archive: LayoutWriter<W>,
    images: &[(ImageDescription, Vec<ImageLayer>)],
    name: &str,
) -> anyhow::Result<()> {
    let mut documents = Vec::new();
    let mut descriptors = Vec::new();
    let mut docker = Vec::new();
    for (description, layers) in images {
        let config = document(&description.config(layers))?;
        let parts = layers.iter().map(|layer| {
            let kind = if layer.compressed { format!("{LAYER}+gzip") } else { LAYER.to_owned() };
            descriptor(&kind, &layer.blob)
        });
        let manifest = document(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": parts.collect::<Vec<_>>(),
            "annotations": description.labels(),
        }))?;
        let mut reference = descriptor(MANIFEST, &manifest);
        reference["platform"] = description.platform.to_json();
        descriptors.push(reference);
        let paths: Vec<String> = layers.iter().map(|layer| blob_path(&layer.blob.digest)).collect();
        docker.push(
            json!({ "Config": blob_path(&config.digest), "RepoTags": [tagged(name)], "Layers": paths }),
        );
        documents.extend([config, manifest]);
    }
    // An archive of Docker's form has no platforms.
    let docker = (images.len() == 1).then_some(docker);
    let mut top = if let [one] = descriptors.as_slice() {
        one.clone()
    } else {
        let list = document(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors }))?;
        let reference = descriptor(INDEX, &list);
        documents.push(list);
        reference
    };
    top["annotations"] = json!({
        "io.containerd.image.name": full_name(name),
        "org.opencontainers.image.ref.name": tag_of(&tagged(name)),
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [top] });
    archive.file("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
    archive.file("index.json", &serde_json::to_vec(&index)?)?;
    if let Some(docker) = docker {
        archive.file("manifest.json", &serde_json::to_vec(&docker)?)?;
    }
    for blob in &documents {
        archive.blob(blob)?;
    }
    for layer in images.iter().flat_map(|(_, layers)| layers) {
        archive.blob(&layer.blob)?;
    }
    archive.finish()
}

fn document(value: &Value) -> anyhow::Result<ImageBlob> {
    ImageBlob::measure(BlobSource::Bytes(serde_json::to_vec(value)?))
}

fn descriptor(kind: &str, blob: &ImageBlob) -> Value {
    json!({ "mediaType": kind, "digest": format!("sha256:{}", blob.digest), "size": blob.size })
}

/// Returns the tag of a name that has one: a colon in front of the last slash belongs to a port.
fn find_tag(name: &str) -> Option<&str> {
    name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
}

fn tagged(name: &str) -> String {
    if find_tag(name).is_some() { name.to_owned() } else { format!("{name}:latest") }
}

fn tag_of(name: &str) -> &str {
    find_tag(name).unwrap_or("latest")
}

/// Returns the name with a registry in front. podman looks for a name without one at `localhost`.
fn full_name(name: &str) -> String {
    let first = name.split_once('/').map(|(first, _)| first);
    let is_host = first.is_some_and(|first| first.contains(['.', ':']) || first == "localhost");
    tagged(&if is_host { name.to_owned() } else { format!("localhost/{name}") })
}

/// Parses the name of an image as engines take it: lower-case parts, and a tag.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    };
    let is_host = |part: &str| {
        let (host, port) = part.split_once(':').unwrap_or((part, "0"));
        is_part(&host.to_ascii_lowercase()) && port.parse::<u16>().is_ok()
    };
    let (path, tag) = match find_tag(text) {
        Some(tag) => (&text[..text.len() - tag.len() - 1], tag),
        None => (text, "latest"),
    };
    let (host, path) = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, path),
    };
    let is_tag = tag.len() <= 128
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let is_name = host.is_none_or(is_host) && path.split('/').all(is_part) && is_tag && text.len() <= 255;
    let expected = "expected the name of an image, such as registry.example.org/blog:12";
    if is_name { Ok(text.to_owned()) } else { Err(expected.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_engines() {
        for (name, full, tag) in [
            ("blog", "localhost/blog:latest", "latest"),
            ("blog:12", "localhost/blog:12", "12"),
            ("team/blog:12", "localhost/team/blog:12", "12"),
            ("r.example.org:5000/blog", "r.example.org:5000/blog:latest", "latest"),
            ("localhost:5000/a/b:v1.2", "localhost:5000/a/b:v1.2", "v1.2"),
        ] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
            assert_eq!((full_name(name).as_str(), tag_of(&tagged(name))), (full, tag));
        }
        for bad in
            ["", "Blog", "blog:", "blog:a b", "a//b", "r.example.org:x/b", "blog@sha256:1", "-a", "a/-b"]
        {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }
}
