//! An app of each runtime with the real tools of its language: pushed over ssh, built, served and built again.

mod buildpack;
mod go;
mod java;
mod node;
mod python;
mod ruby;
mod rust;
