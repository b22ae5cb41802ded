//! The Pythons of pyenv and uv, and Pythons that pyenv builds for an app.
//!
//! They are in the home of the user that runs piku, which no jail shows, so a release that needs one has
//! its folder mounted. One that is built for an app is a layer, made by pyenv's python-build.

#![expect(clippy::disallowed_methods, reason = "pyenv's interpreters of the machine")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::errors;
use crate::plan::build_plan::LayerPlan;
use crate::runtime::python::version::interpreter::PythonInterpreter;
use crate::runtime::python::version::range::PythonRange;
use crate::runtime::version::{RuntimeVersion, VersionMatch};
use crate::runtime::{BuildTarget, operator_path};
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::is_executable;
use piku_files::free_space::SpaceNeeded;
use piku_report::user_error::UserError;

/// Names of the step that builds one, and of its layer.
pub(crate) const STEP: &str = "python-build";
pub(crate) const LAYER: &str = "python";
/// Increased when they are built in another way.
const FORMAT: u32 = 1;

/// Returns the directory of pyenv.
fn pyenv_root(build_env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let root = operator_path(build_env, "PYENV_ROOT")
        .or_else(|| Some(operator_path(build_env, "HOME")?.join(".pyenv")))?;
    fs::canonicalize(root).ok()
}

/// Lists the homes of the installed ones.
pub(crate) fn list_homes(build_env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let uv = operator_path(build_env, "UV_PYTHON_INSTALL_DIR").or_else(|| {
        let data = operator_path(build_env, "XDG_DATA_HOME");
        Some(data.or_else(|| Some(operator_path(build_env, "HOME")?.join(".local/share")))?.join("uv/python"))
    });
    let mut homes: Vec<PathBuf> = [pyenv_root(build_env).map(|root| root.join("versions")), uv]
        .into_iter()
        .flatten()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        // An alias is a link to another one.
        .filter_map(|entry| fs::canonicalize(entry.path()).ok())
        .collect();
    homes.sort();
    homes.dedup();
    homes
}

/// Parses the version in the name of a home: `3.12.1`, `cpython-3.12.1-linux-x86_64-gnu`.
pub(crate) fn parse_home_name(home: &Path) -> Option<RuntimeVersion> {
    let name = home.file_name()?.to_str()?;
    RuntimeVersion::exact(name.strip_prefix("cpython-").unwrap_or(name).split('-').next()?)
}

/// A Python that pyenv can build.
pub(crate) struct PyenvRecipe {
    root: PathBuf,
    version: RuntimeVersion,
}

/// Finds the newest Python in the ranges that an installed pyenv can build, preferably one whose source it
/// has.
pub(crate) fn find_recipe(
    build_env: &BTreeMap<String, String>,
    any_of: &[PythonRange],
) -> Option<PyenvRecipe> {
    let root = pyenv_root(build_env)?;
    let plugin = plugin_dir(&root);
    if !is_executable(&plugin.join("bin/python-build")) {
        return None;
    }
    let names = fs::read_dir(plugin.join("share/python-build")).ok()?.flatten();
    let all: Vec<RuntimeVersion> = names
        .filter_map(|entry| RuntimeVersion::exact(entry.file_name().to_str()?))
        .filter(|version| version.0[0] == 3)
        .collect();
    let cache = list_sources(&root.join("cache"));
    let has_source =
        |version: &RuntimeVersion| cache.iter().any(|name| name.starts_with(&source_prefix(*version)));
    let best = |asked: &PythonRange| {
        let fitting = all.iter().filter(|version| asked.matches(**version) == VersionMatch::Exact);
        fitting.copied().max_by_key(|version| (has_source(version), *version))
    };
    any_of.iter().find_map(best).map(|version| PyenvRecipe { root, version })
}

/// Lists the sources that pyenv has downloaded.
fn list_sources(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Returns the beginning of the name of a source.
fn source_prefix(version: RuntimeVersion) -> String {
    format!("Python-{version}.")
}

fn plugin_dir(root: &Path) -> PathBuf {
    root.join("plugins/python-build")
}

impl PyenvRecipe {
    /// Plans the layer that it is built as; `libc` is the machine's.
    pub(crate) fn plan(self, target: &BuildTarget, libc: String) -> (PythonInterpreter, LayerPlan) {
        let layer = self.layer(target, &libc);
        let path = layer.mount.join("bin/python3");
        let version = self.version;
        (
            PythonInterpreter {
                path,
                version,
                libc,
                has_ensurepip: true,
                wheels: String::new(),
                is_apps: true,
                home: None,
            },
            layer,
        )
    }

    fn layer(&self, target: &BuildTarget, libc: &str) -> LayerPlan {
        let version = self.version.to_string();
        let mut key = target.key(LAYER, FORMAT, true);
        for (name, value) in [
            ("version", version.as_str()),
            ("libc", libc),
            ("mount", &target.layers().to_string_lossy()),
            ("options", target.operator_env.get("PYTHON_CONFIGURE_OPTS").map_or("", String::as_str)),
        ] {
            key.field(name, value.as_bytes());
        }
        let key = key.finish();
        let mount = target.mount(LAYER, &key);
        let plugin = plugin_dir(&self.root);
        let cache = self.root.join("cache");
        let mut run = vec!["/usr/bin/env".to_owned()];
        if !target.operator_env.contains_key("PYTHON_CONFIGURE_OPTS") {
            // Python's tests are half of its size.
            run.push("PYTHON_CONFIGURE_OPTS=--disable-test-modules --without-static-libpython".to_owned());
        }
        let mut host = vec![plugin.clone()];
        let source = source_prefix(self.version);
        if list_sources(&cache).iter().any(|name| name.starts_with(&source)) {
            run.push(format!("PYTHON_BUILD_CACHE_PATH={}", cache.display()));
            host.push(cache);
        }
        run.push(plugin.join("bin/python-build").to_string_lossy().into_owned());
        run.extend([version, mount.to_string_lossy().into_owned()]);
        LayerPlan {
            name: LAYER,
            key,
            mount,
            steps: vec![BuildStep { name: STEP, run, quiet: false }],
            need: SpaceNeeded { bytes: 300_000_000, files: 10_000 },
            writes_app: false,
            host,
            ..LayerPlan::default()
        }
    }
}

/// Explains a failure of python-build.
pub(crate) fn explain_failure(ended: &StepOutcome, version: &str, from: &str) -> UserError {
    const NEEDED: &str = "build-essential libssl-dev zlib1g-dev libbz2-dev libreadline-dev libsqlite3-dev libffi-dev liblzma-dev";
    if ended.code > 128 {
        return errors::step_failed(STEP, ended, &[]);
    }
    let any =
        |needles: &[&str]| ended.lines.iter().find(|line| needles.iter().any(|needle| line.contains(needle)));
    if let Some(line) = any(&[
        "no acceptable C compiler",
        "was not compiled",
        "can't decompress data",
        "No module named '_ctypes'",
    ]) {
        return errors::python::no_such_build(version, from, line.trim(), Some(NEEDED));
    }
    let unreachable = any(&["failed to download", "curl: (", "Could not resolve host", "unable to resolve"]);
    let why = unreachable.map_or("its build failed", |_| "its source cannot be fetched");
    errors::python::no_such_build(version, from, why, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_homes() {
        for name in ["/x/3.12.1", "/y/cpython-3.12.1-linux-x86_64-gnu"] {
            assert_eq!(parse_home_name(Path::new(name)), Some(RuntimeVersion([3, 12, 1])), "{name}");
        }
        for name in ["/x/pypy3.10-7.3.12", "/x/3.13-dev", "/x/my-virtualenv", "/y/cpython-3.12-linux"] {
            assert_eq!(parse_home_name(Path::new(name)), None, "{name}");
        }
    }
}
