//! This machine's means for the tests: programs that the jail shows too, and access to the package
//! registries.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use piku_chroot::{BASE_DIRECTORIES, DEFAULT_PATH};

use crate::scene::Scene;

/// By these a machine says how its package registries are reached.
const WAY_OUT: [&str; 14] = [
    "ALL_PROXY",
    "GOFLAGS",
    "GOPROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "MAVEN_OPTS",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "npm_config_registry",
];

/// Says that a test was not made, and why. Where nothing may be skipped it fails.
pub(crate) fn skipped(what: &str, why: &str) {
    assert!(env::var_os("CI").is_none(), "{what}: {why}");
    // What goes through eprintln! is only seen when a test fails.
    let _ = writeln!(io::stderr(), "skipped: {what}: {why}");
}

/// The options that put these programs on the PATH of a jail of this scene. None, said aloud, where one of
/// them is not to be had.
pub(crate) fn programs(scene: &Scene, names: &[&str]) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut options = Vec::new();
    for name in names {
        let Some(found) = find(scene, name) else {
            skipped(&names.join(", "), &format!("this user has no {name}"));
            return None;
        };
        let real = found.canonicalize().unwrap();
        let in_base = BASE_DIRECTORIES.iter().any(|name| real.starts_with(Path::new("/").join(name)));
        let folder = if in_base { found.parent() } else { real.parent() }.unwrap();
        if !path.iter().any(|known| known == folder) {
            path.push(folder.to_owned());
            if !in_base {
                // Beside `bin` lies what the program needs.
                let prefix = folder.parent().unwrap().display();
                options.extend(["--ro".to_owned(), format!("{prefix}:{prefix}")]);
            }
        }
    }
    path.extend(env::split_paths(DEFAULT_PATH));
    let path = env::join_paths(path).unwrap().into_string().unwrap();
    options.extend(["--env".to_owned(), format!("PATH={path}")]);
    Some(options)
}

/// Returns the path of a program for the scene's user: first on the jail's PATH, then on that of these tests.
fn find(scene: &Scene, name: &str) -> Option<PathBuf> {
    let own = env::var_os("PATH").unwrap_or_default();
    let mut files =
        env::split_paths(DEFAULT_PATH).chain(env::split_paths(&own)).map(|folder| folder.join(name));
    files.find(|file| {
        file.is_absolute() && scene.command("test").arg("-x").arg(file).status().unwrap().success()
    })
}

/// The variables that say how the package registries are reached from here.
pub(crate) fn way_out() -> impl Iterator<Item = (&'static str, String)> {
    WAY_OUT.into_iter().filter_map(|name| Some((name, env::var(name).ok()?)))
}
