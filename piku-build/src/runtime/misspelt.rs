//! Detection of misspelt file names.

/// Returns whether a file name is a misspelling of the wanted one: other case, or at most `far` letters
/// inserted, removed or replaced.
pub(super) fn is_close(name: &str, wanted: &str, far: usize) -> bool {
    !name.ends_with('/')
        && name != wanted
        && (name.eq_ignore_ascii_case(wanted)
            || distance(&name.to_ascii_lowercase(), &wanted.to_ascii_lowercase()) <= far)
}

/// Returns the Levenshtein distance of two names.
fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, wanted) in other.iter().enumerate() {
            let replaced = corner + usize::from(letter != *wanted);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names() {
        for name in [
            "requirments.txt",
            "requirement.txt",
            "Requirements.txt",
            "requirements.text",
            "requirememts.txt",
        ] {
            assert!(is_close(name, "requirements.txt", 2), "{name}");
        }
        for name in [
            "requirements.txt",
            "requirements-dev.txt",
            "requirements.in",
            "requirements/",
            "requirements.txt/",
            "README.txt",
        ] {
            assert!(!is_close(name, "requirements.txt", 2), "{name}");
        }
        assert!(is_close("pipfile", "Pipfile", 0) && !is_close("Profile", "Pipfile", 0));
    }
}
