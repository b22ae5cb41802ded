//! File names that are nearly right.

use super::super::misspelt::is_close;
use super::requirements::FILE;
use crate::app_source::AppSource;

/// A file at the top whose name is so close to one that counts that it was meant, and that one: `requirments.txt`,
/// `requirement.txt`, `Requirements.txt`, `pyproject.tml`, `pipfile`.
pub(super) fn find(source: &AppSource) -> Option<(&str, &'static str)> {
    let meant = |name: &str| {
        [(FILE, 2), ("pyproject.toml", 2), ("Pipfile", 0)]
            .into_iter()
            .find(|(wanted, far)| is_close(name, wanted, *far))
            .map(|(wanted, _)| wanted)
    };
    source.names.iter().find_map(|name| Some((name.as_str(), meant(name)?)))
}
