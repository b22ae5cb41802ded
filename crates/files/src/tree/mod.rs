//! The tree handle and its operations.

mod change;
mod copy;
mod cursor;
mod directory;
mod error;
mod file_stat;
mod group;
mod handle;
mod link_source;
mod read;
mod remove;
mod unchanged;
mod walk;

pub use copy::CopyLimit;
pub use cursor::FolderCursor;
pub use error::TreeError;
pub use file_stat::{FileKind, FileStat};
pub use handle::TreeHandle;
pub use link_source::is_link_refused;
pub use read::{FolderEntry, TreeFile};
pub use remove::remove_all;
pub use walk::{TreeEntry, WalkStep};
