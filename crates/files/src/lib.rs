//! Trees of files that hostile code has written, reached through one directory handle.
//!
//! Whatever a build step, a process or a received package has left in a folder is hostile: names, links, sizes, types, modes and
//! the moment at which they change. A path string that is handed to `std::fs` is resolved anew by each call and leads wherever a
//! link in it leads. A [`TreeHandle`] holds the folder itself instead, and resolves every path beneath it:
//!
//! - A path never leaves the tree: not by `..`, not by an absolute path, not by a link in the middle or at the end of it, and not
//!   by a magic link of `/proc`. What would is an error, for which [`TreeError::leads_out`] is true.
//! - A link that stays in the tree works for reading, as it does for the app itself (`requirements.txt -> base.txt`). An absolute
//!   link leads out, also one to `/app/…`, which inside the jail is the tree: what a release needs at build time is named
//!   relative to it. Copies keep every link as it is.
//! - What changes an entry (write, rename, remove, link, mode, times) is about the entry itself, never about what a link in its
//!   place points to.
//! - Only regular files are opened, without waiting: a named pipe, a socket, a device is an error. What is read has a bound.
//! - A walk follows no link, and what vanishes or changes while it is under way is skipped or an error, never a way out.
//!
//! Paths of several parts are resolved by `cap-std`: `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_MAGICLINKS`, and where a
//! kernel or a seccomp filter has no `openat2` part by part through descriptors. It was preferred to `pathrs`, which resolves
//! as if the tree were the root: a link `/etc/passwd` then silently names a file of the tree, where piku has to refuse. A single
//! name needs no resolution: it is given to the kernel relative to the descriptor of its folder, with `O_NOFOLLOW`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod atomic_file;
mod file_lock;
pub mod free_space;
pub mod sha256;
mod tree;
mod write_order;

pub use file_lock::FileLock;
pub use tree::{
    CopyLimit, FileKind, FileStat, FolderCursor, FolderEntry, TreeEntry, TreeError, TreeFile, TreeHandle,
    WalkStep, remove_all,
};
pub use write_order::{keeps_order, order_folder, write_out};
