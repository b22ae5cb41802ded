//! `.bundle/config`, which some apps commit. Its build settings are used; paths and freezing are decided by
//! the layer.

use std::collections::BTreeMap;

use piku_files::untrusted_yaml;

use crate::app::app_source::{AppSource, decode};
use crate::errors::ruby as told;

const FILE: &str = ".bundle/config";
/// Settings that the layer decides.
const OURS: [&str; 14] = [
    "BUNDLE_APP_CONFIG",
    "BUNDLE_BIN",
    "BUNDLE_CACHE_PATH",
    "BUNDLE_CLEAN",
    "BUNDLE_DEPLOYMENT",
    "BUNDLE_DISABLE_SHARED_GEMS",
    "BUNDLE_FROZEN",
    "BUNDLE_GEMFILE",
    "BUNDLE_GLOBAL_GEM_CACHE",
    "BUNDLE_PATH",
    "BUNDLE_PATH__SYSTEM",
    "BUNDLE_SHEBANG",
    "BUNDLE_SYSTEM_BINDIR",
    "BUNDLE_VERSION",
];

/// Reads the settings that are used, as variables.
///
/// # Errors
/// Fails if it is not what Bundler writes.
pub(super) fn read(source: &AppSource) -> anyhow::Result<BTreeMap<String, String>> {
    let Some(text) = source.read_bytes(FILE)? else { return Ok(BTreeMap::new()) };
    let text = decode(&text);
    if text.lines().all(|line| matches!(line.trim(), "" | "---")) {
        return Ok(BTreeMap::new());
    }
    let all: BTreeMap<String, serde_yaml::Value> = untrusted_yaml::parse(text.as_bytes()).map_err(|err| {
        let (line, column) = err.location().map_or((1, 1), |place| (place.line(), place.column()));
        told::bad_settings(FILE, line, column)
    })?;
    let counts = all.into_iter().filter(|(name, _)| name.starts_with("BUNDLE_") && !is_reserved(name));
    Ok(counts.filter_map(|(name, value)| Some((name, as_variable(&value)?))).collect())
}

/// Returns whether the layer decides a setting.
pub(super) fn is_reserved(name: &str) -> bool {
    OURS.contains(&name)
}

/// Converts a value to that of a variable.
fn as_variable(value: &serde_yaml::Value) -> Option<String> {
    match value {
        serde_yaml::Value::String(text) => Some(text.clone()),
        serde_yaml::Value::Bool(yes) => Some(yes.to_string()),
        serde_yaml::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".bundle")).unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        read(&AppSource::read(dir.path(), None).unwrap())
    }

    #[test]
    fn what_counts_of_a_committed_configuration() {
        let text = "---\nBUNDLE_PATH: \"vendor/bundle\"\nBUNDLE_WITHOUT: \"development\"\nBUNDLE_JOBS: 4\nBUNDLE_FROZEN: \"true\"\nBUNDLE_BUILD__PG: \"--with-pg-config=/usr/bin/pg_config\"\n";
        let names: Vec<_> = of(text).unwrap().into_keys().collect();
        assert_eq!(names, ["BUNDLE_BUILD__PG", "BUNDLE_JOBS", "BUNDLE_WITHOUT"]);
        assert_eq!(of("--- \n").unwrap().len(), 0);
        let laughs = format!("a: &a '{}'\n{}", "x".repeat(9000), "? [*a, *a]\n: *a\n".repeat(900));
        assert!(of(&laughs).unwrap_err().to_string().starts_with(".bundle/config:"));
        assert!(of("---\n- a\n").unwrap_err().to_string().starts_with(".bundle/config:"));
    }
}
