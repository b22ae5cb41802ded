//! Builds: a plan is executed in a directory that becomes the release only if every step succeeds.

pub(crate) mod build_context;
pub(crate) mod build_job;
pub(crate) mod host_paths;
mod layer_builder;
mod placed_tree;
pub(crate) mod release_builder;
pub(crate) mod unchanged;
pub(crate) mod work_folder;
