//! Releases as container images.

mod containers;
mod foreign;
mod layout;
mod needed;
mod refused;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::World;

/// An app without dependencies and a base of two files.
fn site() -> World {
    let world = World::new(&[
        ("run.sh", "echo started\n"),
        ("Procfile", "worker: sh run.sh\ncron-tick: 0 3 * * * sh run.sh tick\n"),
        ("ENV", "COLOUR=blue\n"),
    ]);
    for folder in ["base/bin", "base/etc", "base/dev", "base/tmp"] {
        fs::create_dir_all(world.path(folder)).expect("a folder");
    }
    fs::set_permissions(world.path("base/tmp"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    fs::write(world.path("base/bin/sh"), "a shell").expect("a file");
    fs::set_permissions(world.path("base/bin/sh"), fs::Permissions::from_mode(0o4755)).expect("a mode");
    fs::write(world.path("base/etc/hostname"), "builder").expect("a file");
    world
}

/// Returns whether the system has the program.
fn has(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

/// Packs `out/NAME` as an image.
fn pack(world: &World, name: &str, more: &[&str]) -> Vec<u8> {
    let release = format!("out/{name}");
    let args = [&["pack", "--format", "oci", &release, "--layers", "cache/layers"], more].concat();
    let out = world.command(&args).output().expect("piku-build runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// An image that was read back: each entry of the archive, by name.
struct Image(BTreeMap<String, Vec<u8>>);

impl Image {
    fn read(bytes: &[u8]) -> Self {
        let mut entries = BTreeMap::new();
        for entry in tar::Archive::new(bytes).entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a name").display().to_string();
            if entry.header().entry_type().is_dir() {
                continue;
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            if let Some(digest) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(digest, piku_files::sha256::to_hex(&Sha256::digest(&content)));
            }
            assert!(entries.insert(name.clone(), content).is_none(), "{name} is there twice");
        }
        Self(entries)
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.0[name]).expect("JSON")
    }

    /// The document that a descriptor refers to.
    fn follow(&self, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let name = digest.replace("sha256:", "blobs/sha256/");
        assert_eq!(descriptor["size"].as_u64(), Some(self.0[&name].len() as u64));
        self.json(&name)
    }

    /// Config and digests of the layers.
    fn parts(&self) -> (Value, Vec<String>) {
        let manifest = self.follow(&self.json("index.json")["manifests"][0]);
        let config = self.follow(&manifest["config"]);
        let layers = manifest["layers"].as_array().expect("layers").iter();
        (config, layers.map(|layer| layer["digest"].as_str().expect("a digest").to_owned()).collect())
    }

    /// Path, mode and owner of everything in a layer.
    fn list(&self, digest: &str) -> Vec<String> {
        let blob = &self.0[&digest.replace("sha256:", "blobs/sha256/")];
        let mut archive = tar::Archive::new(blob.as_slice());
        let entries = archive.entries().expect("an archive").map(|entry| {
            let entry = entry.expect("an entry");
            let header = entry.header();
            let (mode, owner) = (header.mode().expect("a mode"), header.uid().expect("an owner"));
            format!("{} {mode:o} {owner}", entry.path().expect("a path").display())
        });
        entries.collect()
    }
}
