//! What a person reads of a rebuild, such as in cron's mail: nothing, or what is another than before.

use std::collections::BTreeMap;

use piku_procfile::layout::AppDir;

use super::{Outcome, Row};
use crate::layer::Store;
use crate::packages;
use crate::release::{Layer, Release};

/// A paragraph on one app.
pub(super) fn text(row: &Row) -> String {
    let app = &row.app;
    let head = match (row.result, row.release) {
        (Outcome::Unchanged, _) => return String::new(),
        (Outcome::Updated, Some(release)) => format!("{app}: built anew and live as release {release}"),
        (Outcome::Updated, None) => format!("{app}: built anew and live"),
        (Outcome::Differs, _) => format!("{app}: two builds of the same are not the same"),
        (Outcome::Failed, Some(release)) => format!("{app}: not rebuilt, release {release} runs on"),
        (Outcome::Failed, None) => format!("{app}: not rebuilt"),
        (Outcome::Busy, _) => format!("{app}: not rebuilt, somebody else is changing it"),
    };
    row.details.iter().fold(head + "\n", |text, line| text + "  " + line + "\n")
}

/// What the second release has that the first has not.
pub(super) fn changes(app: &AppDir, before: &Release, after: &Release) -> Vec<String> {
    let mut lines = Vec::new();
    if before.version != after.version {
        let version = |release: &Release| release.version.clone().unwrap_or_else(|| "no version".to_owned());
        lines.push(format!("{} {} → {}", after.runtime, version(before), version(after)));
    }
    let Ok(store) = Store::new(&app.layers()) else { return lines };
    for new in &after.layers {
        let packages = |layer: &Layer| {
            store.tree(&layer.key).map_or_else(|_| BTreeMap::new(), |tree| packages::of(&layer.name, &tree))
        };
        let now = packages(new);
        match before.layers.iter().find(|old| old.name == new.name) {
            Some(old) if old.key == new.key => {}
            Some(old) => {
                lines.extend(packages::changes(&packages(old), &now));
            }
            None => lines.push(format!("layer {} is new", new.name)),
        }
    }
    if lines.is_empty() {
        lines.push("what the build makes of the same files is another".to_owned());
    }
    lines
}
