//! A build as a whole: the plan carried out, in a folder that becomes the release when all of it succeeded.

pub(crate) mod build_context;
pub(crate) mod build_job;
pub(crate) mod host_paths;
pub(crate) mod release_builder;
pub(crate) mod unchanged;
pub(crate) mod work_folder;
