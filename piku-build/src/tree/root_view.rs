//! The file system as a process of the app will see it: `/app` is the release's tree, layers are at their
//! mounts, everything else is the host's. Links are resolved as for that process, never by the kernel, for
//! which `/app` is a different directory. Trees that steps have written are read through their handles; only
//! the host's own files by path.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use piku_files::TreeHandle;

use crate::tree::found::FilePlace;
pub(crate) use crate::tree::found::is_executable;
use piku_layout::jail::APP;
use piku_release::target::TargetArchitecture;

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Directories of the host that the jail shows.
const SHOWN: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc"];

/// File system as a process of the app sees it.
pub(crate) struct RootView {
    /// Tree of the release.
    pub(crate) tree: TreeHandle,
    /// Tree in which the steps ran: the same, or an incremental tree.
    pub(crate) work: TreeHandle,
    /// The app's folder as the process names it.
    pub(crate) app: PathBuf,
    /// Architecture of the machine that will run the process, if it is not that of this machine.
    pub(crate) cross: Option<&'static TargetArchitecture>,
    /// File system of the process.
    files: FileView,
}

/// The folders that a process sees.
pub(crate) struct FileView {
    /// True if the host is hidden but for its programs.
    jailed: bool,
    /// Mounts: path for the process and current location. The first one that contains a path applies.
    mounts: Vec<(PathBuf, MountedFolder)>,
    /// Directories in which programs are searched, as the process names them.
    path: Vec<PathBuf>,
}

/// A directory that the process sees.
#[derive(Debug, Clone)]
pub(crate) enum MountedFolder {
    /// The host's own, which no app has written.
    Host(PathBuf),
    Tree(TreeHandle),
    /// Directory of a layer, which may not exist yet.
    Layer(PathBuf),
}

/// A file that the process would find.
#[derive(Debug, Clone)]
pub(crate) struct FoundFile {
    /// As the process names it, links followed.
    pub(crate) inside: PathBuf,
    /// Current location.
    pub(crate) place: FilePlace,
}

impl RootView {
    /// Returns a release's tree with its layers and folders of the host, for processes with this PATH.
    pub(crate) fn new(
        tree: TreeHandle,
        jailed: bool,
        mut mounts: Vec<(PathBuf, MountedFolder)>,
        path: &str,
    ) -> Self {
        let app = if jailed { APP.into() } else { tree.path().to_owned() };
        mounts.push((app.clone(), MountedFolder::Tree(tree.clone())));
        let path = std::env::split_paths(path).collect();
        Self { work: tree.clone(), tree, app, cross: None, files: FileView { jailed, mounts, path } }
    }

    /// Sets the architecture of the machine that will run the process.
    pub(crate) fn for_target(self, cross: Option<&'static TargetArchitecture>) -> Self {
        Self { cross, ..self }
    }

    /// Returns the file at `path`, which may be relative to the app; `None` if the process will not find it.
    pub(crate) fn find(&self, path: &Path) -> Option<FoundFile> {
        self.files.find(&self.app.join(path))
    }

    /// Returns the program that a bare name stands for.
    pub(crate) fn program(&self, name: &str) -> Option<FoundFile> {
        self.files.program(name)
    }

    /// Returns whether the host is hidden but for its programs.
    pub(crate) fn is_jailed(&self) -> bool {
        self.files.jailed
    }

    /// Returns whether it is a file of the app's own tree.
    pub(crate) fn is_app_file(&self, found: &FoundFile) -> bool {
        found.inside.starts_with(&self.app)
    }

    /// Returns the mounted layers and directories of the host: paths for the process and current locations.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (&Path, FilePlace)> {
        let others = self.files.mounts.iter().filter(|(mount, _)| *mount != self.app);
        others.filter_map(|(mount, folder)| Some((mount.as_path(), folder.place()?)))
    }
}

impl FileView {
    /// Returns a view of the host alone, before there is an app.
    pub(crate) fn of_host(jailed: bool, path: &str) -> Self {
        Self { jailed, mounts: Vec::new(), path: std::env::split_paths(path).collect() }
    }

    /// Returns the file at an absolute path; `None` if the process will not find it.
    pub(crate) fn find(&self, path: &Path) -> Option<FoundFile> {
        let mut ahead: Vec<OsString> = Vec::new();
        push(&mut ahead, path);
        let mut inside = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == OsStr::new("..") {
                inside.pop();
                continue;
            }
            let next = inside.join(&part);
            match self.place(&next).and_then(|place| place.read_link()) {
                Some(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.is_absolute() {
                        inside = PathBuf::from("/");
                    }
                    push(&mut ahead, &target);
                }
                None => inside = next,
            }
        }
        let place = self.place(&inside)?;
        place.exists().then_some(FoundFile { inside, place })
    }

    /// Returns the program that a bare name stands for.
    pub(crate) fn program(&self, name: &str) -> Option<FoundFile> {
        self.path.iter().find_map(|folder| self.find(&folder.join(name)).filter(|found| found.place.runs()))
    }

    /// Returns the location of a path without links; `None` if the jail hides it.
    fn place(&self, inside: &Path) -> Option<FilePlace> {
        for (mount, folder) in &self.mounts {
            if let Ok(below) = inside.strip_prefix(mount) {
                return Some(folder.place()?.join(below));
            }
        }
        let hidden = match inside.components().nth(1) {
            Some(Component::Normal(name)) => !SHOWN.iter().any(|shown| name == OsStr::new(shown)),
            _ => false,
        };
        (!self.jailed || !hidden).then(|| FilePlace::Host(inside.to_owned()))
    }
}

impl MountedFolder {
    /// Returns the location; `None` if it does not exist yet.
    fn place(&self) -> Option<FilePlace> {
        Some(match self {
            Self::Host(path) => FilePlace::Host(path.clone()),
            Self::Tree(tree) => FilePlace::Tree(tree.clone(), PathBuf::new()),
            Self::Layer(content) => FilePlace::Tree(TreeHandle::open(content).ok()?, PathBuf::new()),
        })
    }
}

/// Puts the parts of a path on a stack, the first on top.
fn push(ahead: &mut Vec<OsString>, path: &Path) {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => ahead.push(name.to_owned()),
            Component::ParentDir => ahead.push("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_where_the_process_will_be_led() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("bin")).unwrap();
        fs::write(tree.join("bin/x"), "").unwrap();
        fs::write(dir.path().join("secret"), "").unwrap();
        for (target, link) in [
            ("bin/x", "relative"),
            ("/app/bin/x", "absolute"),
            ("../../../../app/bin/x", "around"),
            ("/bin/sh", "host"),
            ("../secret", "out"),
            ("/home", "hidden"),
            ("loop", "loop"),
            ("/layers/venv/bin/python", "layer"),
        ] {
            symlink(target, tree.join(link)).unwrap();
        }
        let layer = dir.path().join("layer");
        fs::create_dir_all(layer.join("bin")).unwrap();
        fs::write(layer.join("bin/python"), "").unwrap();
        let mounts = vec![("/layers/venv".into(), MountedFolder::Layer(layer.clone()))];
        let path = "/layers/venv/bin:/usr/bin:/bin";
        let view = RootView::new(TreeHandle::open(&tree).unwrap(), true, mounts, path);
        let real = |path: &str| {
            view.find(Path::new(path)).map(|found| match found.place {
                FilePlace::Host(path) => path,
                FilePlace::Tree(tree, below) => tree.path().join(below),
            })
        };
        for path in ["bin/x", "./bin/x", "/app/bin/x", "relative", "absolute", "around", "bin/../relative"] {
            assert_eq!(real(path), Some(tree.join("bin/x")), "{path}");
        }
        for path in ["nothing", "out", "hidden", "loop", "/home", "/app/../secret"] {
            assert_eq!(real(path), None, "{path}");
        }
        assert_eq!(real("layer"), Some(layer.join("bin/python")));
        assert!(real("host").is_some());
        assert!(view.program("sh").is_some());
        assert!(view.program("python-that-is-not-there").is_none());
        assert!(view.program("python").is_none(), "it has no execute bit");
    }
}
