//! The file system as a process of the app will see it, looked at from outside: `/app` is the release's tree, a layer lies
//! at its mount, the rest is the host's. Links are followed as that process would follow them, never by the kernel, for
//! which `/app` is something else.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// What of the host the jail shows.
const SHOWN: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc"];

/// An app's folder where there is none.
const NOWHERE: &str = "/nonexistent";

/// Where the app will find what.
pub(crate) struct View {
    /// Whether the host is hidden but for its programs.
    pub(crate) jailed: bool,
    /// The app's folder as the process names it.
    pub(crate) app: PathBuf,
    /// The app's folder as it lies now.
    pub(crate) tree: PathBuf,
    /// Where the steps ran: the same folder, or a work tree that is kept.
    pub(crate) work: PathBuf,
    /// Layers: where the process finds them, where they lie.
    pub(crate) mounts: Vec<(PathBuf, PathBuf)>,
    /// Where programs are looked for, as the process names it.
    pub(crate) path: Vec<PathBuf>,
}

/// A file that the process would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// As the process names it, links followed.
    pub(crate) inside: PathBuf,
    /// As it lies now.
    pub(crate) real: PathBuf,
}

impl View {
    /// The machine alone, before there is an app.
    pub(crate) fn of_host(jailed: bool, path: &str) -> Self {
        Self {
            jailed,
            app: NOWHERE.into(),
            tree: NOWHERE.into(),
            work: NOWHERE.into(),
            mounts: Vec::new(),
            path: std::env::split_paths(path).collect(),
        }
    }

    /// The file at `path`, which may be relative to the app; `None` when the process will not find it.
    pub(crate) fn find(&self, path: &Path) -> Option<Found> {
        let mut ahead: Vec<OsString> = Vec::new();
        push(&mut ahead, &self.app.join(path));
        let mut inside = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == OsStr::new("..") {
                inside.pop();
                continue;
            }
            let next = inside.join(&part);
            let link = self.real(&next).and_then(|real| fs::read_link(real).ok());
            match link {
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
        let real = self.real(&inside)?;
        fs::symlink_metadata(&real).is_ok().then_some(Found { inside, real })
    }

    /// The program that a bare name stands for.
    pub(crate) fn program(&self, name: &str) -> Option<Found> {
        self.path.iter().find_map(|folder| self.find(&folder.join(name)).filter(|found| runs(&found.real)))
    }

    /// Whether it is a file of the app's own tree.
    pub(crate) fn own(&self, found: &Found) -> bool {
        found.inside.starts_with(&self.app)
    }

    /// Where a path without links lies; `None` when the jail hides it.
    fn real(&self, inside: &Path) -> Option<PathBuf> {
        for (mount, real) in &self.mounts {
            if let Ok(below) = inside.strip_prefix(mount) {
                return Some(join(real, below));
            }
        }
        if let Ok(below) = inside.strip_prefix(&self.app) {
            return Some(join(&self.tree, below));
        }
        let first = inside.components().nth(1);
        let hidden = match first {
            Some(Component::Normal(name)) => !SHOWN.iter().any(|shown| name == OsStr::new(shown)),
            _ => false,
        };
        (!self.jailed || !hidden).then(|| inside.to_owned())
    }
}

/// Joins without a slash at the end, which would ask for a folder.
fn join(dir: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { dir.to_owned() } else { dir.join(below) }
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

/// Whether it is a file with an execute bit.
pub(crate) fn runs(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let view = View {
            jailed: true,
            app: "/app".into(),
            tree: tree.clone(),
            work: tree.clone(),
            mounts: vec![("/layers/venv".into(), layer.clone())],
            path: vec!["/layers/venv/bin".into(), "/usr/bin".into(), "/bin".into()],
        };
        let real = |path: &str| view.find(Path::new(path)).map(|found| found.real);
        for path in ["bin/x", "./bin/x", "/app/bin/x", "relative", "absolute", "around", "bin/../relative"] {
            assert_eq!(real(path), Some(tree.join("bin/x")), "{path}");
        }
        for path in ["nothing", "out", "hidden", "loop", "/home", "/app/../secret"] {
            assert_eq!(real(path), None, "{path}");
        }
        assert_eq!(real("layer"), Some(layer.join("bin/python")));
        assert!(real("host").is_some());
        assert!(view.program("sh").is_some());
        assert_eq!(view.program("python-that-is-not-there"), None);
        assert_eq!(view.program("python"), None, "it has no execute bit");
    }
}
