//! Detection of misspelt file names.

use piku_report::edit_distance::edit_distance;

/// Returns whether a file name is a misspelling of the wanted one: other case, or at most `far` letters
/// inserted, removed or replaced.
pub(super) fn is_close(name: &str, wanted: &str, far: usize) -> bool {
    !name.ends_with('/')
        && name != wanted
        && (name.eq_ignore_ascii_case(wanted)
            || edit_distance(&name.to_ascii_lowercase(), &wanted.to_ascii_lowercase()) <= far)
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
