//! Apps, builds and commits that are hostile to the other apps of the same account, to piku and to the host: one file for each
//! subject.

mod artifacts;
mod assets;
mod buildpack;
mod isolation;
mod next_push;
mod packages;
mod ports;
mod received;
mod sharing;
mod static_files;
mod victim;
