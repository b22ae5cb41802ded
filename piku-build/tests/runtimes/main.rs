//! Apps of each runtime, built by the real tools.

mod binary;
mod buildpack;
mod go;
mod java;
mod node;
mod preflight;
mod pyenv;
mod python;
mod python_compiled;
mod python_installer;
mod python_locks;
mod python_versions;
mod ruby;
mod rust;
mod static_files;
#[path = "../support/mod.rs"]
mod support;
