//! A path of the app tree that is kept over releases: an item of `WRITABLE_PATHS`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Longest path in bytes.
const MAX_BYTES: usize = 1024;

/// A path below the top of an app tree: relative, without `.` and `..`, at least one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WritablePath {
    path: PathBuf,
    is_folder: bool,
}

impl WritablePath {
    /// Parses a path such as `db.sqlite3`, `uploads` or `storage/`.
    ///
    /// # Errors
    /// Returns the reason, which follows the quoted path in a message.
    pub fn parse(word: &OsStr) -> Result<Self, &'static str> {
        let bytes = word.as_bytes();
        let given = Path::new(word);
        if bytes.len() > MAX_BYTES {
            return Err("is longer than 1024 bytes");
        }
        if bytes.iter().any(u8::is_ascii_control) {
            return Err("contains a control character");
        }
        if given.is_absolute() {
            return Err("is absolute; write it relative to the top of the app, such as 'uploads'");
        }
        if given.components().any(|part| part == Component::ParentDir) {
            return Err("contains '..'");
        }
        let path: PathBuf = given.components().filter(|part| *part != Component::CurDir).collect();
        let Some(name) = path.file_name() else {
            return Err("is the whole app; name the files and folders in it");
        };
        let is_folder = bytes.ends_with(b"/") || Path::new(name).extension().is_none();
        Ok(Self { path, is_folder })
    }

    /// Returns the path relative to the app tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the path is a folder where neither the release nor the data has it: it was written
    /// with a slash at its end, or its name has no extension.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(word: &str) -> Result<(String, bool), &'static str> {
        WritablePath::parse(OsStr::new(word))
            .map(|found| (found.path().to_str().unwrap().to_owned(), found.is_folder()))
    }

    #[test]
    fn a_path_stays_in_the_app_and_has_a_name() {
        for (word, path, is_folder) in [
            ("db.sqlite3", "db.sqlite3", false),
            ("uploads", "uploads", true),
            ("./storage//blobs/", "storage/blobs", true),
            ("v1.2/", "v1.2", true),
            (".next/cache", ".next/cache", true),
            ("...", "...", false),
            ("-x", "-x", true),
        ] {
            assert_eq!(parse(word), Ok((path.to_owned(), is_folder)), "{word}");
        }
        for bad in ["", ".", "./", "/", "/app/uploads", "..", "a/../b", "a\nb", &"a".repeat(1025)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
