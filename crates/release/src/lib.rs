//! Releases as the tools exchange them: the manifest `release.yaml`, the layers on disk, and the
//! architectures that a release runs on.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod architecture;
pub mod deploy_key;
pub mod elf;
pub mod folded;
pub mod image_bases;
pub mod layers;
pub mod machine;
pub mod manifest;
pub mod received;
pub mod removals;
pub mod spare_tree;
pub mod target;
