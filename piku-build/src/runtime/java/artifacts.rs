//! The artifacts of a build: jars, classes and programs, without the tools' own files.

use std::path::{Path, PathBuf};

use piku_files::{CopyLimit, TreeEntry, TreeError, TreeHandle, WalkStep};

use super::jar;
use crate::app::app_file;
use crate::step::interrupt;
use piku_files::free_space::SpaceNeeded;
use piku_release::removals;

/// The largest depth of modules that are searched.
const DEEPEST: usize = 8;
/// Folders that the tools keep for themselves.
const TOOLS_OWN: [&str; 17] = [
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
    // sbt's.
    "bg-jobs",
    "global-logging",
    "resolution-cache",
    "streams",
    "task-temp-directory",
];

/// Finds the folders of this name in the work tree: the app's and its modules'. Follows no links.
pub(super) fn find_folders(work: &TreeHandle, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    work.walk(|entry| {
        let own = entry.name();
        let is_skipped = own == "src" || own == "node_modules" || own == ".gradle";
        if !entry.stat().is_dir() || is_skipped {
            return Ok(WalkStep::Over);
        }
        if own == name {
            found.push(entry.path().to_owned());
            return Ok(WalkStep::Over);
        }
        let is_deepest = entry.path().components().count() > DEEPEST;
        Ok::<_, TreeError>(if is_deepest { WalkStep::Over } else { WalkStep::Into })
    })?;
    found.sort();
    Ok(found)
}

/// Returns whether the build made a program. The exit code of the tool alone does not tell.
pub(super) fn has_program(work: &TreeHandle, folders: &[PathBuf]) -> bool {
    let has_jar = |dir: &Path| {
        work.read_dir(dir).unwrap_or_default().iter().any(|entry| {
            let path = Path::new(&entry.name);
            path.extension().is_some_and(|end| end == "jar" || end == "war") && !jar::is_secondary(path)
        })
    };
    folders.iter().any(|dir| {
        has_jar(dir)
            || has_jar(&dir.join("libs"))
            || work.is_file(dir.join("quarkus-app/quarkus-run.jar"))
            || work.is_dir(dir.join("install"))
            || work.is_dir(dir.join("universal/stage/bin"))
            || jar::scala_folders(work, dir).iter().any(|folder| has_jar(folder))
    })
}

/// Copies the folders into the release's tree. A link that a step left in the way is not followed.
pub(super) fn copy_folders(work: &TreeHandle, tree: &TreeHandle, folders: &[PathBuf]) -> anyhow::Result<()> {
    for folder in folders {
        app_file::make_folder(tree, folder.parent().unwrap_or(Path::new("")))?;
        tree.remove_all(folder)?;
        let from = work.subtree(folder)?;
        let limit = measure_copy(&from)?;
        let need = SpaceNeeded { bytes: limit.bytes, files: limit.entries };
        removals::check_space(tree.path(), need, "what the build has made")?;
        from.copy_tree(tree, folder, limit, is_artifact)?;
    }
    Ok(())
}

/// Returns whether an entry of a folder that a build has filled goes into a release.
fn is_artifact(entry: &TreeEntry<'_>) -> anyhow::Result<bool> {
    interrupt::check()?;
    let is_at_top = entry.path().components().count() == 1;
    Ok(!(is_at_top && entry.stat().is_dir() && TOOLS_OWN.iter().any(|name| entry.name() == *name)))
}

/// Returns the size of all that is copied.
fn measure_copy(from: &TreeHandle) -> anyhow::Result<CopyLimit> {
    let mut all = CopyLimit { bytes: 0, entries: 0 };
    from.walk(|entry| {
        let takes = is_artifact(entry)?;
        if takes {
            let len = if entry.stat().is_file() { entry.stat().len } else { 0 };
            all = CopyLimit { bytes: all.bytes.saturating_add(len), entries: all.entries + 1 };
        }
        Ok::<_, anyhow::Error>(if takes { WalkStep::Into } else { WalkStep::Over })
    })?;
    Ok(all)
}

/// Returns a war in one of the folders.
pub(super) fn find_war(tree: &TreeHandle, folders: &[PathBuf]) -> Option<PathBuf> {
    let both = folders.iter().flat_map(|folder| [folder.clone(), folder.join("libs")]);
    both.flat_map(|folder| {
        let entries = tree.read_dir(&folder).unwrap_or_default();
        entries.into_iter().map(move |entry| folder.join(entry.name))
    })
    .find(|path| path.extension().is_some_and(|ending| ending == "war") && !jar::is_secondary(path))
}

/// Returns the script that Gradle's installDist or sbt's stage made, if it is the only one.
pub(super) fn find_install_script(tree: &TreeHandle, folders: &[PathBuf]) -> Option<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let install = folder.join("install");
        for entry in tree.read_dir(&install).unwrap_or_default() {
            let script = install.join(&entry.name).join("bin").join(&entry.name);
            if tree.is_file(&script) {
                found.push(script);
            }
        }
        let stage = folder.join("universal/stage/bin");
        for entry in tree.read_dir(&stage).unwrap_or_default() {
            let script = stage.join(&entry.name);
            // One for Windows lies beside it.
            if script.extension().is_none_or(|ending| ending != "bat") && tree.is_file(&script) {
                found.push(script);
            }
        }
    }
    if found.len() == 1 { found.pop() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    #[test]
    fn what_is_taken_is_what_the_build_made_and_goes_into_the_tree_alone() {
        let dir = tempfile::tempdir().unwrap();
        let top = TreeHandle::open(dir.path()).unwrap();
        for file in [
            "outside/target/page",
            "work/target/a.jar",
            "work/target/classes/A.class",
            "work/target/surefire-reports/x",
            "work/sub/target/b.jar",
            "work/src/target/no",
            "tree/target/old",
        ] {
            top.create_dir_all(Path::new(file).parent().unwrap()).unwrap();
            top.write(file, file, 0o644).unwrap();
        }
        mkfifo(&dir.path().join("work/target/pipe.jar"), Mode::S_IRWXU).unwrap();
        top.symlink("../../outside/target/page", "work/target/leak.jar").unwrap();
        top.symlink("../outside", "work/linked").unwrap();
        let (work, tree) = (top.subtree("work").unwrap(), top.subtree("tree").unwrap());
        let found = find_folders(&work, "target").unwrap();
        assert_eq!(found, [Path::new("sub/target"), Path::new("target")]);
        assert!(has_program(&work, &found));

        copy_folders(&work, &tree, &found).unwrap();
        let names: Vec<_> = tree.read_dir("target").unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a.jar", "classes", "leak.jar"]);
        assert!(tree.symlink_metadata("target/leak.jar").unwrap().is_symlink());
        assert!(jar::find_program(&tree, &found).unwrap_err().is_empty());

        // A step has put a link or a file where the module's folder is to go.
        for (target, why) in [("../outside", "leads out of the app"), ("target/a.jar", "is not a folder")] {
            tree.remove_all("sub").unwrap();
            tree.symlink(target, "sub").unwrap();
            let err = copy_folders(&work, &tree, &found).unwrap_err().to_string();
            assert!(err.contains("'sub'") && err.contains(why), "{err}");
        }
        assert_eq!(top.read_text("outside/target/page", 100).unwrap(), "outside/target/page");
        assert_eq!(top.read_dir("outside/target").unwrap().len(), 1);
    }
}
