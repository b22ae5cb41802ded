//! `Pipfile`: which Python it asks for.

use super::pyproject;
use crate::app_source::AppSource;

/// The file.
pub(super) const FILE: &str = "Pipfile";

/// The Python that it asks for, the most exact of what it says.
pub(super) fn python(source: &AppSource) -> anyhow::Result<Option<String>> {
    let table = pyproject::table(source, FILE)?.unwrap_or_default();
    let requires = table.get("requires");
    let text = |name| requires.and_then(|requires| requires.get(name)).and_then(toml::Value::as_str);
    Ok(text("python_full_version").or_else(|| text("python_version")).map(str::to_owned))
}
