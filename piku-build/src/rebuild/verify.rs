//! `rebuild --verify`: whether the deployed commit builds to the same twice, each time from nothing. Deploys
//! nothing.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use piku_files::TreeHandle;
use piku_layout::jail::APP;
use piku_layout::name::AppName;
use piku_report::user_error::UserError;

use super::{LINES, RebuildOutcome, RebuildRequest, RebuildRow, live, tool};
use crate::build::work_folder::WorkFolder;
use crate::store::layer::LayerStore;
use crate::tree::tree_comparison::TreePair;
use piku_release::manifest::{BuiltRelease, TREE};

pub(super) fn verify(asked: &RebuildRequest, app: &AppName) -> anyhow::Result<RebuildRow> {
    let release = live(asked, app)?;
    let dir = asked.root.app(app);
    let work = WorkFolder::new(dir.path())?;
    let source = work.join("source");
    run(tool("piku-receive").arg("export").arg(dir.repo()).arg(&release.commit).arg(&source))?;
    for name in ["1", "2"] {
        let place = work.join(name);
        run(tool("piku-build")
            .arg("build")
            .arg(&source)
            .arg("--cache")
            .arg(place.join("cache"))
            .arg("--output")
            .arg(place.join("release"))
            .arg("--settings")
            .arg(asked.root.settings())
            .arg("--config")
            .arg(dir.config())
            .args(["--app", app.as_str()]))?;
    }
    let mut details = differences(&work.join("1"), &work.join("2"))?;
    let more = details.len().saturating_sub(LINES);
    details.truncate(LINES);
    if more > 0 {
        details.push(format!("and {more} more"));
    }
    let result = if details.is_empty() { RebuildOutcome::Unchanged } else { RebuildOutcome::Differs };
    Ok(RebuildRow { app: app.clone(), result, release: Some(release.number), details })
}

/// Returns the paths that are not the same in two builds, as their processes see them.
fn differences(one: &Path, other: &Path) -> anyhow::Result<Vec<String>> {
    let [left, right] = [one, other].map(|place| place.join("release"));
    let mut found = Vec::new();
    let [old, new] = [&left, &right].map(|place| TreeHandle::open(&place.join(TREE)));
    let trees = TreePair { old: &old?, new: &new?, names: ("", "") };
    found
        .extend(trees.find_differences()?.iter().map(|path| Path::new(APP).join(path).display().to_string()));
    let layers = BuiltRelease::read(&left)?.layers.into_iter().zip(BuiltRelease::read(&right)?.layers);
    for (old, new) in layers {
        let content =
            |place: &Path, key: &str| anyhow::Ok(LayerStore::new(&place.join("cache/layers"))?.tree(key)?);
        let (left, right) = (content(one, &old.key)?, content(other, &new.key)?);
        let trees =
            TreePair { old: &left, new: &right, names: (&one.to_string_lossy(), &other.to_string_lossy()) };
        found.extend(trees.find_differences()?.iter().map(|path| old.mount.join(path).display().to_string()));
    }
    Ok(found)
}

fn run(command: &mut std::process::Command) -> anyhow::Result<()> {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run '{program}'"))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let lines: Vec<&str> = said.lines().collect();
    Err(UserError::new(lines[lines.len().saturating_sub(LINES)..].join("\n")).into())
}
