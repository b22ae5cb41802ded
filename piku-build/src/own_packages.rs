//! Apps whose build writes into the files of its packages, as patches and old Angular do. The files are those of all releases, so
//! nobody may write to them; whoever tries, or takes the right back, gets copies from then on, for the price of copying.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

use crate::copy::{self, Leave};
use crate::plan::Plan;

/// The file in an app's cache that says so. Without it the next build finds out again.
const WANTED: &str = "own-packages";

/// Whether this app's build is known to write into its packages.
pub(crate) fn is_wanted(cache: &Path) -> bool {
    cache.join(WANTED).is_file()
}

/// Notes it for later builds.
pub(crate) fn want(cache: &Path) -> anyhow::Result<()> {
    let file = cache.join(WANTED);
    File::create(&file).map(drop).with_context(|| format!("cannot write '{}'", file.display()))
}

/// Has the packages of this plan copied into the tree.
pub(crate) fn give(plan: &mut Plan) {
    for layer in plan.tree_layers.iter_mut().filter(|layer| layer.is_linked()) {
        layer.copied = true;
    }
}

/// Whether the last lines of a step say that it may not write to something in `folder`.
pub(crate) fn were_refused(folder: &str, lines: &[String]) -> bool {
    let refused =
        |line: &String| ["EACCES", "EPERM", "ermission denied"].iter().any(|word| line.contains(word));
    lines.iter().any(|line| line.contains(folder) && refused(line))
}

/// Whether files of a finished layer are not as it was finished: somebody has the right to write to them, or has written.
pub(crate) fn have_changed(content: &Path, folder: &str) -> anyhow::Result<bool> {
    let Some(marker) = content.parent().map(|dir| dir.join(crate::layer::COMPLETE)) else { return Ok(false) };
    let made = fs::metadata(&marker)
        .and_then(|meta| meta.modified())
        .with_context(|| format!("cannot read '{}'", marker.display()))?;
    let mut changed = false;
    for folder in crate::tree_layer::folders(content, folder)? {
        copy::walk(&content.join(folder), &Leave::new([]), &mut |_, meta| {
            let later = || meta.modified().is_ok_and(|written| written > made);
            changed |= meta.is_file() && (meta.permissions().mode() & 0o222 != 0 || later());
            Ok(())
        })?;
    }
    Ok(changed)
}
