//! Summary of a rebuild for people, such as in cron's mail: empty, or the changes.

use std::collections::BTreeMap;

use piku_layout::paths::AppDir;

use super::{RebuildOutcome, RebuildRow};
use crate::store::layer::LayerStore;
use crate::store::packages;
use piku_release::manifest::{BuiltRelease, ReleaseLayer};

/// Returns one paragraph about an app.
pub(super) fn format_row(row: &RebuildRow) -> String {
    let app = &row.app;
    let head = match (row.result, row.release) {
        // A lock that holds for weeks is no news each night.
        (RebuildOutcome::Unchanged | RebuildOutcome::Locked, _) => return String::new(),
        (RebuildOutcome::Updated, Some(release)) => {
            format!("{app}: built anew and live as release {release}")
        }
        (RebuildOutcome::Updated, None) => format!("{app}: built anew and live"),
        (RebuildOutcome::Differs, _) => format!("{app}: two builds of the same are not the same"),
        (RebuildOutcome::Failed, Some(release)) => format!("{app}: not rebuilt, release {release} runs on"),
        (RebuildOutcome::Failed, None) => format!("{app}: not rebuilt"),
        (RebuildOutcome::Busy, _) => format!("{app}: not rebuilt, another change is in progress"),
    };
    row.details.iter().fold(head + "\n", |text, line| text + "  " + line + "\n")
}

/// Returns the line for someone who waits about an app that is as it was; `None` for others.
pub(super) fn describe_unchanged(row: &RebuildRow) -> Option<String> {
    let release = row.release.filter(|_| row.result == RebuildOutcome::Unchanged)?;
    Some(format!("{}: nothing has changed, release {release} runs on", row.app))
}

/// Returns the changes from the first release to the second.
pub(super) fn list_changes(app: &AppDir, before: &BuiltRelease, after: &BuiltRelease) -> Vec<String> {
    let mut lines = Vec::new();
    if before.version != after.version {
        let version =
            |release: &BuiltRelease| release.version.clone().unwrap_or_else(|| "no version".to_owned());
        lines.push(format!("{} {} → {}", after.runtime, version(before), version(after)));
    }
    let Ok(store) = LayerStore::new(&app.layers()) else { return lines };
    for new in &after.layers {
        let packages = |layer: &ReleaseLayer| {
            store
                .tree(&layer.key)
                .map_or_else(|_| BTreeMap::new(), |tree| packages::list_packages(&layer.name, &tree))
        };
        let now = packages(new);
        match before.layers.iter().find(|old| old.name == new.name) {
            Some(old) if old.key == new.key => {}
            Some(old) => {
                lines.extend(packages::list_changes(&packages(old), &now));
            }
            None => lines.push(format!("layer {} is new", new.name)),
        }
    }
    if lines.is_empty() {
        lines.push("what the build makes of the same files is another".to_owned());
    }
    lines
}
