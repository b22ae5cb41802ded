//! Errors that name their path in one line.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// Number of characters of a path that a message shows.
const MAX_SHOWN: usize = 300;

/// A failed operation on a tree. The text names the operation and the path; the source is the cause.
#[derive(Debug)]
pub struct TreeError {
    what: &'static str,
    path: String,
    cause: io::Error,
}

impl TreeError {
    /// `what` is the operation as a verb ("read"), `path` is relative to `tree`.
    pub(crate) fn new(what: &'static str, tree: &Path, path: &Path, cause: io::Error) -> Self {
        let full = if path.as_os_str().is_empty() { tree.to_owned() } else { tree.join(path) };
        Self { what, path: shorten_path(&full), cause }
    }

    /// Returns the kind of the cause.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// Returns the error number of the cause, if it comes from the kernel.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }

    /// Returns true if the entry does not exist or one of its parents is not a directory.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Returns true if the path, or a symlink in it, leads out of the tree.
    #[must_use]
    pub fn leads_out(&self) -> bool {
        self.kind() == io::ErrorKind::PermissionDenied && self.raw_os_error().is_none()
    }
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} '{}'", self.what, self.path)
    }
}

impl Error for TreeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<TreeError> for io::Error {
    fn from(err: TreeError) -> Self {
        Self::new(err.kind(), err)
    }
}

/// Returns the error of a path that leads out of its tree. The resolver's own error has the same kind.
pub(crate) fn escape_error() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the path leads out of the tree")
}

/// Returns the path as one short line.
fn shorten_path(path: &Path) -> String {
    let text = path.to_string_lossy().replace(char::is_control, "\u{fffd}");
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_short_line() {
        let cause = || io::Error::from(io::ErrorKind::NotFound);
        let err = TreeError::new("read", Path::new("/t"), Path::new("a\nb\x1b[2J"), cause());
        assert_eq!(err.to_string(), "cannot read '/t/a\u{fffd}b\u{fffd}[2J'");
        assert!(err.is_missing() && !err.leads_out());
        let long = TreeError::new("read", Path::new("/"), Path::new(&"é".repeat(4000)), cause());
        assert_eq!(long.to_string(), format!("cannot read '/{}…'", "é".repeat(299)));
        assert!(TreeError::new("read", Path::new("/t"), Path::new(""), escape_error()).leads_out());
    }
}
