//! Backups as one stream: [`ArchiveWriter`] writes it, [`read_archive`] reads it and trusts nothing of it.
//!
//! The stream is a tar archive, zstd-compressed, so that it can be read without piku: `zstd -dc FILE | tar tv`
//! lists it. Its entries, in this order:
//!
//! - `backup.json`: the head, with the apps and their parts ([`BackupHead`]);
//! - the parts, in the order of the head. A part whose size is not known when it begins is a folder of pieces,
//!   `apps/blog/data.tar/00000000` and so on, so that neither side needs memory or disk for the whole;
//! - `sums.json`: size and SHA-256 of each part, and what it lacks ([`PartSum`]).
//!
//! After the compressed frame, one more frame, which decompressors skip, has the SHA-256 of all bytes before it.
//! A file that was cut off or changed anywhere is therefore refused.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod entry_header;
mod hashed_input;
mod head;
mod left_out;
mod reader;
mod stream_hash;
#[cfg(test)]
mod tests;
mod trailer;
mod writer;

pub use head::{BackupHead, BackupKind, BackupPart, FORMAT, MissingApp, PartSum, SavedApp, SavedService};
pub use left_out::{LeftFile, LeftOut};
pub use reader::{PartSink, is_backup, read_archive};
pub use writer::{ArchiveWriter, StreamPart};

/// Name of the first entry.
const HEAD: &str = "backup.json";
/// Name of the last entry.
const SUMS: &str = "sums.json";
/// Size of the pieces of a part, except for the last one, and the largest size of a part of one entry.
const PIECE: usize = 1 << 20;
