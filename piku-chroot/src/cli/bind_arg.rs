//! `SRC:DST` in one argument. A colon in a path is written `\:`, a backslash `\\`; every other byte stands
//! for itself, so that any path can be written.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Splits at the colons that are not escaped, and removes the escapes.
pub(super) fn split_pair(word: &OsStr) -> Vec<OsString> {
    let mut parts = vec![Vec::new()];
    let mut bytes = word.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => parts.push(Vec::new()),
            b'\\' => {
                let escaped = bytes.next_if(|next| matches!(next, b':' | b'\\')).unwrap_or(byte);
                last_part(&mut parts).push(escaped);
            }
            _ => last_part(&mut parts).push(byte),
        }
    }
    parts.into_iter().map(OsString::from_vec).collect()
}

/// Returns the part that is being read.
fn last_part(parts: &mut Vec<Vec<u8>>) -> &mut Vec<u8> {
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let at = parts.len() - 1;
    &mut parts[at]
}

/// Returns `first:second` with escapes, which [`split_pair`] takes apart again.
pub(crate) fn join_pair(first: &Path, second: &Path) -> OsString {
    let mut word = escape(first);
    word.push(b':');
    word.extend(escape(second));
    OsString::from_vec(word)
}

/// Returns one path with escapes.
pub(crate) fn escape_path(path: &Path) -> OsString {
    OsString::from_vec(escape(path))
}

fn escape(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(word: &str) -> Vec<String> {
        split_pair(OsStr::new(word)).into_iter().map(|part| part.into_string().unwrap()).collect()
    }

    #[test]
    fn colons_split_and_escapes_do_not() {
        assert_eq!(parts("/a:/b"), ["/a", "/b"]);
        assert_eq!(parts(r"/a\:b:/c"), ["/a:b", "/c"]);
        assert_eq!(parts(r"/a\\:/c"), [r"/a\", "/c"]);
        assert_eq!(parts(r"/a\n:/c\"), [r"/a\n", r"/c\"]);
        assert_eq!(parts("/a"), ["/a"]);
        assert_eq!(parts("a:b:c"), ["a", "b", "c"]);
        assert_eq!(parts(""), [""]);
    }

    #[test]
    fn what_was_joined_is_split_again() {
        for (first, second) in
            [("/a:b", "/c"), (r"/a\", r"\:/b"), ("/new\nline", "/com,ma"), ("--", ":"), (r"\\:", r":\\")]
        {
            let word = join_pair(Path::new(first), Path::new(second));
            assert_eq!(split_pair(&word), [OsString::from(first), OsString::from(second)], "{word:?}");
        }
    }
}
