//! Pointers to Git LFS, which are exported as files.

use piku_files::source_index::IndexFolder;

use crate::client::quoted;

/// Beginning of a Git LFS pointer, which is at most a kilobyte long.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
const LONGEST_POINTER: usize = 1024;

/// Returns true if a file of this content is a pointer.
pub(super) fn is_pointer(content: &[u8]) -> bool {
    content.len() <= LONGEST_POINTER && content.starts_with(POINTER)
}

/// Number of pointers in an export, and the path of the first one.
#[derive(Debug, Default)]
pub(super) struct PointerCount {
    count: usize,
    first: String,
}

impl PointerCount {
    pub(super) fn add(&mut self, path: &str) {
        if self.count == 0 {
            path.clone_into(&mut self.first);
        }
        self.count += 1;
    }

    /// Adds those in a directory with this path.
    pub(super) fn add_folder(&mut self, path: &str, index: &IndexFolder) {
        index.visit_files(&mut |folder, name, file| {
            if file.is_pointer {
                self.add(&format!("{path}/{}", folder.join(name).display()));
            }
        });
    }

    /// Returns a warning, if there are any.
    pub(super) fn warning(&self) -> Option<String> {
        let more = match self.count {
            0 => return None,
            1 => "is a pointer".to_owned(),
            n => format!("and {} more are pointers", n - 1),
        };
        let first = quoted(&self.first);
        Some(format!(
            "{first} {more} to Git LFS and deployed as such: piku does not support LFS; 'git lfs migrate export --everything --include=…' converts them"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_a_short_file_with_its_beginning() {
        let pointer = [POINTER, b"oid sha256:0\nsize 1\n"].concat();
        assert!(is_pointer(&pointer) && !is_pointer(&pointer[1..]));
        let long = [POINTER, &[b'x'; LONGEST_POINTER]].concat();
        assert!(!is_pointer(&long), "it only begins like one");
    }
}
