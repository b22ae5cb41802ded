//! Compiled programs: installs them where the app's processes look for them, and removes sources that a
//! release does not need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_files::{FileKind, TreeError, TreeHandle};
use piku_layout::name::ProcessName;

use crate::app::app_file;
use crate::app::command_check::parse_entries;
use crate::app::started_programs::find_started;
use crate::errors;
use crate::plan::build_target::BuildTarget;
use crate::tree::copy;
use piku_layout::jail::APP;
use piku_layout::jail::PATH;
use piku_release::elf::ElfFile;
use piku_release::target::TargetArchitecture;

/// Directory of programs in a release; it is on the `PATH` of its processes.
pub(crate) const FOLDER: &str = "bin";

/// A program that the steps of a plan compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltProgram {
    /// File name of the program.
    pub(crate) name: String,
    /// Path at which the steps leave it, below their working directory.
    pub(crate) made: PathBuf,
}

impl BuiltProgram {
    pub(crate) fn release_path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }
}

/// Returns the variables of processes that run these programs.
pub(crate) fn env(build_target: &BuildTarget) -> BTreeMap<String, String> {
    // Without a jail the final path of a release is unknown; its processes start in its directory.
    let folder = if build_target.jailed { Path::new(APP).join(FOLDER) } else { FOLDER.into() };
    [("PATH", format!("{}:{PATH}", folder.display())), ("LANG", "C.UTF-8".to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// Returns the names of programs that are missing in `work`: exit code 0 alone proves nothing.
pub(crate) fn missing_programs(programs: &[BuiltProgram], work: &TreeHandle) -> Vec<String> {
    let made = |program: &&BuiltProgram| {
        // A step may have left a link at the path or on the way to it. Such a link is not a compiled program.
        // The app may link its directory `bin` to another one in the tree.
        let Ok(made) = work.open_file_nofollow(&program.made) else { return false };
        made.stat.mode & 0o111 != 0
            && ElfFile::read(&made.file).is_ok_and(|elf| elf.is_some_and(|elf| elf.is_runnable))
    };
    programs.iter().filter(|program| !made(program)).map(|program| program.name.clone()).collect()
}

/// Checks that the programs in `work` are for the release's architecture: the app's own settings may name
/// another one.
pub(crate) fn check_target(
    programs: &[BuiltProgram],
    work: &TreeHandle,
    cross: Option<&TargetArchitecture>,
) -> anyhow::Result<()> {
    let Some(target) = cross else { return Ok(()) };
    for program in programs {
        let made = work.open_file_nofollow(&program.made)?;
        if let Some(elf) = ElfFile::read(&made.file)?.filter(|elf| elf.machine != target.elf) {
            return Err(
                errors::other_target(&program.name, &elf.architecture.to_string(), target.name).into()
            );
        }
    }
    Ok(())
}

/// Installs the programs in the release's tree unless they are there.
pub(crate) fn install_programs(
    programs: &[BuiltProgram],
    work: &TreeHandle,
    tree: &TreeHandle,
) -> anyhow::Result<()> {
    let limit = copy::limit_of_disk(tree)?;
    let is_same = work.is_same(tree)?;
    for program in programs {
        let place = program.release_path();
        if is_same && program.made == place {
            continue;
        }
        app_file::make_folder(tree, Path::new(FOLDER))?;
        work.copy_file(&program.made, tree, place, limit.bytes)?;
    }
    Ok(())
}

/// Links programs to other paths by which process types start them: `./web`, `target/release/web`. Existing
/// files stay.
pub(crate) fn link_programs(
    processes: &IndexMap<ProcessName, String>,
    programs: &[BuiltProgram],
    tree: &TreeHandle,
) -> anyhow::Result<()> {
    // A bare name is searched on `PATH`, which contains the directory of programs.
    let paths = parse_entries(processes)
        .into_iter()
        .flat_map(|entry| find_started(&entry.command))
        .filter_map(|started| started.path());
    for path in paths {
        let path = path.strip_prefix(APP).unwrap_or(&path);
        let called = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let program = programs.iter().find(|program| Some(&program.name) == called.as_ref());
        let below = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let (Some(program), true) = (program, below) else { continue };
        if tree.find(path).is_ok_and(|there| there.is_some()) {
            continue;
        }
        let up: PathBuf = path.parent().into_iter().flat_map(Path::components).map(|_| "..").collect();
        if let Some(parent) = path.parent() {
            app_file::make_folder(tree, parent)?;
        }
        tree.symlink(up.join(program.release_path()), path)?;
    }
    Ok(())
}

/// Removes files that only a build needs, and directories that become empty.
pub(crate) fn prune_tree(tree: &TreeHandle, only_builds: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
    Ok(remove_unneeded(tree, Path::new(""), only_builds).map(drop)?)
}

/// Removes what `only_builds` selects below `path`, and directories that become empty. Returns whether the
/// directory has become empty.
fn remove_unneeded(
    folder: &TreeHandle,
    path: &Path,
    only_builds: &dyn Fn(&Path) -> bool,
) -> Result<bool, TreeError> {
    let mut removed = false;
    let mut kept = false;
    for entry in folder.read_dir("")? {
        let below = path.join(&entry.name);
        let goes = if only_builds(&below) {
            folder.remove_all(&entry.name)?;
            true
        } else if entry.kind == FileKind::Folder
            && remove_unneeded(&folder.subtree(&entry.name)?, &below, only_builds)?
        {
            folder.remove_dir(&entry.name)?;
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
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn program(name: &str) -> BuiltProgram {
        BuiltProgram { name: name.to_owned(), made: Path::new("target/release").join(name) }
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
            ("assigned", "A=1 target/x/web"),
            ("moved", "cd deep/er && ./web"),
            ("list", "./run migrate; exec dist/web"),
            ("quoted", "sh -c 'exec build/web $PORT'"),
        ]
        .map(|(name, command)| (name.parse().unwrap(), command.to_owned()));
        let programs = ["web", "worker", "run"].map(program);
        link_programs(&processes.into(), &programs, &TreeHandle::open(dir.path()).unwrap()).unwrap();
        let target = |path: &str| fs::read_link(dir.path().join(path)).ok();
        assert_eq!(target("target/release/web"), Some("../../bin/web".into()));
        assert_eq!(target("worker"), Some("bin/worker".into()));
        for path in ["target/x/web", "deep/er/web"] {
            assert_eq!(target(path), Some("../../bin/web".into()), "{path}");
        }
        for path in ["dist/web", "build/web"] {
            assert_eq!(target(path), Some("../bin/web".into()), "{path}");
        }
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
        prune_tree(&TreeHandle::open(dir.path()).unwrap(), &go).unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        assert!(there("web/page.html") && there("bin/a") && there("uploads"));
        assert!(!there("a.go") && !there("cmd") && !there("web/web.go") && !there("vendor"));
    }

    #[test]
    fn no_program_is_taken_from_elsewhere_or_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let top = TreeHandle::open(dir.path()).unwrap();
        let elf = fs::read("/proc/self/exe").unwrap();
        for path in ["work/target/release/web", "outside/worker", "outside/hooks/update"] {
            top.create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            top.write(path, &elf, 0o755).unwrap();
        }
        top.create_dir("tree").unwrap();
        let [work, tree] = ["work", "tree"].map(|name| top.subtree(name).unwrap());
        work.symlink("../../../outside/worker", "target/release/worker").unwrap();
        work.symlink("web", "target/release/alias").unwrap();
        let pipe = work.path().join("target/release/pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let programs = ["web", "worker", "alias", "pipe", "none"].map(program);
        assert_eq!(missing_programs(&programs, &work), ["worker", "alias", "pipe", "none"]);

        work.symlink("target/release", "bin").unwrap();
        work.symlink("../outside", "out").unwrap();
        let of = |made: &str| [BuiltProgram { name: "web".to_owned(), made: made.into() }];
        assert_eq!(missing_programs(&of("bin/web"), &work), [""; 0]);
        assert_eq!(missing_programs(&of("out/worker"), &work), ["web"]);

        let web = [program("web")];
        for target in ["../outside/hooks", "/tmp", "chain"] {
            tree.remove_all("").unwrap();
            tree.symlink("../outside/hooks", "chain").unwrap();
            tree.symlink(target, "bin").unwrap();
            let refusal = install_programs(&web, &work, &tree).unwrap_err().to_string();
            assert!(refusal.contains("'bin' leads out of the app's folder"), "{refusal}");
            let processes = [("web".parse().unwrap(), "./bin/web".to_owned())];
            assert!(link_programs(&processes.into(), &web, &tree).is_err());
        }
        // A program in whose place a link lies is put there instead of the link.
        tree.remove_all("").unwrap();
        tree.create_dir("bin").unwrap();
        tree.symlink("../../outside/hooks/update", "bin/web").unwrap();
        install_programs(&web, &work, &tree).unwrap();
        assert_eq!(tree.symlink_metadata("bin/web").unwrap().mode, 0o755);
        let names = |path: &str| top.read_dir(path).unwrap().len();
        assert_eq!((names("outside/hooks"), names("outside")), (1, 2));
        assert_eq!(top.metadata("outside/hooks/update").unwrap().links, 1);
        // A folder of the tree that is a link to another one of it is a place like any other.
        tree.remove_all("").unwrap();
        tree.create_dir("programs").unwrap();
        symlink("programs", tree.path().join("bin")).unwrap();
        install_programs(&web, &work, &tree).unwrap();
        let mode = fs::metadata(tree.path().join("programs/web")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
}
