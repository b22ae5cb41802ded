//! What of a build's folders a release takes: jars, classes and programs, and not what the tools keep there for themselves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::jar;
use crate::copy::{self, Leave};
use piku_procfile::remove;

/// Deeper modules are nobody's.
const DEEPEST: usize = 8;
/// What the tools keep for themselves.
const TOOLS_OWN: [&str; 12] = [
    "generated-sources",
    "generated-test-sources",
    "maven-archiver",
    "maven-status",
    "test-classes",
    "surefire-reports",
    "failsafe-reports",
    "tmp",
    "reports",
    "test-results",
    "kotlin",
    "generated",
];

/// The folders of this name in the work tree: the app's and its modules'. A step may have left links: none is followed.
pub(super) fn folders(work: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(work, Path::new(""), name, DEEPEST, &mut found)
        .with_context(|| format!("cannot read '{}'", work.display()))?;
    found.sort();
    Ok(found)
}

fn walk(work: &Path, dir: &Path, name: &str, deeper: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(work.join(dir))? {
        let entry = entry?;
        let own = entry.file_name();
        if !entry.file_type()?.is_dir() || own == "src" || own == "node_modules" || own == ".gradle" {
            continue;
        }
        let below = dir.join(&own);
        if own == name {
            found.push(below);
        } else if deeper > 0 {
            walk(work, &below, name, deeper - 1, found)?;
        }
    }
    Ok(())
}

/// Whether there is anything to be started: a tool's exit code 0 alone is not enough.
pub(super) fn programs(work: &Path, folders: &[PathBuf]) -> bool {
    let has_jar = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| {
            path.extension().is_some_and(|end| end == "jar" || end == "war") && !jar::is_beside(&path)
        })
    };
    folders.iter().map(|folder| work.join(folder)).any(|dir| {
        has_jar(&dir)
            || has_jar(&dir.join("libs"))
            || dir.join("quarkus-app/quarkus-run.jar").is_file()
            || dir.join("install").is_dir()
    })
}

/// Puts the folders into the release's tree.
pub(super) fn take(work: &Path, tree: &Path, folders: &[PathBuf]) -> anyhow::Result<()> {
    for folder in folders {
        let (from, to) = (work.join(folder), tree.join(folder));
        let cannot = || format!("cannot copy '{}'", folder.display());
        remove::all(&to).with_context(cannot)?;
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(cannot)?;
        }
        let own: Vec<PathBuf> =
            TOOLS_OWN.iter().map(|name| from.join(name)).filter(|path| path.is_dir()).collect();
        copy::copy(&from, &to, &Leave::new(own.iter().map(PathBuf::as_path)))?;
    }
    Ok(())
}

/// The script of Gradle's installDist, where it has made exactly one.
pub(super) fn installed(tree: &Path, folders: &[PathBuf]) -> Option<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let install = folder.join("install");
        for entry in fs::read_dir(tree.join(&install)).into_iter().flatten().flatten() {
            let script = install.join(entry.file_name()).join("bin").join(entry.file_name());
            if tree.join(&script).is_file() {
                found.push(script);
            }
        }
    }
    if found.len() == 1 { found.pop() } else { None }
}
