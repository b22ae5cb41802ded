//! A finished release as one stream: `pack` writes it, `unpack` makes of it what `build` would have made on
//! this machine, `fits` says from its head alone whether it would.
//!
//! The stream is a tar archive, zstd-compressed: `zstd -dc FILE | tar tv` lists it. Its entries, in this
//! order:
//!
//! - `head.json`: what is inside, and what it asks of the machine that runs it ([`head::PackHead`]);
//! - `layers/KEY/…`: the content of each dependency layer that is not left out, by key;
//! - `release.yaml` and `app/…`;
//! - `sha256`: the hash over all entries before it ([`content_hash::ContentHash`]).
//!
//! Entries are sorted by name and have no owners, so the same release gives the same bytes.

pub(crate) mod cli;
pub(crate) mod clib;
mod content_hash;
mod fits;
mod head;
mod image;
mod interpreter;
mod jvm;
mod links;
mod machine;
mod read;
mod release_needs;
mod tree_planter;
mod unpack;
mod write;

pub(crate) use fits::{FitQuestion, check_head, run as fits};
pub(crate) use machine::{run as machine, system_pythons};
pub(crate) use unpack::{UnpackRequest, run as unpack};

/// Name of the first entry.
const HEAD: &str = "head.json";
/// Name of the last entry, the hash.
const SUM: &str = "sha256";
/// Directory of the layers in a stream.
const LAYERS: &str = "layers";
/// No head and no `release.yaml` is longer, in bytes.
const LONGEST_TEXT: u64 = 1 << 20;
