//! The commands of a build, run with or without the jail: their output, limits and environment.

pub(crate) mod build_step;
pub(crate) mod deploy_key;
pub(crate) mod environment;
pub(crate) mod interrupt;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod silence;
pub(crate) mod step_output;
pub(crate) mod step_runner;
