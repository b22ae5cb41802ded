//! Errors that name the path they are about, in one line.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// The longest path that is repeated in a message; of a longer one the beginning is.
const LONGEST: usize = 300;

/// A failed operation on a tree. Its text says what could not be done with which path; its source says why.
#[derive(Debug)]
pub struct TreeError {
    what: &'static str,
    path: String,
    cause: io::Error,
}

impl TreeError {
    /// An error of doing `what` ("read") with what lies at `path` below the folder `tree`.
    pub(crate) fn new(what: &'static str, tree: &Path, path: &Path, cause: io::Error) -> Self {
        let full = if path.as_os_str().is_empty() { tree.to_owned() } else { tree.join(path) };
        Self { what, path: display(&full), cause }
    }

    /// Returns the kind of the cause.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// Returns the kernel's number of the cause, where it comes from the kernel.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }

    /// Returns whether nothing is there: no such entry, or something on the way to it is no folder.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Returns whether the path, or a link in it, leads out of the tree.
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

/// The error of a path that leads out of its tree, as the resolver has it too.
pub(crate) fn escape() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the path leads out of the tree")
}

/// The path as one line of text, cut.
fn display(path: &Path) -> String {
    let text = path.to_string_lossy().replace(char::is_control, "\u{fffd}");
    match text.char_indices().nth(LONGEST) {
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
        assert!(TreeError::new("read", Path::new("/t"), Path::new(""), escape()).leads_out());
    }
}
