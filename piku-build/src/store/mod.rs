//! The layers: dependencies that are built once, under the hash of their inputs, and shared between releases.

pub(crate) mod generation;
pub(crate) mod hash;
pub(crate) mod layer;
pub(crate) mod packages;
pub(crate) mod tools;
