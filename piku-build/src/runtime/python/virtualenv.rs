//! The layer with an app's virtualenv: its cache key and its steps.

use std::collections::BTreeMap;
use std::path::Path;

use super::dependency_files::PythonDependencies;
use super::dependency_files::PythonManager;
use super::dependency_files::requirements::LocalRequirement;
use super::package_managers;
use super::package_managers::installer::{self, InstallerChoice};
use super::package_managers::program::ToolSource;
use super::package_managers::uv;
use super::shared_bytecode;
use super::venv_seed;
use super::version::interpreter::PythonInterpreter;
use crate::app::app_source::AppSource;
use crate::plan::build_plan::LayerPlan;
use crate::runtime::BuildTarget;
use crate::step::build_step::BuildStep;
use piku_files::free_space::SpaceNeeded;
use piku_layout::jail::PATH;

pub(super) const NAME: &str = "venv";
/// Increased when layers are made in another way, which invalidates old ones.
const FORMAT: u32 = 2;

/// Settings of the package managers that change how packages are fetched, but not which.
const ONLY_FETCHING: [&str; 15] = [
    "PIP_CACHE_DIR",
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_NO_CACHE_DIR",
    "PIP_PROXY",
    "PIP_RETRIES",
    "PIP_TIMEOUT",
    "PIP_VERBOSE",
    "POETRY_REQUESTS_TIMEOUT",
    "POETRY_VERSION",
    "UV_CONCURRENT_DOWNLOADS",
    "UV_HTTP_TIMEOUT",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_VERSION",
];

pub(super) fn plan_layer(
    source: &AppSource,
    build_target: &BuildTarget,
    interpreter: &PythonInterpreter,
    all: &PythonDependencies,
    tool: Option<ToolSource>,
    installer: InstallerChoice,
    added: &[&str],
) -> anyhow::Result<LayerPlan> {
    let key = cache_key(source, build_target, interpreter, all, tool.as_ref(), added)?;
    let with_pip = all.is_installing() || !added.is_empty();
    let seed = if with_pip && all.manager != Some(PythonManager::Uv) {
        venv_seed::plan_seed(interpreter, build_target)
    } else {
        None
    };
    let mount = build_target.mount(NAME, &key);
    let mirror = uv::INDEXES.iter().any(|name| build_target.operator_env.contains_key(*name));
    let target = VenvTarget {
        interpreter,
        venv: &mount,
        tool: tool.as_ref(),
        seed: seed.as_ref(),
        jailed: build_target.jailed,
        added,
        mirror,
    };
    let steps = package_managers::steps(&target, all);
    let fast = installer.uv.as_ref().map(|uv| installer::plan_uv(uv, &target, all));
    let note = installer.note;
    let (mut tools, host): (Vec<_>, _) = tool.map_or_else(Default::default, |tool| {
        (
            tool.layer.into_iter().collect(),
            if build_target.jailed { tool.home.into_iter().collect() } else { Vec::new() },
        )
    });
    // Locking, and a build of the app as a package, write into the app's folder.
    let writes_app =
        !all.local.is_empty() || !all.locked && all.manager.is_some_and(|it| it != PythonManager::Pip);
    tools.extend(seed);
    // Packages that are parts of the app are of use to no other.
    let is_public = all.local.iter().all(|local| local.editable);
    let compilation = shared_bytecode::plan_compilation(interpreter, build_target, &mount, is_public);
    Ok(LayerPlan {
        name: NAME,
        fast,
        note,
        steps,
        key,
        need: estimate_space(all, with_pip),
        writes_app,
        mount,
        tools,
        host,
        compilation,
        ..LayerPlan::default()
    })
}

/// Returns the cache key, which covers everything that determines the virtualenv.
fn cache_key(
    source: &AppSource,
    build_target: &BuildTarget,
    interpreter: &PythonInterpreter,
    all: &PythonDependencies,
    tool: Option<&ToolSource>,
    added: &[&str],
) -> anyhow::Result<String> {
    let mut key = build_target.key(NAME, FORMAT, all.locked && added.is_empty());
    key.field("python", interpreter.path.as_os_str().as_encoded_bytes());
    key.field("version", interpreter.version.to_string().as_bytes());
    key.field("libc", interpreter.libc.as_bytes());
    key.field("mount", build_target.layers().as_os_str().as_encoded_bytes());
    key.field("manager", format!("{:?} {}", all.manager, tool.map_or("", |tool| &tool.fact)).as_bytes());
    for (name, content) in &all.facts {
        key.field(name, content);
    }
    for LocalRequirement { path, editable, .. } in &all.local {
        key.field("local", path.as_os_str().as_encoded_bytes());
        if source.has_path(path)? {
            // The code of an editable package is read from the release's tree; only its metadata counts.
            let takes = |below: &Path| !is_git(below) && (!editable || is_metadata(below));
            key.add_tree(&source.tree, path, &takes)?;
        }
    }
    for name in added {
        key.field("added", name.as_bytes());
    }
    if let Some((name, _)) = source.variable(installer::VARIABLE) {
        key.field("installer", name.as_bytes());
    }
    // Another index or policy installs other packages.
    let prefixes = package_managers::variable_prefixes(all.manager);
    let counts = |name: &&String| {
        prefixes.iter().any(|prefix| name.starts_with(prefix)) && !ONLY_FETCHING.contains(&name.as_str())
    };
    for name in source.env.keys().chain(source.config.keys()).filter(counts) {
        key.field(name, source.variable(name).map_or("", |(value, _)| value).as_bytes());
    }
    for (name, value) in build_target.operator_env.iter().filter(|(name, _)| counts(name)) {
        key.field(&format!("host {name}"), value.as_bytes());
    }
    Ok(key.finish())
}

fn is_git(below: &Path) -> bool {
    below.components().any(|part| part.as_os_str() == ".git")
}

/// Returns whether a file of a package is metadata, not code.
fn is_metadata(below: &Path) -> bool {
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    let extension = below.extension().unwrap_or_default();
    let about_version =
        ["__init__.py", "__about__.py", "setup.py"].contains(&name.as_ref()) || name.contains("version");
    about_version
        || ["toml", "cfg", "txt", "in", "lock"].iter().any(|text| extension == *text)
        || below.components().count() == 1 && extension != "py"
}

/// Estimates the space that it takes, rather too low than too high.
fn estimate_space(all: &PythonDependencies, with_pip: bool) -> SpaceNeeded {
    let packages = all.packages.len() as u64;
    if with_pip {
        SpaceNeeded { bytes: 25_000_000 + 3_000_000 * packages, files: 1500 + 100 * packages }
    } else {
        SpaceNeeded { bytes: 1_000_000, files: 50 }
    }
}

/// Returns the environment of the app's processes.
pub(super) fn env(venv: &Path) -> BTreeMap<String, String> {
    let bin = venv.join("bin");
    [
        ("PATH", format!("{}:{PATH}", bin.display())),
        ("VIRTUAL_ENV", venv.display().to_string()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("PYTHONUTF8", "1".to_owned()),
        ("PYTHONIOENCODING", "UTF-8".to_owned()),
        // A release is read-only, and already compiled.
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Name of the step that makes the virtualenv.
const STEP: &str = "venv";

/// The virtualenv for which a package manager plans its steps.
pub(super) struct VenvTarget<'a> {
    pub(super) interpreter: &'a PythonInterpreter,
    /// Path of the virtualenv, as steps see it.
    pub(super) venv: &'a Path,
    /// The program that reads the lock file.
    pub(super) tool: Option<&'a ToolSource>,
    /// The layer from which a virtualenv gets pip.
    pub(super) seed: Option<&'a LayerPlan>,
    /// The build has the same path as the release.
    pub(super) jailed: bool,
    /// Packages that are installed although the app does not name them.
    pub(super) added: &'a [&'a str],
    /// The operator names another package index.
    pub(super) mirror: bool,
}

impl VenvTarget<'_> {
    /// Returns the path of the tool's program.
    pub(super) fn tool_program(&self) -> String {
        self.tool.map_or_else(String::new, |tool| tool.program.to_string_lossy().into_owned())
    }

    /// Returns the path of the virtualenv's pip.
    pub(super) fn pip_program(&self) -> String {
        self.venv.join("bin/pip").to_string_lossy().into_owned()
    }

    /// Returns the path of the virtualenv's Python.
    pub(super) fn python_program(&self) -> String {
        self.venv.join("bin/python").to_string_lossy().into_owned()
    }

    /// Returns the step that makes it, without packages.
    pub(super) fn venv_step(&self, with_pip: bool) -> BuildStep {
        if with_pip {
            return venv_seed::venv_step(STEP, self.interpreter, self.seed, self.venv);
        }
        self.interpreter.make_venv(STEP, self.venv, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_describes_a_package() {
        for name in
            ["setup.py", "pyproject.toml", "README", "src/x/__init__.py", "req/base.txt", "x/_version.py"]
        {
            assert!(is_metadata(Path::new(name)), "{name}");
        }
        for name in ["app.py", "src/x/views.py", "src/logo.png"] {
            assert!(!is_metadata(Path::new(name)), "{name}");
        }
    }
}
