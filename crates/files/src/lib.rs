//! Files: safe access to trees that hostile code has written, atomic writes, free space and hashes.
//!
//! Everything that a build step, a process or a received package has left in a directory is hostile:
//! names, symlinks, sizes, types, modes, and the moment at which they change. `std::fs` resolves a path
//! again in each call and follows every symlink in it. A [`TreeHandle`] holds the directory open instead
//! and resolves every path beneath it:
//!
//! - A path never leaves the tree: not by `..`, an absolute path, a symlink in the middle or at the end,
//!   or a magic link of `/proc`. Such a path is an error for which [`TreeError::leads_out`] is true.
//! - Reading follows symlinks that stay in the tree, as for the app itself (`requirements.txt ->
//!   base.txt`). An absolute symlink leads out, even one to `/app/…`, which is the tree inside the jail.
//!   Copies keep symlinks as they are.
//! - Operations that change an entry (write, rename, remove, link, mode, times) never follow a symlink in
//!   its place.
//! - Only regular files are opened, without blocking: a named pipe, a socket or a device is an error.
//!   Every read has a limit.
//! - A walk follows no symlinks. An entry that disappears or changes during the walk is skipped or an
//!   error, never a way out.
//!
//! `cap-std` resolves paths of several parts: by `openat2` with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_MAGICLINKS`, or part by part if the kernel or a seccomp filter does not allow `openat2`.
//! The crate `pathrs` resolves as if the tree were the root: a symlink to `/etc/passwd` would silently
//! name a file of the tree, where piku must report an error. A single name needs no resolution: the kernel
//! gets it relative to the descriptor of its directory, with `O_NOFOLLOW`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod atomic_file;
mod file_lock;
pub mod free_space;
mod link_record;
mod parallel;
mod reserving_writer;
pub mod sha256;
pub mod source_index;
mod tree;
pub mod untrusted_yaml;
mod write_order;

pub use file_lock::FileLock;
pub use link_record::LinkRecord;
pub use reserving_writer::ReservingWriter;
pub use tree::{
    CopyLimit, FileKind, FileStat, FolderCursor, FolderEntry, TreeEntry, TreeError, TreeFile, TreeHandle,
    WalkStep, is_link_refused, remove_all,
};
pub use write_order::{NewFiles, keeps_order, write_out};
