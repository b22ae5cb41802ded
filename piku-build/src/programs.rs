//! What compilers make of an app: programs, which are put where its processes look for them, and sources, which a release
//! does not need.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indexmap::IndexMap;
use piku_procfile::name::ProcessName;
use piku_procfile::remove;

use crate::elf::Elf;
use crate::inside::APP;
use crate::inside::PATH;
use crate::site::Site;
use crate::source::tidy;
use crate::startable::{entries, simple_words};
use crate::view::runs;

/// Where programs are put in a release; it is on the PATH of its processes.
pub(crate) const FOLDER: &str = "bin";

/// A program that a plan's steps make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its name.
    pub(crate) name: String,
    /// Where the steps leave it, in the folder in which they run.
    pub(crate) made: PathBuf,
}

impl Program {
    /// Where it is in the release.
    pub(crate) fn place(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }
}

/// The environment of processes whose programs these are.
pub(crate) fn env(site: &Site) -> BTreeMap<String, String> {
    // Where there is no jail a release does not know yet where it will lie; its processes start in its folder.
    let folder = if site.jailed { Path::new(APP).join(FOLDER) } else { FOLDER.into() };
    [("PATH", format!("{}:{PATH}", folder.display())), ("LANG", "C.UTF-8".to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The names of programs that were to be made in `work` and are not there: a tool's exit code 0 alone is not enough.
pub(crate) fn missing(programs: &[Program], work: &Path) -> Vec<String> {
    let made = |program: &&Program| {
        let path = work.join(&program.made);
        // A step may have left a link that leads out of the app.
        let real = fs::canonicalize(&path).is_ok_and(|real| {
            fs::canonicalize(work).is_ok_and(|work| real == work.join(&program.made)) && real.is_file()
        });
        let is_elf =
            || fs::File::open(&path).and_then(|file| Elf::read(&file)).is_ok_and(|elf| elf.is_some());
        real && runs(&path) && is_elf()
    };
    programs.iter().filter(|program| !made(program)).map(|program| program.name.clone()).collect()
}

/// Puts the programs into the release's tree, where they are not there yet.
pub(crate) fn place(programs: &[Program], work: &Path, tree: &Path) -> anyhow::Result<()> {
    for program in programs {
        let (from, to) = (work.join(&program.made), tree.join(program.place()));
        if from != to {
            let cannot = || format!("cannot copy '{}' to '{}'", from.display(), to.display());
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).with_context(cannot)?;
            }
            fs::copy(&from, &to).with_context(cannot)?;
        }
    }
    Ok(())
}

/// Makes links where process types start a program by another path: `./web`, `target/release/web`. What the app has there
/// itself stays.
pub(crate) fn link(
    processes: &IndexMap<ProcessName, String>,
    programs: &[Program],
    tree: &Path,
) -> anyhow::Result<()> {
    for entry in entries(processes) {
        let Some(words) = simple_words(&entry.command) else { continue };
        let path = tidy(Path::new(&words[0]));
        let path = path.strip_prefix("/app").unwrap_or(&path);
        let called = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let program = programs.iter().find(|program| Some(&program.name) == called.as_ref());
        let below = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        // A bare name is looked for on PATH, and the folder of programs is on it.
        let (Some(program), true, true) = (program, below, words[0].contains('/')) else { continue };
        if fs::symlink_metadata(tree.join(path)).is_ok() {
            continue;
        }
        let up: PathBuf = path.parent().into_iter().flat_map(Path::components).map(|_| "..").collect();
        let cannot = || format!("cannot make the link '{}'", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(tree.join(parent)).with_context(cannot)?;
        }
        symlink(up.join(program.place()), tree.join(path)).with_context(cannot)?;
    }
    Ok(())
}

/// Takes what only a build needs out of the tree: files and folders by their path in it, and the folders that become empty.
pub(crate) fn prune(tree: &Path, only_builds: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
    empty(tree, Path::new(""), only_builds)
        .map(drop)
        .with_context(|| format!("cannot clean '{}'", tree.display()))
}

/// Whether the folder is empty now, and was not before.
fn empty(tree: &Path, dir: &Path, only_builds: &dyn Fn(&Path) -> bool) -> io::Result<bool> {
    let mut removed = false;
    let mut kept = false;
    for entry in fs::read_dir(tree.join(dir))? {
        let entry = entry?;
        let (below, path) = (dir.join(entry.file_name()), entry.path());
        let is_dir = entry.file_type()?.is_dir();
        let goes = if only_builds(&below) {
            remove::all(&path)?;
            true
        } else if is_dir && empty(tree, &below, only_builds)? {
            fs::remove_dir(&path)?;
            true
        } else {
            false
        };
        removed |= goes;
        kept |= !goes;
    }
    Ok(removed && !kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str) -> Program {
        Program { name: name.to_owned(), made: Path::new("target/release").join(name) }
    }

    #[test]
    fn links_lead_from_where_a_procfile_looks() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("run"), "#!/bin/sh\n").unwrap();
        let processes = [
            ("web", "./target/release/web --port $PORT"),
            ("worker", "/app/worker"),
            ("own", "./run"),
            ("out", "../web"),
            ("bare", "web"),
        ]
        .map(|(name, command)| (name.parse().unwrap(), command.to_owned()));
        let programs = ["web", "worker", "run"].map(program);
        link(&processes.into(), &programs, dir.path()).unwrap();
        let target = |path: &str| fs::read_link(dir.path().join(path)).ok();
        assert_eq!(target("target/release/web"), Some("../../bin/web".into()));
        assert_eq!(target("worker"), Some("bin/worker".into()));
        assert_eq!(target("run"), None);
        assert_eq!(target("web"), None);
    }

    #[test]
    fn sources_go_with_the_folders_that_held_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.go", "cmd/web/main.go", "web/page.html", "web/web.go", "vendor/x/y.txt", "bin/a"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir(dir.path().join("uploads")).unwrap();
        let go = |path: &Path| path == Path::new("vendor") || path.extension().is_some_and(|end| end == "go");
        prune(dir.path(), &go).unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        assert!(there("web/page.html") && there("bin/a") && there("uploads"));
        assert!(!there("a.go") && !there("cmd") && !there("web/web.go") && !there("vendor"));
    }
}
